"""`history.csv`: a row an epoch, the same columns from all three packages."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .errors import UserError
from .files import whole_file


@dataclass(frozen=True)
class Epoch:
    """One epoch of training. Losses are mean cross-entropy in nats, accuracies fractions.

    The training figures are means over the epoch's batches, taken while the
    weights move (with dropout, if any); the validation figures are of the
    weights at its end, None without a validation set. `seconds` is the whole
    epoch with its validation.
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
    """Write all epochs; a None is an empty cell."""
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        rows.writeheader()
        rows.writerows({k: "" if v is None else v for k, v in asdict(e).items()} for e in history)


def read(path: Path, epochs: int | None = None) -> list[Epoch]:
    """Read what `write` wrote, to the last bit: all of it, or the first `epochs`.

    Raises:
        UserError: the file is missing, isn't a history, or is shorter.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = [
            Epoch(int(r["epoch"]), *(float(r[c]) if r[c] else None for c in COLUMNS[1:]))  # type: ignore[arg-type]
            for r in rows
        ]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: is not a history.csv with the columns {', '.join(COLUMNS)}") from error
    if epochs is not None and len(found) < epochs:
        raise UserError(f"{path}: has {len(found)} epochs; expected {epochs}, as the checkpoint beside it says")
    return found[:epochs]
