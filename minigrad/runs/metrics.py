"""Metrics of a network's outputs, and `predictions.csv`."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .files import spreadsheet_safe, whole_file


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log(exp(z) / sum(exp(z))) over the last axis, (n, classes) -> (n, classes), computed in float64."""
    z = logits.astype(np.float64)
    z -= z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def check_loss(
    loss: float, epoch: int, learning_rate: float, weights: str | None = None, *, optimizer: str = ""
) -> None:
    """Check that training has not diverged.

    Args:
        loss: the loss of the epoch, or of one of its steps.
        epoch: the number of the epoch, from 1.
        learning_rate: the learning rate of the recipe, for the message.
        weights: the file that training started from, if any, for the message.
        optimizer: the optimizer that was used instead of the recipe's, which has its own learning rate. Default none.

    Raises:
        UserError: the loss is NaN or infinite.
    """
    if not math.isfinite(loss):
        start = f", or other weights than {weights} to start from" if weights is not None and epoch == 1 else ""
        if optimizer:
            raise UserError(
                f"optimizer: {optimizer}: the loss became {loss} in epoch {epoch}; expected one with a smaller rate{start}"
            )
        raise UserError(
            f"model.learning_rate: {learning_rate}: the loss became {loss} in epoch {epoch}; expected a smaller rate{start}"
            " (an example: python -m minigrad.study break learning_rate)"
        )


def check_outputs(
    logits: np.ndarray,
    data: str,
    *,
    weights: object = None,
    learning_rate: float | None = None,
    optimizer: str = "",
) -> None:
    """Check that a network's outputs are finite.

    Args:
        logits: the outputs, (n, classes).
        data: the file that the images are from.
        weights: the file that the weights are from; None if the network was initialized at random.
        learning_rate: the learning rate of the training that has just ended; None if the network was not trained by this command.
        optimizer: the optimizer that was used instead of the recipe's, which has its own learning rate. Default none.

    Raises:
        UserError: an output is NaN or infinite. The message names the probable cause: the learning rate, else the
            weights, else the images.
    """
    if np.isfinite(logits).all():
        return
    outputs = f"the network's outputs for {data} are NaN or infinite"
    if optimizer:
        raise UserError(f"optimizer: {optimizer}: {outputs}; expected one with a smaller rate")
    if learning_rate is not None:
        raise UserError(f"model.learning_rate: {learning_rate}: {outputs}; expected a smaller rate")
    if weights is not None:
        raise UserError(f"model.weights: {weights}: {outputs}; expected weights and images that give finite outputs")
    raise UserError(f"data.path: {outputs}; expected images that give finite outputs")


def score(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return accuracy, mean cross-entropy in nats, and the counts, of (n, classes) logits and (n,) labels."""
    correct = int((logits.argmax(axis=-1) == labels).sum())
    loss = -log_softmax(logits)[np.arange(len(labels)), labels].mean()
    return {"accuracy": correct / len(labels), "loss": float(loss), "correct": correct, "images": len(labels)}


def test_metrics(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return `score` of the test set under the names of `metrics.json`."""
    return {f"test_{name}": value for name, value in score(logits, labels).items()}


def accuracy_by_class(logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, float | None]:
    """Return the accuracy of each class by its name, or None for a class without images.

    Args:
        logits: the outputs, (n, classes).
        labels: (n,) integers.
        class_names: the name of each class.
    """
    images = np.bincount(labels, minlength=len(class_names)).tolist()
    correct = np.bincount(labels[logits.argmax(axis=-1) == labels], minlength=len(class_names)).tolist()
    return {name: c / n if n else None for name, c, n in zip(class_names, correct, images, strict=True)}


def test_accuracy_text(metrics: Mapping[str, Any]) -> str:
    """Return the test accuracy as text: "test accuracy 92.50 % (9,250 of 10,000)"."""
    return f"test accuracy {metrics['test_accuracy']:.2%} ({metrics['test_correct']:,} of {metrics['test_images']:,})".replace(
        "%", " %"
    )


def write_kaggle(path: Path, logits: np.ndarray, class_names: Sequence[str] = ()) -> None:
    """Write the columns `ImageId, Label`, one row per image, with image numbers from 1, as Kaggle's Digit Recognizer expects.

    Args:
        path: the file to write.
        logits: the network's outputs, (n, classes).
        class_names: the name of each class, which is written as the label; empty writes numbers.
    """
    labels = [spreadsheet_safe(class_names[k]) if class_names else k for k in logits.argmax(axis=-1).tolist()]
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["ImageId", "Label"])
        rows.writerows(enumerate(labels, start=1))


def write_predictions(
    path: Path, logits: np.ndarray, names: Sequence[str] | None = None, class_names: Sequence[str] = ()
) -> None:
    """Write the columns `index, label, probability_0, ...`, one row per image.

    Args:
        path: the file to write.
        logits: the network's outputs, (n, classes).
        names: the files that the images are from; they become a last column `file`. Names of files and classes are
            written as `spreadsheet_safe` returns them.
        class_names: the name of each class, which is written as the label and in the header; empty writes numbers.
    """
    probabilities = np.exp(log_softmax(logits))
    files = [[spreadsheet_safe(name)] for name in names] if names is not None else [[]] * len(logits)
    classes: Sequence[object] = class_names or range(logits.shape[1])
    labels = [spreadsheet_safe(str(name)) for name in classes]
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        columns = ["index", "label", *(spreadsheet_safe(f"probability_{name}") for name in classes)]
        rows.writerow(columns if names is None else [*columns, "file"])
        for index, (label, row, name) in enumerate(zip(logits.argmax(axis=-1), probabilities, files, strict=True)):
            rows.writerow([index, labels[label], *(f"{p:.6g}" for p in row), *name])
