"""`metrics.json` and `predictions.csv`: what a network answers, measured and listed."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .files import whole_file


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """log(exp(z) / sum(exp(z))) over the last axis, in float64; (n, classes) -> (n, classes)."""
    z = logits.astype(np.float64)
    z -= z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def refuse_divergence(loss: float, epoch: int, learning_rate: float) -> None:
    """Stop a run whose loss is no number any more.

    Raises:
        UserError: the loss is NaN or infinite.
    """
    if not math.isfinite(loss):
        raise UserError(
            f"model.learning_rate: {learning_rate}: the loss became {loss} in epoch {epoch}; expected a smaller rate"
        )


def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Accuracy, mean cross-entropy (nats) and the counts behind them, for (n, classes) logits and (n,) labels."""
    correct = int((logits.argmax(axis=-1) == labels).sum())
    loss = -log_softmax(logits)[np.arange(len(labels)), labels].mean()
    return {"accuracy": correct / len(labels), "loss": float(loss), "correct": correct, "images": len(labels)}


def test_metrics(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """`score` of the test set under the names of `metrics.json`.

    Raises:
        UserError: the answers are no numbers any more.
    """
    if not np.isfinite(logits).all():
        raise UserError("model.learning_rate: the network's answers became NaN or infinite; expected a smaller rate")
    return {f"test_{name}": value for name, value in score(logits, labels).items()}


def percent(metrics: Mapping[str, Any]) -> str:
    """The sentence that ends a run: "test accuracy 92.50 % (9,250 of 10,000)"."""
    return f"test accuracy {metrics['test_accuracy']:.2%} ({metrics['test_correct']:,} of {metrics['test_images']:,})".replace(
        "%", " %"
    )


# An exported network answers so many images, and no logit may be further from the network's own.
CHECKED, LIMIT = 1000, 1e-4


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """How far logits are from those expected, both (n, classes): the largest difference, over the largest logit where
    that is above 1. A NaN is a difference too."""
    return float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))


def write_predictions(path: Path, logits: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Write `index, label, probability_0, ...`: the answer for each row of (n, classes) logits.

    `names`, the files that the images came from, become a last column `file`.
    """
    probabilities = np.exp(log_softmax(logits))
    files = [[name] for name in names] if names is not None else [[]] * len(logits)
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        columns = ["index", "label", *(f"probability_{k}" for k in range(logits.shape[1]))]
        rows.writerow(columns if names is None else [*columns, "file"])
        for index, (label, row, name) in enumerate(zip(logits.argmax(axis=-1), probabilities, files, strict=True)):
            rows.writerow([index, label, *(f"{p:.6g}" for p in row), *name])
