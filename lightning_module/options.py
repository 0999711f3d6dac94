"""Checks of the Trainer's options, before a run begins."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    DeviceStatsMonitor,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ThroughputMonitor,
)
from lightning.pytorch.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from minigrad import recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.recipes.schema import LARGEST
from minigrad.runs import UserError, foreign

# Options that are numbers, their smallest value, and a further value that is allowed.
AT_LEAST: dict[str, tuple[float, Any]] = {
    "accumulate_grad_batches": (1, None),
    "check_val_every_n_epoch": (1, None),
    "gradient_clip_val": (0, None),
    "log_every_n_steps": (0, None),
    "min_epochs": (0, None),
    "min_steps": (0, None),
    "num_sanity_val_steps": (0, -1),
}
# The same for arguments of Lightning's callbacks that Lightning does not check, or only after the training has begun.
CALLBACKS: dict[str, dict[str, float]] = {
    "LearningRateFinder": {"num_training_steps": 2},
    "BatchSizeFinder": {"init_val": 1, "max_trials": 1, "steps_per_trial": 1},
    "StochasticWeightAveraging": {"annealing_epochs": 0},
    "ModelPruning": {"amount": 0},
}
# The option that sets an object of a module, by the beginning of the module's name.
OPTIONS = {
    "lightning.pytorch.callbacks.": "trainer.callbacks",
    "torch.optim.lr_scheduler": "lr_scheduler",
    "torch.optim.": "optimizer",
}
# The packages whose code runs below such an object if its arguments are wrong.
LIBRARIES = {"lightning", "lightning_utilities", "torch", *sys.stdlib_module_names}
RANKS_PER_PROCESSOR = 4
NEED_LOGGER = (LearningRateMonitor, DeviceStatsMonitor, ThroughputMonitor)
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


def check(options: Any, recipe: Recipe, *, fits: bool) -> None:
    """Check the options that Lightning accepts but cannot use.

    Args:
        options: arguments of the Trainer; a mapping, or a namespace with `get`.
        recipe: the recipe that is trained.
        fits: whether the command is `fit`.

    Raises:
        UserError: an option is invalid, or contradicts another.
    """
    for name, (low, other) in AT_LEAST.items():
        value = options.get(name)
        if _is_number(value) and value != other and not value >= low:
            more = f", or {other}" if other is not None else ""
            raise UserError(f"trainer.{name}: {value}; expected {low} or more{more}")
    devices, most = options.get("devices"), RANKS_PER_PROCESSOR * (os.cpu_count() or 1)
    if options.get("accelerator") == "cpu" and str(devices).isdecimal() and int(str(devices)) > most:
        raise UserError(
            f"trainer.devices: {devices}; expected at most {most}, {RANKS_PER_PROCESSOR} per processor of this machine"
        )
    if fits:
        _check_epochs(options, recipe)
        _check_validation(options, recipe)


def check_callbacks(callbacks: Iterable[Any]) -> None:
    """Check arguments of Lightning's callbacks.

    Args:
        callbacks: the callbacks in the config of a subcommand.

    Raises:
        UserError: an argument is too small, or the learning rates of a LearningRateFinder are not in order.
    """
    for callback in callbacks:
        name, values = str(callback.get("class_path")).rpartition(".")[2], callback.get("init_args") or {}
        for argument, low in CALLBACKS.get(name, {}).items():
            value: Any = values.get(argument)
            if _is_number(value) and not value >= low:
                raise UserError(f"trainer.callbacks: {name} with {argument} {value}; expected {low} or more")
        lowest, highest = (float(values.get(argument) or 0) for argument in ("min_lr", "max_lr"))
        if name == "LearningRateFinder" and not 0 < lowest < highest < LARGEST:
            raise UserError(
                f"trainer.callbacks: {name} with min_lr {lowest} and max_lr {highest}; expected 0 < min_lr < max_lr <"
                f" {LARGEST:g}"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_epochs(options: Any, recipe: Recipe) -> None:
    least, epochs = options.get("min_epochs"), recipe.trainer.max_epochs
    if least is not None and least > epochs and options.get("max_epochs") != -1:
        raise UserError(f"trainer.min_epochs: {least}; expected at most trainer.max_epochs, {epochs}")
    for name in ("limit_train_batches", "val_check_interval"):
        value = options.get(name)
        if _is_number(value) and value == 0:
            more = "; trainer.max_epochs 0 does not train" if name == "limit_train_batches" else ""
            raise UserError(f"trainer.{name}: {value}; expected more than 0{more}")


def _check_validation(options: Any, recipe: Recipe) -> None:
    """Check that the validation metrics exist whenever the recipe needs them."""
    if not recipes.watches_validation(recipe):
        return
    plateau = recipe.model.schedule == "reduce_on_plateau"
    user = "model.schedule reduce_on_plateau" if plateau else "early_stopping.patience"
    limit, every = options.get("limit_val_batches"), options.get("check_val_every_n_epoch", 1)
    if _is_number(limit) and limit == 0:
        raise UserError(
            f"trainer.limit_val_batches: {limit} with {user}; expected more than 0, since it watches validation metrics"
        )
    if plateau and every != 1:
        raise UserError(
            f"trainer.check_val_every_n_epoch: {'null' if every is None else every} with {user}; expected 1, since it watches"
            " the validation loss of each epoch"
        )
    epochs = recipe.trainer.max_epochs
    if every is not None and epochs and every > epochs:
        raise UserError(
            f"trainer.check_val_every_n_epoch: {every} with {user}; expected at most trainer.max_epochs, {epochs}"
        )


def check_batches(trainer: Trainer, data: Dataset, batch_size: int) -> None:
    """Check that the limits of the batches leave some, and that each callback finds what it monitors.

    Args:
        trainer: the Trainer of `fit`.
        data: its data.
        batch_size: the number of images per step of a device.

    Raises:
        UserError: a limit leaves no batch, or a callback monitors a metric that does not exist.
    """
    counts = {}
    for part in ("train", "validation", "test"):
        images = len(getattr(data, part).labels) // trainer.world_size
        counts[part] = -(-images // batch_size)
    overfits = trainer.overfit_batches > 0  # type: ignore[attr-defined]
    for name, part in (("train", "train"), ("val", "validation"), ("test", "test")):
        limit = getattr(trainer, f"limit_{name}_batches")
        if isinstance(limit, float) and limit > 0 and counts[part] > 0 and int(limit * counts[part]) == 0:
            option = "overfit_batches" if overfits and name != "test" else f"limit_{name}_batches"
            raise UserError(
                f"trainer.{option}: {limit}, of {counts[part]} {part} batches; expected {1 / counts[part]:.2g} or more, for one"
                " batch"
            )
        if name == "train":
            counts[part] = min(counts[part], limit) if isinstance(limit, int) else int(limit * counts[part])
    interval, every = trainer.val_check_interval, trainer.check_val_every_n_epoch
    if isinstance(interval, int) and interval > counts["train"] and every is not None and trainer.limit_val_batches:
        raise UserError(
            f"trainer.val_check_interval: {interval}; expected at most {counts['train']}, the training batches per epoch, or"
            " trainer.check_val_every_n_epoch null"
        )
    _check_callbacks(trainer, validated=bool(counts["validation"] and trainer.limit_val_batches))


def _check_callbacks(trainer: Trainer, *, validated: bool) -> None:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    # A callback of the user may log further metrics.
    known = all(type(c).__module__.partition(".")[0] in ("lightning", "lightning_module") for c in callbacks)
    metrics = [name for name in METRICS if validated or not name.startswith("val_")]
    for callback in callbacks:
        name, monitor = type(callback).__name__, getattr(callback, "monitor", None)
        if isinstance(callback, NEED_LOGGER) and not trainer.loggers:
            raise UserError(f"trainer.logger: false with the callback {name}; expected a logger")
        if isinstance(callback, EarlyStopping):
            missing = callback.strict and monitor not in metrics
        else:
            missing = isinstance(callback, ModelCheckpoint) and monitor not in (*metrics, "epoch", "step", None)
        if known and missing and type(callback).__module__.startswith("lightning."):  # not this package's own
            raise UserError(f"trainer.callbacks: {name} monitors {monitor}; expected one of {', '.join(metrics)}")


def in_lightning(error: BaseException) -> bool:
    """Return whether Lightning's own code raised `error`, so that it is about a wrong use of Lightning."""
    if isinstance(error, MisconfigurationException) or _failed_class(error):
        return True
    if not isinstance(error, ValueError | RuntimeError | TypeError):
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).startswith("lightning.")


def _failed_class(error: BaseException) -> str | None:
    """Return the option and the callback, optimizer or scheduler that could not use its arguments; None after other errors.

    If code of this package or of the user runs below it, or the closure that computes the gradients, the error may be theirs.
    """
    if not isinstance(error, ArithmeticError | LookupError | RuntimeError | TypeError | ValueError | AttributeError):
        return None
    failed = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module, instance = str(frame.f_globals.get("__name__", "")), frame.f_locals.get("self")
        if module.partition(".")[0] not in LIBRARIES or frame.f_code.co_name == "closure":
            failed = None
        for prefix, option in OPTIONS.items():
            if (
                failed is None
                and module.startswith(prefix)
                and isinstance(instance, Callback | Optimizer | LRScheduler)
            ):
                failed = f"{option}: {type(instance).__name__}"
    return failed


def sentence(error: BaseException) -> UserError:
    """Return an error of Lightning as a UserError of one sentence."""
    if failed := _failed_class(error):
        first: Any = error
        while first.__context__ is not None and not first.__suppress_context__:
            first = first.__context__  # Lightning may fail again while it restores the Trainer
        return UserError(f"{failed} fails ({foreign.reason_of(first)}); expected other arguments")
    return UserError(f"trainer: {' '.join(str(error).split())}")
