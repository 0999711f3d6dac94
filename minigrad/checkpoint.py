"""`checkpoint.safetensors`: the state from which a run continues exactly as if it had never stopped."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .runs import foreign, weights
from .runs.foreign import Invalid, parsing
from .runs.weights import NetworkSpec, Weights
from .training import TrainingState

NAME = "checkpoint.safetensors"
EXPECTED = "the checkpoint of this run"
FAULT = "is damaged or belongs to another network"
COUNTS = ("steps", "age.")  # the integers among the arrays of an optimizer


def save(path: Path, epoch: int, state: TrainingState, digest: str) -> None:
    """Write a checkpoint, completely or not at all.

    Args:
        path: the file.
        epoch: the number of epochs trained.
        state: the network, the optimizer, the schedule and early stopping.
        digest: the digest of the data.
    """
    arrays = {f"net.{name}": a for name, a in state.net.state_dict().items()}
    arrays |= {f"optimizer.{name}": a for name, a in state.optimizer.state_dict().items()}
    values = {
        "epoch": epoch,
        "learning_rate": state.optimizer.lr,
        "plateau": state.schedule.progress,
        "data": digest,
    }
    if state.best is not None:
        arrays |= {f"best.{name}": a for name, a in state.best.weights.items()}
        values["best"] = [state.best.value, state.best.waited]
    weights.write(path, arrays, {"state": json.dumps(values)})


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint, whose weights fit the network of the run.

    Attributes:
        path: the file.
        epoch: the number of epochs trained.
        digest: the digest of the data; None in a file of an earlier version.
        values: the learning rate, the state of the schedule and that of early stopping.
        arrays: the weights, the state of the optimizer and the best weights, by their names in the file.
    """

    path: Path
    epoch: int
    digest: str | None
    values: dict[str, Any]
    arrays: Weights

    def restore(self, state: TrainingState) -> None:
        """Restore the state of the run.

        Args:
            state: built for the same network; changed in place.

        Raises:
            UserError: the state of the optimizer or of early stopping does not fit.
        """
        with parsing(f"--resume: {self.path}", EXPECTED, FAULT):
            state.net.load_state_dict(_part(self.arrays, "net."))
            state.optimizer.load_state_dict(_part(self.arrays, "optimizer."))
            state.optimizer.lr = self.values["learning_rate"]
            state.schedule.progress = self.values["plateau"]
            if state.best is not None:
                state.best.value, state.best.waited = self.values["best"]
                state.best.weights = _part(self.arrays, "best.")


def read(path: Path, spec: NetworkSpec) -> Checkpoint:
    """Read a checkpoint, and check everything in it that does not depend on the optimizer, before a network is built.

    Args:
        path: the file.
        spec: the network of the run.

    Returns:
        The checkpoint.

    Raises:
        UserError: the file is damaged or belongs to another network.
    """
    arrays, metadata = weights.read(path, "--resume")
    with parsing(f"--resume: {path}", EXPECTED, FAULT):
        values = foreign.parse_json(metadata["state"], infinite=True)
        epoch, digest = foreign.whole_number("epoch", values["epoch"]), values.get("data")
        if not isinstance(digest, str | None):
            raise Invalid(f"data is {foreign.shown(digest, 40)}; expected a digest")
        foreign.number("learning_rate", values["learning_rate"], 0)
        for name in ("plateau", "best"):
            if name in values or name == "plateau":
                loss, count = values[name]
                foreign.number(f"the metric in {name}", loss, infinite=True)
                foreign.whole_number(f"the count in {name}", count)
        weights.check_arrays(_part(arrays, "net."), spec.shapes())
        if "best" in values and math.isfinite(values["best"][0]):
            weights.check_arrays(_part(arrays, "best."), spec.shapes())
        elif _part(arrays, "best."):
            raise Invalid("it contains the weights of a best epoch, but no metric of it")
        for name, array in _part(arrays, "optimizer.").items():
            _check_optimizer(name, array)
    return Checkpoint(path, epoch, digest, values, arrays)


def _check_optimizer(name: str, array: np.ndarray) -> None:
    """Raise `Invalid` unless an array of an optimizer is a count, a switch or contains finite numbers."""
    if array.dtype == np.bool_ and array.shape == ():
        return  # nesterov
    if not name.startswith(COUNTS):
        weights.check_finite(name, array)
    elif array.dtype.kind != "i" or array.shape != () or array < 0:
        raise Invalid(f"{name} is {foreign.shown(array, 40)}; expected a whole number")


def _part(arrays: Weights, name: str) -> Weights:
    return {k.removeprefix(name): a for k, a in arrays.items() if k.startswith(name)}
