"""The terminal output of a training run."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..recipes.sizes import sizes
from .history import Epoch

if TYPE_CHECKING:
    from ..datasets import Dataset
    from ..recipes import Recipe


def network(recipe: Recipe, data: Dataset) -> str:
    """Return the layer sizes, such as `784-10-10`, or for a cnn `28x28, 8-16 channels of 5x5, then 784-10`."""
    model, layers = recipe.model, sizes(recipe.model, data.input_shape, data.classes)
    linear = "-".join(map(str, [*(a for a, _ in layers.hidden), *layers.output]))
    if not layers.conv:
        return linear
    channels, kernel = "-".join(map(str, model.channels)), f"{model.kernel_size}x{model.kernel_size}"
    return f"{'x'.join(map(str, data.input_shape))}, {channels} channels of {kernel}, then {linear}"


class ProgressReport:
    """Prints one line per epoch and, in a terminal, a progress bar of the steps below them.

    Args:
        recipe: the recipe of the training.
        data: the data of the training.
        parameters: the number of trained parameters.
        steps: the number of steps per epoch.
        own_class: the class of the module, if it is not the recipe's, whose network and optimizer may be others.
        optimizer: the name of an optimizer that replaces the recipe's; empty for the recipe's.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        parameters: int,
        steps: int,
        *,
        own_class: str | None = None,
        optimizer: str = "",
    ) -> None:
        self.steps, self.console = steps, Console(highlight=False, markup=False)
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
        )
        hidden = not self.console.is_terminal
        self.progress = Progress(*columns, console=self.console, transient=True, disable=hidden)
        self.task = self.progress.add_task("", total=steps, epoch=1, loss=0.0)

        model = recipe.model
        update = optimizer or ("" if own_class else f"{model.optimizer} at {model.learning_rate}")
        described = [own_class or network(recipe, data), f"{parameters:,} parameters", update]
        self.console.print(", ".join([*filter(None, described), f"batches of {recipe.data.batch_size}"]))
        counts = [f"{len(split.labels):,}" for split in (data.train, data.validation, data.test)]
        self.console.print("{}: {} to train, {} to validate, {} to test".format(data.path or recipe.data.path, *counts))
        if recipe.trainer.max_epochs:
            self.console.print("epoch    loss  accuracy  val loss  val accuracy  seconds")

    def __enter__(self) -> ProgressReport:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def step(self, step: int, loss: float) -> None:
        """Update the progress bar; `step` is counted from 1 over all epochs."""
        if step % 20 == 0:
            epoch, done = divmod(step - 1, self.steps)
            self.progress.update(self.task, completed=done + 1, epoch=epoch + 1, loss=loss)

    def epoch(self, e: Epoch) -> None:
        """Print one epoch."""
        if e.val_loss is None or e.val_accuracy is None:
            validation = f"{'-':>8}  {'-':>12}"
        else:
            validation = f"{e.val_loss:8.4f}  {e.val_accuracy:12.2%}"
        self.console.print(f"{e.epoch:5}  {e.train_loss:6.4f}  {e.train_accuracy:8.2%}  {validation}  {e.seconds:7.2f}")

    def hint(self, text: str, command: str) -> None:
        """Print a hint about the training, and the command that shows an example of it, if there is one."""
        self.console.print(textwrap.fill(f"hint: {text}", min(self.console.width, 100), break_on_hyphens=False))
        if command:
            self.console.print(f"      An example: {command}", soft_wrap=True)
