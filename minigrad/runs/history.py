"""Reads and writes `history.csv`: one row per epoch, with the same columns in all three packages."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from . import foreign
from .errors import UserError
from .files import whole_file
from .foreign import Invalid, parsing


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch.

    Training metrics are means over the batches of the epoch, computed during
    training (with dropout, if any). Validation metrics are computed with the
    weights at the end of the epoch and are None without a validation set.

    Attributes:
        epoch: the number of the epoch, from 1.
        train_loss: the mean cross-entropy in nats.
        train_accuracy: from 0 to 1.
        val_loss: the mean cross-entropy in nats.
        val_accuracy: from 0 to 1.
        learning_rate: the learning rate in this epoch.
        seconds: the duration of the epoch, including validation.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float


COLUMNS = [field.name for field in fields(Epoch)]


def write(path: Path, history: list[Epoch]) -> None:
    """Write all epochs; None becomes an empty cell.

    Args:
        path: the file to write or replace.
        history: the epochs.
    """
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in asdict(epoch).items()} for epoch in history)


def read(path: Path, epochs: int | None = None) -> list[Epoch]:
    """Read a file that `write` has written; all floats are restored exactly.

    Args:
        path: the file.
        epochs: the number of epochs to read, or None for all (default).

    Returns:
        The epochs.

    Raises:
        UserError: the file is missing, is not a history, or has fewer than `epochs` epochs.
    """
    with parsing(path, f"the columns {', '.join(COLUMNS)}", "is not a history.csv"):
        rows = csv.reader(io.StringIO(foreign.read_text(path, foreign.MAX_HISTORY), newline=""))
        if next(rows, COLUMNS) != COLUMNS:
            raise Invalid("it has other columns")
        history = [_epoch(row) for row in rows]
        check(history)
    if epochs is not None and len(history) < epochs:
        raise UserError(
            f"{path}: has {len(history)} epochs; expected {epochs}, the number in the checkpoint of this run"
        )
    return history[:epochs]


def _epoch(row: list[str]) -> Epoch:
    number, *cells = row
    values = [float(cell) if cell else None for cell in cells]
    return Epoch(int(number), *values)  # type: ignore[arg-type]


def check(history: Sequence[Epoch]) -> None:
    """Check epochs that are from a file.

    Raises:
        Invalid: a value has another type, is missing, NaN, infinite or out of range, or the epochs are not consecutive.
    """
    for i, epoch in enumerate(history):
        first = history[0].epoch
        foreign.whole_number("epoch", epoch.epoch, 1)
        if epoch.epoch != first + i:
            raise Invalid(f"epoch {epoch.epoch} follows epoch {history[i - 1].epoch}; expected consecutive epochs")
        for name, value in vars(epoch).items():
            if name == "epoch" or (value is None and name.startswith("val_")):
                continue
            foreign.number(f"{name} of epoch {epoch.epoch}", value, 0, 1 if name.endswith("accuracy") else math.inf)
