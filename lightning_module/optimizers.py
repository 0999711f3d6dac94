"""The optimizer and the learning rate schedule of a recipe, from torch.optim. Imports torch, but not Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from minigrad.recipes.schema import ONE_CYCLE, PLATEAU
from minigrad.runs import UserError

if TYPE_CHECKING:
    from lightning.pytorch.utilities.types import OptimizerLRScheduler

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def configure(model: Any, parameters: Iterable[nn.Parameter], steps: Callable[[], int]) -> OptimizerLRScheduler:
    """Build the optimizer and the schedule that `LightningModule.configure_optimizers` returns.

    Args:
        model: the recipe's section `model`, or the hyperparameters of a module.
        parameters: the parameters to train.
        steps: returns the number of steps of the whole training. Called only for schedules that depend on it.

    Returns:
        The optimizer; or, with a schedule, a dict of the optimizer and Lightning's configuration of the scheduler.

    Raises:
        UserError: the optimizer or the schedule is unknown.
    """
    if model.optimizer not in OPTIMIZERS:
        raise UserError(f"model.optimizer: {model.optimizer}; expected {' or '.join(OPTIMIZERS)}")
    options: dict[str, Any] = {"lr": model.learning_rate, "weight_decay": model.weight_decay}
    if model.optimizer == "sgd":
        options["momentum"] = model.momentum
    optimizer = OPTIMIZERS[model.optimizer](parameters, **options)
    if model.schedule == "constant":
        return optimizer
    if model.schedule == "reduce_on_plateau":
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, threshold_mode="abs", **PLATEAU)  # type: ignore[arg-type]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}
    per_step: Any
    if model.schedule == "cosine":
        per_step = lr_scheduler.CosineAnnealingLR(optimizer, steps())
    elif model.schedule == "one_cycle":
        cycle: dict[str, Any] = {"total_steps": max(steps(), 2), "cycle_momentum": False, **ONE_CYCLE}
        per_step = lr_scheduler.OneCycleLR(optimizer, model.learning_rate, **cycle)
    else:
        expected = "constant, cosine, one_cycle or reduce_on_plateau"
        raise UserError(f"model.schedule: {model.schedule}; expected {expected}")
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": per_step, "interval": "step"}}
