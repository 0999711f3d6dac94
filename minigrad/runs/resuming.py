"""What all three packages check before they continue a run: the same recipe, the same data, a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import recipes
from ..recipes import Recipe
from . import folder, history
from .errors import UserError
from .history import Epoch

# A schedule of these is stretched over the whole training, which therefore cannot become longer.
STRETCHED = ("cosine", "one_cycle")
# What a continued run may change. The weights it started from no longer matter.
FREE = ("trainer.max_epochs", "model.weights")


def epochs_recorded(out: Path) -> int:
    """Return the number of epochs in the history of the run in `out`."""
    path = out / folder.HISTORY
    return len(history.read(path)) if path.exists() else 0


def is_complete(out: Path, recipe: Recipe) -> bool:
    """Return whether the run in `out` has ended and `recipe` asks for no more epochs; if so, print that.

    Raises:
        UserError: the recorded recipe or the history is damaged.
    """
    if not folder.is_finished(out) or not (out / folder.RECIPE).exists():
        return False
    before, _ = recipes.read_trained(out / folder.RECIPE)
    if recipe.trainer.max_epochs <= before.trainer.max_epochs:
        print(f"{out} holds a finished run, which is left as it is")
        return True
    done = epochs_recorded(out)
    if before.early_stopping.patience is not None and done < before.trainer.max_epochs:
        print(f"{out} holds a run that early stopping ended after {done} epochs; it is left as it is")
        return True
    return False


def take_up(out: Path, recipe: Recipe, checkpoint: str, restore: Callable[[], int]) -> list[Epoch]:
    """Continue the run in `out`, whose checkpoint is in its folder.

    Args:
        out: the run folder.
        recipe: what is asked for now.
        checkpoint: the name of the checkpoint file.
        restore: reads it, and returns how many epochs it has.

    Returns:
        Those epochs; none if the run was killed before it had a checkpoint.

    Raises:
        UserError: the run was made with another recipe or other data, or its files are lost or damaged.
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
    """Check that the run in `out` was made with `recipe`; only its length may differ.

    Raises:
        UserError: naming the first key that differs, or why the length may not.
    """
    recorded, _ = recipes.read_trained(out / folder.RECIPE)
    refuse_difference(recorded, recipe, epochs_recorded(out), expected=f"--config {out / folder.RECIPE}")


def refuse_difference(
    recorded: Recipe,
    recipe: Recipe,
    done: int,
    *,
    expected: str,
    flag: str = "--resume",
    extra: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
) -> None:
    """Check that a run made with `recorded` can continue with `recipe`.

    Args:
        recorded: what the run was made with.
        recipe: what is asked for now.
        done: epochs that the run has.
        expected: what the message recommends.
        flag: what the command calls resuming, for the messages.
        extra: the settings then and now for which a recipe has no keys.

    Raises:
        UserError: naming the first key that differs, or why the length may not.
    """
    before, now = ({**dict(recipes.flat(r)), **b} for r, b in zip((recorded, recipe), extra, strict=True))
    for key in before | now:
        a, b = before.get(key), now.get(key)
        if a != b and key not in FREE:
            raise UserError(f"{flag}: {key} is {_shown(b)}, but the run was made with {_shown(a)}; expected {expected}")
    asked, planned, schedule = recipe.trainer.max_epochs, recorded.trainer.max_epochs, recipe.model.schedule
    if asked != planned and schedule in STRETCHED:
        raise UserError(
            f"{flag}: trainer.max_epochs is {asked}, but the run was planned for {planned}, over which model.schedule"
            f" {schedule} moves the learning rate; expected {planned}, or a new run that starts from its {folder.WEIGHTS}"
            " by --model.weights"
        )
    if asked < done:
        raise UserError(
            f"{flag}: trainer.max_epochs is {asked}, but the run has {done} epochs; expected {done} or more"
        )


def refuse_other_data(trained_on: str | None, digest: str, path: str, flag: str = "--resume") -> None:
    """Check that the data are those that the run was trained on.

    Args:
        trained_on: the digest in the checkpoint; None if an earlier version wrote it.
        digest: of the data now.
        path: where they are, for the message.
        flag: what the command calls resuming.

    Raises:
        UserError: they are others.
    """
    if trained_on not in (None, digest):
        raise UserError(
            f"{flag}: data.path: {path} holds other data than the run was trained on (digest {digest}, in the checkpoint"
            f" {trained_on}); expected the same images and labels in the same splits"
        )


def refuse_lost_checkpoint(out: Path, name: str, flag: str = "--resume") -> None:
    """Check that a run without a checkpoint has lost no more than its first epoch, within which it may have been killed.

    Raises:
        UserError: the history has more epochs.
    """
    done = epochs_recorded(out)
    if done > 1 or (done and folder.is_finished(out)):
        raise UserError(
            f"{flag}: {out} holds a history of {done} epochs, but no {name} to continue from; expected the checkpoint in"
            " the folder, another folder or --overwrite"
        )


def reopen(out: Path) -> None:
    """Remove the test metrics of a finished run that continues: they are out of date, and mark it as finished."""
    (out / folder.METRICS).unlink(missing_ok=True)


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
