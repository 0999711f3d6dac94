"""What a resumed run needs to end as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad.runs import UserError, resuming, weights

from .callbacks import Averaged
from .options import Options

# The attributes in which Keras's callbacks keep what a resumed run must know.
REMEMBERED = {
    "EarlyStopping": ("best", "wait", "best_epoch"),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "ModelCheckpoint": ("best",),
}


class ResumableState(keras.callbacks.Callback):
    """Write all of a run's state at each epoch's end, in one safetensors file, and take it up again.

    That is every variable of model and optimiser, dropout's seeds among them,
    and what the callbacks have seen, which Keras's BackupAndRestore forgets.
    Stands last among the callbacks, so that it sees what they have become.

    Args:
        path: the file.
        others: the callbacks before it.
        options: a run goes on with those that it began with.
        digest: names the data.
    """

    def __init__(self, path: Path, others: list[Any], options: Options, digest: str) -> None:
        super().__init__()
        self.path, self.digest = path, digest
        self.others = {type(c).__name__: c for c in others if type(c).__name__ in REMEMBERED}
        self.averaged = next((c for c in others if isinstance(c, Averaged)), None)
        self.made_with = {"backend": keras.backend.backend(), **asdict(options)}
        del self.made_with["tensorboard"]  # which changes nothing of the run
        self.kept = 0  # epochs
        self.state: dict[str, Any] = {}
        self.best: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        arrays = {name: keras.ops.convert_to_numpy(v) for name, v in _variables(self.model).items()}
        state: dict[str, Any] = {"epoch": epoch + 1, "made_with": self.made_with, "data": self.digest}
        for name, callback in self.others.items():
            state[name] = [None if (v := getattr(callback, key)) is None else float(v) for key in REMEMBERED[name]]
            arrays |= _numbered("best", getattr(callback, "best_weights", None) or [])
        if self.averaged is not None:
            arrays |= _numbered("trained", self.averaged.trained)
        weights.write(self.path, arrays, {"state": json.dumps(state)})
        self.kept = epoch + 1

    def restore(self, model: keras.Model, data: str) -> int:
        """Restore the state at `path`; returns its epoch. Callbacks follow when training begins.

        Args:
            model: gets the state.
            data: where the data are, for the message.

        Raises:
            UserError: the file is damaged, or of another network, backend, setting or other data.
        """
        arrays, metadata = weights.read(self.path, "--resume")
        try:
            self.state = json.loads(metadata["state"])
            resuming.refuse_other_data(self.state.get("data"), self.digest, data)
            for name, now in self.made_with.items():
                if (before := self.state["made_with"][name]) != now:
                    raise UserError(f"--resume: {name} is {now}, but the run was made with {before}; expected {before}")
            for name, variable in _variables(model).items():
                if arrays[name].shape != tuple(variable.shape):
                    raise ValueError(f"{name} has shape {arrays[name].shape}; expected {tuple(variable.shape)}")
                variable.assign(arrays[name])
            self.best = _of("best", arrays)
            if self.averaged is not None:
                self.averaged.trained = _of("trained", arrays)
            self.kept = int(self.state["epoch"])
            return self.kept
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"--resume: {self.path} is damaged or of another network ({error})") from error

    def on_train_begin(self, logs: Any = None) -> None:
        for name, callback in self.others.items():  # they have just reset themselves
            for key, value in zip(REMEMBERED[name], self.state.get(name, ()), strict=False):
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


def _variables(model: keras.Model) -> dict[str, Any]:
    optimizer = model.optimizer
    if not optimizer.built:  # what wraps one for mixed_float16 would add its variables again, and begin anew
        optimizer.build(model.trainable_variables)
    inner = getattr(optimizer, "inner_optimizer", optimizer).variables
    wrapper = [v for v in optimizer.variables if all(v is not other for other in inner)]
    parts = (("model", model.variables), ("optimizer", inner), ("wrapper", wrapper))
    return {f"{part}.{i}": v for part, variables in parts for i, v in enumerate(variables)}


def _numbered(name: str, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}.{i}": array for i, array in enumerate(arrays)}


def _of(name: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [arrays[f"{name}.{i}"] for i in range(sum(key.startswith(f"{name}.") for key in arrays))]
