"""Reads and writes `history.csv`: one row per epoch, with the same columns in all three packages."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .errors import UserError
from .files import whole_file


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
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        history = [
            Epoch(int(r["epoch"]), *(float(r[c]) if r[c] else None for c in COLUMNS[1:]))  # type: ignore[arg-type]
            for r in rows
        ]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: is not a history.csv with the columns {', '.join(COLUMNS)}") from error
    if epochs is not None and len(history) < epochs:
        raise UserError(
            f"{path}: has {len(history)} epochs; expected {epochs}, the number in the checkpoint of this run"
        )
    return history[:epochs]
