"""`checkpoint.safetensors`: the state from which a run continues exactly as if it had never stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .runs import UserError, weights
from .training import TrainingState

NAME = "checkpoint.safetensors"


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
        values["best"] = [state.best.loss, state.best.waited]
    weights.write(path, arrays, {"state": json.dumps(values)})


def load(path: Path, state: TrainingState) -> tuple[int, str | None]:
    """Restore `state` from a checkpoint.

    Args:
        path: the file.
        state: built for the same network; changed in place.

    Returns:
        The number of epochs trained, and the digest of the data; None in a file of an earlier version.

    Raises:
        UserError: the file is damaged or belongs to another network.
    """
    arrays, metadata = weights.read(path, "--resume")

    def part(name: str) -> dict[str, np.ndarray]:
        return {k.removeprefix(name): a for k, a in arrays.items() if k.startswith(name)}

    try:
        values = json.loads(metadata["state"])
        state.net.load_state_dict(part("net."))
        state.optimizer.load_state_dict(part("optimizer."))
        state.optimizer.lr = values["learning_rate"]
        state.schedule.progress = values["plateau"]
        if state.best is not None:
            state.best.loss, state.best.waited = values["best"]
            state.best.weights = part("best.")
        return int(values["epoch"]), values.get("data")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"--resume: {path} is damaged or belongs to another network ({error})") from error
