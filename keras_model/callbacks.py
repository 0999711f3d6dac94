"""The callbacks of `fit`: those that a recipe asks for, the run folder, and corrections of Keras's own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad.recipes import PLATEAU, Recipe
from minigrad.runs import Epoch, RunRecorder, writing
from minigrad.runs.files import draft_of
from minigrad.runs.progress import ProgressReport
from minigrad.runs.signals import Interruption
from minigrad.runs.tensorboard import Histograms, Scalars

from .model import get_weights
from .options import LOG, MODEL
from .parts import Parts
from .stock import constant_rate, copy_weights, stock_copy


class ModelCheckpoint(keras.callbacks.ModelCheckpoint):
    """Keras's ModelCheckpoint, but saves a `stock_copy` of the network, which loads without this package.

    The file is written under a temporary name and then renamed, so that a
    killed run leaves the last complete file.

    Args:
        path: the `.keras` file.
        parts: the user's loss and metrics. Default none.
        **options: further arguments of `keras.callbacks.ModelCheckpoint`, such as `monitor` and `save_best_only`.
    """

    def __init__(self, path: Path, parts: Parts = Parts(), **options: Any) -> None:  # noqa: B008 (it is frozen)
        self.path, self.parts, self.draft = path, parts, draft_of(path)
        super().__init__(str(self.draft), **options)

    def on_train_begin(self, logs: Any = None) -> None:
        self.stock = stock_copy(self.model, self.model.optimizer, self.parts)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        trained = self.model
        copy_weights(trained, self.stock)
        if (rate := constant_rate(trained.optimizer)) is not None:
            self.stock.optimizer.learning_rate = rate
        self.set_model(self.stock)
        try:
            with writing(self.path):
                super().on_epoch_end(epoch, logs)
            if self.draft.exists():
                self.draft.replace(self.path)
        finally:
            self.set_model(trained)
            with suppress(OSError):
                self.draft.unlink(missing_ok=True)


class CSVLogger(keras.callbacks.CSVLogger):
    """Keras's CSVLogger, but the file is open only while a row is written, so that it is closed however training ends.

    Args:
        path: the file.
        columns: the columns of metrics, by their names, if they differ.
        append: whether to keep the rows that the file contains.
    """

    def __init__(self, path: Path, columns: Mapping[str, str], *, append: bool) -> None:
        super().__init__(str(path), append=append)
        self.columns = {**columns, **{f"val_{name}": f"val_{column}" for name, column in columns.items()}}

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)  # empties the file unless the run is resumed
        super().on_train_end(logs)
        self.append = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_train_begin()  # opens the file for appending
        try:
            super().on_epoch_end(epoch, {self.columns.get(name, name): value for name, value in (logs or {}).items()})
        finally:
            super().on_train_end()


class RunFolder(keras.callbacks.Callback):
    """Records each epoch in the run folder and reports progress on the terminal.

    Args:
        recorder: writes the files of the run.
        report: prints the steps and epochs.
    """

    def __init__(self, recorder: RunRecorder, report: ProgressReport) -> None:
        super().__init__()
        self.recorder, self.report = recorder, report
        self.start = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        done = len(self.recorder.history) * self.report.steps
        self.report.step(done + batch + 1, float((logs or {}).get("loss", 0)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        names = ("loss", "accuracy", "val_loss", "val_accuracy")  # the user's metrics need not be numbers
        values = {name: float(value) for name, value in (logs or {}).items() if name in names}
        metrics = Epoch(
            epoch + 1,
            values["loss"],
            values["accuracy"],
            values.get("val_loss"),
            values.get("val_accuracy"),
            # Converted by way of text, so that the float32 0.1 becomes 0.1 and not 0.10000000149.
            learning_rate=float(str(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))),
            seconds=time.perf_counter() - self.start,
        )
        self.recorder.add_epoch(metrics, lambda: get_weights(self.model))
        self.report.epoch(metrics)


class TerminateOnInterruption(keras.callbacks.Callback):
    """Raises KeyboardInterrupt again if a library swallowed it and training continued."""

    def __init__(self, interruption: Interruption) -> None:
        super().__init__()
        self.interruption = interruption

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.interruption.raise_again()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.interruption.raise_again()


class TerminateOnNaN(keras.callbacks.TerminateOnNaN):
    """Keras's TerminateOnNaN, but raises an error that names the learning rate.

    The recorder makes the same check at the end of each epoch, including the
    validation loss, because the last step may ruin the weights after its loss
    was computed.
    """

    def __init__(self, recorder: RunRecorder) -> None:
        super().__init__()
        self.recorder = recorder

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.recorder.check_loss(float((logs or {}).get("loss", 0)), len(self.recorder.history) + 1)


class SeedTorch(keras.callbacks.Callback):
    """Seeds torch's generator from the seed and the epoch, so that a resumed run draws the same dropout masks.

    On torch, Keras draws the masks from torch's global generator. On
    TensorFlow and JAX, the state of dropout is a variable of the model.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        keras.utils.set_random_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))


class AveragedWeights(keras.callbacks.Callback):
    """Puts the optimizer's moving average into the model for validation and for the end of each epoch.

    The trained weights return when the next epoch begins; after the last epoch
    the average stays. Keras's SwapEMAWeights swaps by adding and subtracting,
    which causes rounding errors, and depends on the number of the last epoch,
    which can differ in a resumed run. This must be the first callback that
    acts at the end of an epoch.

    Attributes:
        trained: the trained weights while the average is in the model, else empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[np.ndarray] = []

    def on_test_begin(self, logs: Any = None) -> None:
        self._swap_in()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._swap_in()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for variable, array in zip(self.model.trainable_variables, self.trained, strict=False):
            variable.assign(array)
        self.trained = []

    def _swap_in(self) -> None:
        if not self.trained:
            variables = self.model.trainable_variables
            # Copies, because on some backends an array shares the memory of the variable.
            self.trained = [np.array(v) for v in variables]
            self.model.optimizer.finalize_variable_values(variables)
            # On JAX the model now shares its memory with the average. Copies again, because a step must not donate the
            # same memory twice.
            for variable in variables:
                variable.assign(np.array(variable))


class TensorBoard(keras.callbacks.Callback):
    """Writes scalars and weight histograms of each epoch. Unlike Keras's callback, it does not import TensorFlow.

    No file stays open between epochs, so that training may end in any way.

    Args:
        out: the run folder; its subfolder `tensorboard` gets `train`, `validation` and `weights`.
        epochs: the history of the `RunRecorder`, to which `RunFolder`, an earlier callback, appends a row per epoch.
            The rows at the start of training are those of a resumed run.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, out: Path, epochs: list[Epoch]) -> None:
        super().__init__()
        self.epochs, self.scalars, self.histograms = epochs, Scalars(out), Histograms(out)

    def on_train_begin(self, logs: Any = None) -> None:
        self.scalars.start(self.epochs)
        self.histograms.start(self.epochs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.scalars.epoch(self.epochs[-1])
        self.histograms.epoch(self.epochs[-1], get_weights(self.model))


def build_callbacks(
    recipe: Recipe,
    out: Path,
    parts: Parts = Parts(),  # noqa: B008 (it is frozen)
    *,
    resumed: bool = False,
) -> list[Any]:
    """Return the callbacks that a recipe asks for.

    Args:
        recipe: the recipe.
        out: the run folder, which gets metrics.csv and model.keras.
        parts: the user's parts; with an optimizer of the user, the recipe's schedule is not applied. Default none.
        resumed: whether the run continues, so that metrics.csv is appended to. Default False.
    """
    stopping = recipe.early_stopping
    callbacks: list[Any] = [SeedTorch(recipe.seed_everything)] if keras.backend.backend() == "torch" else []
    callbacks.append(CSVLogger(out / LOG, parts.columns, append=resumed))
    if stopping.patience is None:
        callbacks.append(ModelCheckpoint(out / MODEL, parts))
    else:
        best: dict[str, Any] = {"monitor": stopping.monitor, "mode": stopping.mode}
        callbacks.append(ModelCheckpoint(out / MODEL, parts, save_best_only=True, **best))
        callbacks.append(keras.callbacks.EarlyStopping(patience=stopping.patience, restore_best_weights=True, **best))
    if recipe.model.schedule == "reduce_on_plateau" and parts.optimizer is None:
        # Keras reduces the rate after `patience` epochs without improvement, torch one epoch later.
        options = {"factor": PLATEAU["factor"], "patience": PLATEAU["patience"] + 1, "min_delta": PLATEAU["threshold"]}
        callbacks.append(keras.callbacks.ReduceLROnPlateau("val_loss", **options))
    return callbacks
