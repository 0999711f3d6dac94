"""What a trained network answers: logits, metrics.json with two pictures, predictions.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad.datasets import Split
from minigrad.runs import folder, metrics, pictures, write_json

from .model import count_parameters


def logits(net: keras.Model, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
    """The network's answers, (n, classes) float32."""
    return np.asarray(net.predict(images, batch_size=batch_size, verbose=0))


def test(
    net: keras.Model,
    split: Split,
    out: Path,
    data: str,
    source: str | None,
    learning_rate: float | None,
    **more: Any,
) -> None:
    """Write metrics.json, confusion.png and mistakes.png, and print the sentence.

    Raises:
        UserError: the network's answers are NaN or infinite.
    """
    answers = logits(net, split.images)
    metrics.check_outputs(answers, data, weights=source, learning_rate=learning_rate)
    tested = metrics.test_metrics(answers, split.labels)
    pictures.draw(out, split.images, split.labels, answers)
    write_json(out / folder.METRICS, {**tested, "parameters": count_parameters(net), **more})
    print(f"{metrics.percent(tested)}, in {out}")


def predict(
    net: keras.Model, images: np.ndarray, names: list[str] | None, out: Path, data: str, source: str | None
) -> None:
    """Write predictions.csv.

    Raises:
        UserError: the network's answers are NaN or infinite.
    """
    answers = logits(net, images)
    metrics.check_outputs(answers, data, weights=source)
    metrics.write_predictions(out / folder.PREDICTIONS, answers, names)
    print(f"{len(answers):,} predictions in {out / folder.PREDICTIONS}")
