"""The checkpoint, from which a resumed run continues exactly as if it had never stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad.runs import NetworkSpec, UserError, foreign, resuming, weights
from minigrad.runs.foreign import Invalid, parsing

from .callbacks import AveragedWeights
from .options import Options
from .parts import Parts
from .stock import unwrapped

EXPECTED, FAULT = "the checkpoint of this run", "is damaged or of another network"
# The attributes in which Keras's callbacks keep their state.
CALLBACK_STATE = {
    "EarlyStopping": ("best", "wait", "best_epoch"),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "ModelCheckpoint": ("best",),
}


def shared_settings(options: Options, parts: Parts) -> dict[str, Any]:
    """Return the settings that a resumed run must share, as plain values by name."""
    settings = {"backend": keras.backend.backend(), **asdict(options), **parts.settings()}
    del settings["tensorboard"]  # doesn't influence the run
    return json.loads(json.dumps(settings))  # type: ignore[no-any-return] # as in a checkpoint: JSON changes keys


def first_difference(name: str, now: Any, before: Any) -> tuple[str, Any, Any]:
    """Return where two settings of a name first differ, and both values there.

    A part is described by its class and arguments; if the classes differ, they are the values.
    """
    if not isinstance(now, dict) or not isinstance(before, dict):
        return name, *(v.get("class_path", v) if isinstance(v, dict) else v for v in (now, before))
    for key in {**now, **before}:
        if now.get(key) != before.get(key):
            inner = name if key in ("class_path", "init_args") else f"{name}.{key}"
            return first_difference(inner, now.get(key), before.get(key))
    return name, now, before


class ResumableState(keras.callbacks.Callback):
    """Writes the complete state of a run at the end of each epoch to one safetensors file, and restores it.

    The state is every variable of the model and the optimizer, including the
    seeds of dropout, and the state of the callbacks, which Keras's
    BackupAndRestore doesn't save. This must be the last callback, so that it
    saves the state of the others after they have handled the end of the epoch.

    Args:
        path: the checkpoint file.
        others: the callbacks before this one.
        settings: the result of `shared_settings`.
        digest: identifies the data, which a resumed run must share.

    Attributes:
        saved_epochs: the number of epochs in the checkpoint.
    """

    def __init__(self, path: Path, others: list[Any], settings: Mapping[str, Any], digest: str) -> None:
        super().__init__()
        self.path, self.settings, self.digest = path, settings, digest
        self.others = {type(c).__name__: c for c in others if type(c).__name__ in CALLBACK_STATE}
        self.averaged = next((c for c in others if isinstance(c, AveragedWeights)), None)
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
        self.state, arrays = read(self.path)
        resuming.refuse_other_data(self.state.get("data"), self.digest, data)
        for name, now in self.settings.items():
            if (before := self.state["made_with"].get(name)) != now:
                key, value, earlier = first_difference(name, now, before)
                shown = foreign.shown(earlier)
                raise UserError(
                    f"--resume: {key} is {foreign.shown(value)}, but the run was made with {shown}; expected {shown}"
                )
        variables = _variables(model)
        with parsing(f"--resume: {self.path}", EXPECTED, FAULT):
            for name, variable in variables.items():
                _check(name, arrays[name], variable)
            self.best = _list("best", arrays, model.weights)
            trained = _list("trained", arrays, model.trainable_variables)
        for name, variable in variables.items():
            variable.assign(arrays[name])
        if self.averaged is not None:
            self.averaged.trained = trained
        self.saved_epochs = self.state["epoch"]
        return self.saved_epochs

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


def _list(name: str, arrays: dict[str, np.ndarray], variables: Sequence[Any]) -> list[np.ndarray]:
    """Return the arrays that `_numbered` named: none, or one that fits each of the variables.

    Raises:
        Invalid: their number, a shape or a dtype differs.
    """
    count = sum(key.startswith(f"{name}.") for key in arrays)
    if count not in (0, len(variables)):
        raise Invalid(f"it has {count} arrays {name}; expected {len(variables)}")
    found = [arrays[f"{name}.{i}"] for i in range(count)]
    for i, array in enumerate(found):
        _check(f"{name}.{i}", array, variables[i])
    return found


def _check(name: str, array: np.ndarray, variable: Any) -> None:
    """Raise `Invalid` unless an array has the shape and the kind of numbers of a variable, and all are finite."""
    if array.shape != tuple(variable.shape):
        raise Invalid(f"{name} has shape {array.shape}; expected {tuple(variable.shape)}")
    if "float" in keras.backend.standardize_dtype(variable.dtype):
        weights.check_finite(name, array)
    elif array.dtype.kind not in "iub":
        raise Invalid(f"{name} is of dtype {array.dtype}; expected integers")


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a checkpoint, and check the state in its metadata.

    Args:
        path: the file.

    Returns:
        The state, and the arrays by name.

    Raises:
        UserError: the file is damaged.
    """
    arrays, metadata = weights.read(path, "--resume")
    with parsing(f"--resume: {path}", EXPECTED, FAULT):
        state = foreign.parse_json(metadata["state"], infinite=True)
        foreign.whole_number("epoch", state["epoch"])
        if not isinstance(state["made_with"], dict) or not isinstance(state.get("data"), str | None):
            raise Invalid("its settings or the digest of its data are damaged")
        for name, attributes in CALLBACK_STATE.items():
            values = state.get(name)
            if values is None:
                continue
            best, *counts = values
            if len(values) != len(attributes):
                raise Invalid(f"{name} has {len(values)} values; expected {len(attributes)}")
            if best is not None:
                foreign.number(f"the best value in {name}", best, infinite=True)
            for count in counts:
                foreign.whole_number(f"a count in {name}", int(foreign.number(name, count)))
    return state, arrays


def refuse_other_network(path: Path, spec: NetworkSpec) -> None:
    """Check that a checkpoint has at least as many numbers as its network, before the network is built.

    Raises:
        UserError: the file is damaged, or belongs to a smaller network.
    """
    numbers = sum(array.size for name, array in read(path)[1].items() if name.startswith("model."))
    with parsing(f"--resume: {path}", EXPECTED, FAULT):
        if numbers < (needed := sum(math.prod(shape) for shape in spec.shapes().values())):
            raise Invalid(f"it has {numbers:,} numbers; the network has {needed:,}")
