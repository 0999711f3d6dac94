"""Your own network, data, metric, callback and logger with `lightning_module`.

    python examples/custom_lightning.py
    python examples/custom_lightning.py fit --model.width 64 --model.learning_rate 0.005 --data.batch_size 32

Without arguments, it trains from Python. With arguments, it is `python -m lightning_module` with the classes below, whose own
arguments are flags. Both write a run folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the customary name)
from torchmetrics import Metric

import lightning_module
from lightning_module import ImageDataModule, LitClassifier
from lightning_module.network import Scale
from minigrad import datasets
from minigrad.recipes import Data, Model, Recipe
from minigrad.runs import run_command

PROG = "python examples/custom_lightning.py"
OUT = Path("runs/custom")


class StripeClassifier(LitClassifier):
    """A network, a loss and an optimizer of its own; the recipe's keys are still there."""

    def __init__(self, width: int = 32, smoothing: float = 0.1, **recipe: Any) -> None:
        super().__init__(**recipe)

    def build_network(self) -> nn.Module:
        h: Any = self.hparams
        layers = [nn.Flatten(), nn.LazyLinear(h.width), nn.GELU(), nn.Linear(h.width, h.classes)]
        network = nn.Sequential(Scale(h.input_scale), *layers)
        network(torch.zeros(1, *h.input_shape))  # LazyLinear takes its size from the first batch
        return network

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        h: Any = self.hparams
        return F.cross_entropy(logits, labels, label_smoothing=h.smoothing)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        h: Any = self.hparams
        return torch.optim.NAdam(self.parameters(), lr=h.learning_rate)


class Stripes(ImageDataModule):
    """Noisy stripes in three directions, generated in memory, and turned by half a turn at random in training."""

    def __init__(self, noise: float = 60.0, **recipe: Any) -> None:
        super().__init__(**recipe)

    def load_dataset(self) -> datasets.Dataset:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 900)
        y, x, shift = *np.mgrid[:8, :8], rng.uniform(0, 8, (900, 1, 1))
        position = np.array([y, x, x + y])[labels] + shift
        h: Any = self.hparams
        images = 128 + 60 * np.sin(position * np.pi / 2) + rng.normal(0, h.noise, (900, 8, 8))
        pixels = np.clip(images, 0, 255).astype(np.uint8)
        return datasets.from_arrays(pixels, labels, class_names=["rows", "columns", "diagonals"])

    def on_after_batch_transfer(self, batch: tuple[Tensor, ...], dataloader_idx: int) -> tuple[Tensor, ...]:
        images, *labels = super().on_after_batch_transfer(batch, dataloader_idx)
        if self.trainer is not None and self.trainer.training and torch.rand(()) < 0.5:
            images = images.rot90(2, (1, 2))
        return images, *labels


class WorstClassAccuracy(Metric):
    """The accuracy of the class that has the lowest one."""

    correct: Tensor
    images: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        for name in ("correct", "images"):
            self.add_state(name, torch.zeros(classes), dist_reduce_fx="sum")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self.images += torch.bincount(labels, minlength=len(self.images))
        self.correct += torch.bincount(labels[logits.argmax(1) == labels], minlength=len(self.images))

    def compute(self) -> Tensor:
        return (self.correct / self.images.clamp(min=1))[self.images > 0].min()


class LogWorstClass(Callback):
    """Logs the metric above for the validation images of each epoch."""

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.metric = WorstClassAccuracy(pl_module.hparams.classes).to(pl_module.device)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.metric.update(outputs, batch[1])  # the outputs are logits

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.log("val_worst_class_accuracy", self.metric.compute())


class JsonLines(Logger):
    """Writes one JSON object per line; the directory of the run exists when the training starts."""

    name, version = "json", ""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        pass  # recipe.yaml contains them

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")


def train(_: Any) -> None:
    """Train from Python, and print the logged metric of the last epoch."""
    recipe = Recipe(model=Model(learning_rate=0.005), data=Data(batch_size=32))
    lightning_module.fit(
        recipe,
        out=OUT,
        model=StripeClassifier,
        data_module=Stripes,
        accelerator="cpu",
        max_epochs=8,
        callbacks=[LogWorstClass()],
        logger=JsonLines(OUT / "log.jsonl"),
    )
    lines = [json.loads(line) for line in (OUT / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    worst = [line["val_worst_class_accuracy"] for line in lines if "val_worst_class_accuracy" in line]
    print(f"worst class, validation: {worst[0]:.0%} after the first epoch, {worst[-1]:.0%} after the last")


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(lightning_module.command(StripeClassifier, Stripes))
    sys.exit(run_command(PROG, train))
