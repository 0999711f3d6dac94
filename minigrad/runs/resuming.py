"""The checks before a run is continued, shared by all packages: same recipe, same data, and a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import recipes
from ..recipes import Recipe
from . import folder, history
from .errors import UserError, printable
from .history import Epoch

# These schedules depend on the length of the whole training, which therefore cannot be changed.
FIXED_LENGTH = ("cosine", "one_cycle")
# The keys that a continued run may change. The weights that it started from are no longer used.
FREE = ("trainer.max_epochs", "model.weights")


def epochs_recorded(out: Path) -> int:
    """Return the number of epochs in the history of the run in `out`."""
    path = out / folder.HISTORY
    return len(history.read(path)) if path.exists() else 0


def is_complete(out: Path, recipe: Recipe) -> bool:
    """Return whether the run in `out` has ended and `recipe` asks for no more epochs; if so, print a message.

    Raises:
        UserError: the run's recipe or history is damaged.
    """
    if not folder.is_finished(out) or not (out / folder.RECIPE).exists():
        return False
    before, _ = recipes.read_trained(out / folder.RECIPE)
    if recipe.trainer.max_epochs <= before.trainer.max_epochs:
        print(f"{printable(out)} holds a finished run, which is left as it is")
        return True
    done = epochs_recorded(out)
    if before.early_stopping.patience is not None and done < before.trainer.max_epochs:
        print(f"{printable(out)} holds a run that early stopping ended after {done} epochs; it is left as it is")
        return True
    return False


def continue_run(out: Path, recipe: Recipe, checkpoint: str, restore: Callable[[], int]) -> list[Epoch]:
    """Continue the run in `out`.

    Args:
        out: the run folder, which contains the checkpoint.
        recipe: the recipe that the run continues with.
        checkpoint: the name of the checkpoint file.
        restore: reads the checkpoint, and returns the number of epochs in it.

    Returns:
        Those epochs; an empty list if the run was killed before it wrote a checkpoint.

    Raises:
        UserError: the run used another recipe or other data, or its files are missing or damaged.
    """
    refuse_changes(out, recipe)
    epochs: list[Epoch] = []
    if (out / checkpoint).exists():
        epochs = history.read(out / folder.HISTORY, restore())
    else:
        refuse_lost_checkpoint(out, checkpoint)
    reopen(out)
    return epochs


def refuse_changes(out: Path, recipe: Recipe) -> None:
    """Check that the run in `out` used `recipe`; only its length may differ.

    Raises:
        UserError: a key differs, or the length may not be changed.
    """
    started, _ = recipes.read_trained(out / folder.RECIPE)
    refuse_difference(started, recipe, epochs_recorded(out), expected=f"--config {out / folder.RECIPE}")


def refuse_difference(
    started: Recipe,
    recipe: Recipe,
    done: int,
    *,
    expected: str,
    flag: str = "--resume",
    extra: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
) -> None:
    """Check that a run that was started with the recipe `started` can continue with `recipe`.

    Args:
        started: the recipe that the run was started with.
        recipe: the recipe that it continues with.
        done: the number of epochs that the run has.
        expected: what the message recommends.
        flag: the command's option for resuming, for the messages.
        extra: (before, now): the settings for which a recipe has no keys, when the run was started and now.

    Raises:
        UserError: a key differs, or the length may not be changed.
    """
    before, now = ({**dict(recipes.flat(r)), **b} for r, b in zip((started, recipe), extra, strict=True))
    for key in before | now:
        a, b = before.get(key), now.get(key)
        if a != b and key not in FREE:
            raise UserError(f"{flag}: {key} is {_shown(b)}, but the run was made with {_shown(a)}; expected {expected}")
    asked, planned, schedule = recipe.trainer.max_epochs, started.trainer.max_epochs, recipe.model.schedule
    if asked != planned and schedule in FIXED_LENGTH:
        raise UserError(
            f"{flag}: trainer.max_epochs is {asked}, but the run was planned for {planned}, and model.schedule"
            f" {schedule} depends on that length; expected {planned}, or a new run with --model.weights"
            f" {folder.WEIGHTS} of this one"
        )
    if asked < done:
        raise UserError(
            f"{flag}: trainer.max_epochs is {asked}, but the run has {done} epochs; expected {done} or more"
        )


def refuse_other_data(trained_on: str | None, digest: str, path: str, flag: str = "--resume") -> None:
    """Check that the data have not changed since the run was started.

    Args:
        trained_on: the digest of the data in the checkpoint; None if an earlier version wrote it.
        digest: the digest of the data now.
        path: the path of the data, for the message.
        flag: the command's option for resuming, for the message.

    Raises:
        UserError: the data have changed.
    """
    if trained_on not in (None, digest):
        raise UserError(
            f"{flag}: data.path: {path} holds other data than the run was trained on (digest {digest}, in the"
            f" checkpoint {trained_on}); expected the same images and labels in the same splits"
        )


def refuse_lost_checkpoint(out: Path, name: str, flag: str = "--resume") -> None:
    """Check that a run without a checkpoint was killed in its first epoch, and has not lost its checkpoint.

    Raises:
        UserError: the history has more than one epoch.
    """
    done = epochs_recorded(out)
    if done > 1 or (done and folder.is_finished(out)):
        raise UserError(
            f"{flag}: {out} holds a history of {done} epochs, but no {name} to continue from; expected that file in the"
            " folder, another folder or --overwrite"
        )


def reopen(out: Path) -> None:
    """Remove metrics.json, which marks a run as finished, from a run that continues."""
    (out / folder.METRICS).unlink(missing_ok=True)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
