"""A recipe's optimiser and schedule, from torch.optim."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import lr_scheduler

from minigrad.recipes.schema import ONE_CYCLE, PLATEAU

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def configure(model: Any, parameters: Iterable[nn.Parameter], steps: Callable[[], int]) -> OptimizerLRScheduler:
    """What `configure_optimizers` returns.

    Args:
        model: the recipe's section, or a module's hyperparameters.
        parameters: what is trained.
        steps: says how many the whole run has; asked where a schedule is stretched over them.
    """
    options: dict[str, Any] = {"lr": model.learning_rate, "weight_decay": model.weight_decay}
    if model.optimizer == "sgd":
        options["momentum"] = model.momentum
    optimizer = OPTIMIZERS[model.optimizer](parameters, **options)
    if model.schedule == "constant":
        return optimizer
    if model.schedule == "reduce_on_plateau":
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, threshold_mode="abs", **PLATEAU)  # type: ignore[arg-type]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}
    if model.schedule == "cosine":
        each_step: Any = lr_scheduler.CosineAnnealingLR(optimizer, steps())
    else:
        cycle: dict[str, Any] = {"total_steps": max(steps(), 2), "cycle_momentum": False, **ONE_CYCLE}
        each_step = lr_scheduler.OneCycleLR(optimizer, model.learning_rate, **cycle)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": each_step, "interval": "step"}}
