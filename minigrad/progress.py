"""What a person sees while minigrad trains."""

from __future__ import annotations

import math

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .classifier import Classifier
from .datasets import Dataset
from .recipes import Recipe
from .runs import Epoch


class Report:
    """A line an epoch, above a bar that moves with the steps where there is a terminal."""

    def __init__(self, recipe: Recipe, data: Dataset, net: Classifier, steps: int) -> None:
        model, epochs = recipe.model, recipe.trainer.max_epochs
        sizes = [math.prod(data.input_shape), *model.hidden, data.classes]
        self.network = "-".join(map(str, sizes))
        self.parameters = sum(p.size for p in net.parameters())
        self.max_epochs, self.steps = epochs, steps
        console = Console(highlight=False)
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task("", total=steps, epoch=1, loss=0.0)
        learning = f"{model.optimizer} at {model.learning_rate}, batches of {recipe.data.batch_size}"
        console.print(f"{self.network}, {self.parameters:,} parameters, {learning}")
        counts = [f"{len(split.labels):,}" for split in (data.train, data.validation, data.test)]
        console.print("{}: {} to train, {} to validate, {} to test".format(recipe.data.path, *counts))
        if epochs:
            console.print("epoch    loss  accuracy  val loss  val accuracy  seconds")

    def __enter__(self) -> Report:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def step(self, step: int, loss: float) -> None:
        if step % 20 == 0:
            done = (step - 1) % self.steps + 1
            self.progress.update(self.task, completed=done, epoch=(step - 1) // self.steps + 1, loss=loss)

    def epoch(self, e: Epoch) -> None:
        if e.val_loss is None or e.val_accuracy is None:
            validation = f"{'-':>8}  {'-':>12}"
        else:
            validation = f"{e.val_loss:8.4f}  {e.val_accuracy:12.2%}"
        self.progress.console.print(
            f"{e.epoch:5}  {e.train_loss:6.4f}  {e.train_accuracy:8.2%}  {validation}  {e.seconds:7.2f}"
        )
