"""`checkpoint.safetensors`: all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .classifier import Classifier
from .optim import Optimizer
from .runs import UserError, weights
from .training import BestEpoch, Schedule

NAME = "checkpoint.safetensors"


def save(
    path: Path,
    epoch: int,
    net: Classifier,
    optimizer: Optimizer,
    schedule: Schedule,
    best: BestEpoch | None,
    digest: str,
) -> None:
    """Write the state at the end of `epoch` (counted from 1), whole or not at all; `digest` names the data."""
    arrays = {f"net.{name}": a for name, a in net.state_dict().items()}
    arrays |= {f"optimizer.{name}": a for name, a in optimizer.state_dict().items()}
    state = {
        "epoch": epoch,
        "learning_rate": optimizer.lr,
        "plateau": [schedule.plateau.best, schedule.plateau.bad_epochs],
        "data": digest,
    }
    if best is not None:
        arrays |= {f"best.{name}": a for name, a in best.weights.items()}
        state["best"] = [best.loss, best.waited]
    weights.write(path, arrays, {"state": json.dumps(state)})


def load(
    path: Path, net: Classifier, optimizer: Optimizer, schedule: Schedule, best: BestEpoch | None
) -> tuple[int, str | None]:
    """Restore the state at `path`.

    Returns:
        Its epoch, and the digest of the data; None in a file of an earlier version.

    Raises:
        UserError: the file is damaged or of another network.
    """
    arrays, metadata = weights.read(path, "--resume")

    def part(name: str) -> dict[str, np.ndarray]:
        return {k.removeprefix(name): a for k, a in arrays.items() if k.startswith(name)}

    try:
        state = json.loads(metadata["state"])
        net.load_state_dict(part("net."))
        optimizer.load_state_dict(part("optimizer."))
        optimizer.lr = state["learning_rate"]
        schedule.plateau.best, schedule.plateau.bad_epochs = state["plateau"]
        if best is not None:
            best.loss, best.waited = state["best"]
            best.weights = part("best.")
        return int(state["epoch"]), state.get("data")
    except (KeyError, ValueError) as error:
        raise UserError(f"--resume: {path} is damaged or of another network ({error})") from error
