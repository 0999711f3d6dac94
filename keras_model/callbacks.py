"""The callbacks that a recipe asks for, and the two of ours: the run folder and the resumable state."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import PLATEAU, Recipe
from minigrad.runs import Epoch, UserError, curves, folder, history, metrics, need_tensorboard, weights
from minigrad.runs.progress import Report, network

from .interrupt import CtrlC
from .model import get_weights

CHECKPOINT, MODEL, LOG = "checkpoint.safetensors", "model.keras", "metrics.csv"
# The attributes in which Keras's callbacks keep what a resumed run must know.
STATE = {
    "EarlyStopping": ("best", "wait", "best_epoch"),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "ModelCheckpoint": ("best",),
}


class ModelCheckpoint(keras.callbacks.ModelCheckpoint):
    """Keras's own, which writes beside the file and renames, so that a kill leaves the last whole one."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path, self.draft = path, path.with_name(f".{path.name}")
        super().__init__(str(self.draft), **options)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.draft.unlink(missing_ok=True)  # of a run that was killed while it wrote
        super().on_epoch_end(epoch, logs)
        if self.draft.exists():
            self.draft.replace(self.path)


class RunFolder(keras.callbacks.Callback):
    """Write history.csv, weights.safetensors and curves.png; print a line an epoch.

    Args:
        path: the run folder.
        recipe: goes into the weights file's metadata.
        data: likewise its shape and classes.
        report: shows the epochs.
        epochs: those that a resumed run has behind it.
    """

    def __init__(self, path: Path, recipe: Recipe, data: Dataset, report: Report, epochs: list[Epoch]) -> None:
        super().__init__()
        self.path, self.recipe, self.report, self.epochs = path, recipe, report, epochs
        self.described = weights.describe(recipe.as_dict(), data.input_shape, data.classes, data.input_scale)
        self.title = f"Keras on {keras.backend.backend()}, {network(recipe, data)}"
        self.began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.report.step(len(self.epochs) * self.report.steps + batch + 1, float((logs or {}).get("loss", 0)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seen = logs or {}
        rate = float(str(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))  # 0.1, not 0.10000000149
        found = [seen[name] for name in ("loss", "accuracy")] + [
            seen.get(f"val_{name}") for name in ("loss", "accuracy")
        ]
        values: list[Any] = [None if value is None else float(value) for value in found]
        for name in ("loss", "val_loss"):
            metrics.refuse_divergence(seen.get(name, 0.0), epoch + 1, rate)
        loss, accuracy, val_loss, val_accuracy = values
        row = Epoch(
            epoch + 1,
            loss,
            accuracy,
            val_loss,
            val_accuracy,
            learning_rate=rate,
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


class ResumableState(keras.callbacks.Callback):
    """All that a run needs to go on as if it had never stopped, written at each epoch's end.

    Keras's BackupAndRestore forgets what EarlyStopping and ReduceLROnPlateau
    have seen. This keeps it, with every variable of model and optimiser
    (dropout's seeds among them), in one safetensors file. Stands last among
    the callbacks, so that it sees what they have become.
    """

    def __init__(self, path: Path, others: list[Any]) -> None:
        super().__init__()
        self.path = path
        self.others = {type(c).__name__: c for c in others if type(c).__name__ in STATE}
        self.kept = 0  # epochs
        self.state: dict[str, Any] = {}
        self.best: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        arrays = {name: keras.ops.convert_to_numpy(v) for name, v in self._variables(self.model).items()}
        state: dict[str, Any] = {"epoch": epoch + 1}
        for name, callback in self.others.items():
            state[name] = [None if (v := getattr(callback, key)) is None else float(v) for key in STATE[name]]
            for i, array in enumerate(getattr(callback, "best_weights", None) or []):
                arrays[f"best.{i}"] = array
        weights.write(self.path, arrays, {"state": json.dumps(state)})
        self.kept = epoch + 1

    def restore(self, model: keras.Model) -> int:
        """Take up the state at `path`; returns its epoch. Callbacks follow when training begins.

        Raises:
            UserError: the file is damaged or of another network.
        """
        arrays, metadata = weights.read(self.path, "--resume")
        try:
            for name, variable in self._variables(model).items():
                if arrays[name].shape != tuple(variable.shape):
                    raise ValueError(f"{name} has shape {arrays[name].shape}; expected {tuple(variable.shape)}")
                variable.assign(arrays[name])
            self.state = json.loads(metadata["state"])
            self.best = [arrays[f"best.{i}"] for i in range(sum(name.startswith("best.") for name in arrays))]
            self.kept = int(self.state["epoch"])
            return self.kept
        except (KeyError, ValueError) as error:
            raise UserError(f"--resume: {self.path} is damaged or of another network ({error})") from error

    def on_train_begin(self, logs: Any = None) -> None:
        for name, callback in self.others.items():  # they have just reset themselves
            for key, value in zip(STATE[name], self.state.get(name, ()), strict=False):
                setattr(callback, key, value)
            if name == "EarlyStopping" and self.best:
                callback.best_weights = self.best

    def is_over(self) -> bool:
        """Whether the restored run had already stopped early."""
        stopping = self.others.get("EarlyStopping")
        return (
            stopping is not None
            and "EarlyStopping" in self.state
            and self.state["EarlyStopping"][1] >= stopping.patience
        )

    @staticmethod
    def _variables(model: keras.Model) -> dict[str, Any]:
        model.optimizer.build(model.trainable_variables)
        both = (("model", model.variables), ("optimizer", model.optimizer.variables))
        return {f"{part}.{i}": v for part, variables in both for i, v in enumerate(variables)}


class HearCtrlC(keras.callbacks.Callback):
    """Raise KeyboardInterrupt again if training went on after it."""

    def __init__(self, ctrl_c: CtrlC) -> None:
        super().__init__()
        self.ctrl_c = ctrl_c

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.ctrl_c.raise_again()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.ctrl_c.raise_again()


def build_callbacks(recipe: Recipe, out: Path, tensorboard: bool = False, resumed: bool = False) -> list[Any]:
    """Keras's callbacks by the recipe.

    Raises:
        UserError: TensorBoard was asked for and isn't installed.
    """
    monitor = "val_loss" if recipe.data.validation_size else "loss"
    callbacks: list[Any] = [keras.callbacks.CSVLogger(str(out / LOG), append=resumed)]
    patience = recipe.early_stopping.patience
    callbacks.append(ModelCheckpoint(out / MODEL, monitor=monitor, save_best_only=patience is not None))
    if patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping(monitor, patience=patience, restore_best_weights=True))
    if recipe.model.schedule == "reduce_on_plateau":
        # Keras reduces at `patience` bad epochs, torch after them.
        options = {"factor": PLATEAU["factor"], "patience": PLATEAU["patience"] + 1, "min_delta": PLATEAU["threshold"]}
        callbacks.append(keras.callbacks.ReduceLROnPlateau(monitor, **options))
    if tensorboard:
        need_tensorboard()
        callbacks.append(keras.callbacks.TensorBoard(str(out / "tensorboard")))
    return callbacks


def logits(model: keras.Model, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
    """The model's answers, (n, classes)."""
    return np.asarray(model.predict(images, batch_size=batch_size, verbose=0))
