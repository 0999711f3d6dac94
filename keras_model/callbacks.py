"""The callbacks that a recipe asks for, and ours: the run folder, and what Keras lets pass."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import PLATEAU, Recipe
from minigrad.runs import Epoch, curves, folder, history, metrics, weights
from minigrad.runs.progress import ProgressReport, network

from .interrupt import CtrlC
from .model import get_weights
from .options import LOG, MODEL
from .stock import constant_rate, copy_weights, stock_copy


class ModelCheckpoint(keras.callbacks.ModelCheckpoint):
    """Keras's ModelCheckpoint, but the file holds a `stock_copy` of the network, which loads without this package.

    It is written to a draft beside the file, which is then renamed, so that a
    killed run leaves the last complete file.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        self.path, self.draft = path, path.with_name(f".{path.name}")
        super().__init__(str(self.draft), **options)

    def on_train_begin(self, logs: Any = None) -> None:
        self.stock = stock_copy(self.model, self.model.optimizer)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.draft.unlink(missing_ok=True)  # of a run that was killed while it wrote
        trained = self.model
        copy_weights(trained, self.stock)
        self.stock.optimizer.learning_rate = constant_rate(trained.optimizer)
        self.set_model(self.stock)
        try:
            super().on_epoch_end(epoch, logs)
        finally:
            self.set_model(trained)
        if self.draft.exists():
            self.draft.replace(self.path)


class CSVLogger(keras.callbacks.CSVLogger):
    """Keras's CSVLogger, but the file is open only while an epoch's line is written, however training ends."""

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)  # empties the file, except that of a resumed run
        super().on_train_end(logs)
        self.append = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_train_begin()  # opens the file to append to it
        try:
            super().on_epoch_end(epoch, logs)
        finally:
            super().on_train_end()


class RunFolder(keras.callbacks.Callback):
    """Write history.csv, weights.safetensors and curves.png; print a line an epoch.

    Args:
        path: the run folder.
        recipe: goes into the weights file's metadata.
        data: likewise its shape and classes.
        report: shows the epochs.
        epochs: those that a resumed run has behind it.
        beyond: settings of the training that no recipe has a key for.
    """

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        data: Dataset,
        report: ProgressReport,
        epochs: list[Epoch],
        beyond: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.path, self.recipe, self.report, self.epochs = path, recipe, report, epochs
        self.described = weights.NetworkSpec.of(recipe, data, beyond).metadata()
        self.title = f"Keras on {keras.backend.backend()}, {network(recipe, data)}"
        self.began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.report.step(len(self.epochs) * self.report.steps + batch + 1, float((logs or {}).get("loss", 0)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seen = {name: float(value) for name, value in (logs or {}).items()}
        row = Epoch(
            epoch + 1,
            seen["loss"],
            seen["accuracy"],
            seen.get("val_loss"),
            seen.get("val_accuracy"),
            # 0.1, not 0.10000000149
            learning_rate=float(str(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))),
            seconds=time.perf_counter() - self.began,
        )
        best = all(e.val_loss is None or row.val_loss is None or row.val_loss < e.val_loss for e in self.epochs)
        self.epochs.append(row)
        history.write(self.path / folder.HISTORY, self.epochs)
        if best or self.recipe.early_stopping.patience is None:
            self.write_weights()
        self.report.epoch(row)

    def on_train_end(self, logs: Any = None) -> None:
        if self.epochs:
            curves.draw(self.path / folder.CURVES, self.epochs, self.title)

    def write_weights(self) -> None:
        weights.write(self.path / folder.WEIGHTS, get_weights(self.model), self.described)


class HearCtrlC(keras.callbacks.Callback):
    """Raise KeyboardInterrupt again if training went on after it."""

    def __init__(self, ctrl_c: CtrlC) -> None:
        super().__init__()
        self.ctrl_c = ctrl_c

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.ctrl_c.raise_again()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.ctrl_c.raise_again()


class TorchSeed(keras.callbacks.Callback):
    """Begin each epoch of torch's own generator by the seed and the epoch, so that a resumed run draws the same.

    Keras on torch takes dropout's masks from it, and its state is in no
    variable, as it is on TensorFlow and JAX.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        keras.utils.set_random_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))


class TerminateOnNaN(keras.callbacks.TerminateOnNaN):
    """Keras's own, which says in a sentence what to do, and looks at the validation loss too.

    The last step may ruin the weights after its loss was taken.
    """

    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        self.learning_rate, self.epoch = learning_rate, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch + 1

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        metrics.check_loss(float((logs or {}).get("loss", 0)), self.epoch, self.learning_rate)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name in ("loss", "val_loss"):
            metrics.check_loss(float((logs or {}).get(name, 0)), self.epoch, self.learning_rate)


def build_callbacks(recipe: Recipe, out: Path, *, validated: bool, resumed: bool = False) -> list[Any]:
    """Keras's callbacks by the recipe; `validated` says whether there are validation images."""
    monitor = "val_loss" if validated else "loss"
    callbacks: list[Any] = [TorchSeed(recipe.seed_everything)] if keras.backend.backend() == "torch" else []
    callbacks.append(CSVLogger(str(out / LOG), append=resumed))
    patience = recipe.early_stopping.patience
    callbacks.append(ModelCheckpoint(out / MODEL, monitor=monitor, save_best_only=patience is not None))
    if patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping(monitor, patience=patience, restore_best_weights=True))
    if recipe.model.schedule == "reduce_on_plateau":
        # Keras reduces at `patience` bad epochs, torch after them.
        options = {"factor": PLATEAU["factor"], "patience": PLATEAU["patience"] + 1, "min_delta": PLATEAU["threshold"]}
        callbacks.append(keras.callbacks.ReduceLROnPlateau(monitor, **options))
    return callbacks
