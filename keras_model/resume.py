"""The checkpoint, from which a resumed run continues exactly as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad.runs import UserError, resuming, weights

from .callbacks import AveragedWeights
from .options import Options
from .stock import unwrapped

# The attributes in which Keras's callbacks keep their state.
CALLBACK_STATE = {
    "EarlyStopping": ("best", "wait", "best_epoch"),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "ModelCheckpoint": ("best",),
}


class ResumableState(keras.callbacks.Callback):
    """Writes the complete state of a run at the end of each epoch to one safetensors file, and restores it.

    The state is every variable of the model and the optimizer, including the
    seeds of dropout, and the state of the callbacks, which Keras's
    BackupAndRestore doesn't save. This must be the last callback, so that it
    saves the state of the others after they have handled the end of the epoch.

    Args:
        path: the checkpoint file.
        others: the callbacks before this one.
        options: the settings of the run, which a resumed run must share.
        digest: identifies the data, which a resumed run must share.

    Attributes:
        saved_epochs: the number of epochs in the checkpoint.
    """

    def __init__(self, path: Path, others: list[Any], options: Options, digest: str) -> None:
        super().__init__()
        self.path, self.digest = path, digest
        self.others = {type(c).__name__: c for c in others if type(c).__name__ in CALLBACK_STATE}
        self.averaged = next((c for c in others if isinstance(c, AveragedWeights)), None)
        self.settings = {"backend": keras.backend.backend(), **asdict(options)}
        del self.settings["tensorboard"]  # doesn't influence the run
        self.saved_epochs = 0
        self.state: dict[str, Any] = {}
        self.best: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        arrays = {name: keras.ops.convert_to_numpy(v) for name, v in _variables(self.model).items()}
        state: dict[str, Any] = {"epoch": epoch + 1, "made_with": self.settings, "data": self.digest}
        for name, callback in self.others.items():
            values = [getattr(callback, attribute) for attribute in CALLBACK_STATE[name]]
            state[name] = [None if value is None else float(value) for value in values]
            arrays |= _numbered("best", getattr(callback, "best_weights", None) or [])
        if self.averaged is not None:
            arrays |= _numbered("trained", self.averaged.trained)
        weights.write(self.path, arrays, {"state": json.dumps(state)})
        self.saved_epochs = epoch + 1

    def restore(self, model: keras.Model, data: str) -> int:
        """Restore model and optimizer from the checkpoint; the other callbacks are restored when training begins.

        Args:
            model: the compiled model.
            data: the path of the data, for the message.

        Returns:
            The number of epochs in the checkpoint.

        Raises:
            UserError: the file is damaged, or belongs to another network, backend or setting, or to other data.
        """
        arrays, metadata = weights.read(self.path, "--resume")
        try:
            self.state = json.loads(metadata["state"])
            resuming.refuse_other_data(self.state.get("data"), self.digest, data)
            for name, now in self.settings.items():
                if (before := self.state["made_with"][name]) != now:
                    raise UserError(f"--resume: {name} is {now}, but the run was made with {before}; expected {before}")
            for name, variable in _variables(model).items():
                if arrays[name].shape != tuple(variable.shape):
                    raise ValueError(f"{name} has shape {arrays[name].shape}; expected {tuple(variable.shape)}")
                variable.assign(arrays[name])
            self.best = _list("best", arrays)
            if self.averaged is not None:
                self.averaged.trained = _list("trained", arrays)
            self.saved_epochs = int(self.state["epoch"])
            return self.saved_epochs
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"--resume: {self.path} is damaged or of another network ({error})") from error

    def on_train_begin(self, logs: Any = None) -> None:
        # The other callbacks reset themselves in their own on_train_begin, which ran before this one.
        for name, callback in self.others.items():
            for attribute, value in zip(CALLBACK_STATE[name], self.state.get(name, ()), strict=False):
                setattr(callback, attribute, value)
            if name == "EarlyStopping" and self.best:
                callback.best_weights = self.best

    def stopped_early(self) -> bool:
        """Return whether the restored run had already been ended by early stopping."""
        stopping = self.others.get("EarlyStopping")
        return (
            stopping is not None
            and "EarlyStopping" in self.state
            and self.state["EarlyStopping"][1] >= stopping.patience
        )


def _variables(model: keras.Model) -> dict[str, Any]:
    """Return the variables of the model, its optimizer, and the loss-scale wrapper of the optimizer if any."""
    optimizer = model.optimizer
    if not optimizer.built:  # LossScaleOptimizer would otherwise add its variables again, with their initial values
        optimizer.build(model.trainable_variables)
    inner = unwrapped(optimizer).variables
    wrapper = [v for v in optimizer.variables if all(v is not other for other in inner)]
    parts = (("model", model.variables), ("optimizer", inner), ("wrapper", wrapper))
    return {f"{part}.{i}": v for part, variables in parts for i, v in enumerate(variables)}


def _numbered(name: str, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}.{i}": array for i, array in enumerate(arrays)}


def _list(name: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return the arrays that `_numbered` named."""
    return [arrays[f"{name}.{i}"] for i in range(sum(key.startswith(f"{name}.") for key in arrays))]
