"""Two recordings that part at one place, and what a replay of a mistake needs of them.

A mistake is a function that yields sentences, each with the numbers that it
would have led to, by their keys in a recording. The first whose numbers are
the ones that were seen is the explanation. What a recording doesn't hold is a
KeyError, what it holds in another shape a ValueError; the mistake is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.classifier import Classifier
from minigrad.recipes import Recipe
from minigrad.tape import no_grad

from ..recording import Recording

Numbers = Mapping[str, Any]
SOFTMAX = "The logits went through softmax before cross_entropy, which applies it itself."
FLOAT32 = "It went through float32."
NEAR = 0.01  # of the gap: closer than that, a replay explains it


@dataclass(frozen=True)
class Case:
    """Two recordings, and where they part: `name` at `step`, by `gap`."""

    reference: Recording
    other: Recording
    recipe: Recipe
    step: int
    name: str
    limit: float
    gap: float

    def explain(self, known: Iterable[Mistake]) -> str | None:
        """The sentence of the first mistake that leads to what was seen."""
        for mistake in known:
            with suppress(KeyError, ValueError), np.errstate(all="ignore"):
                for sentence, numbers in mistake(self):
                    if numbers and all(self.saw(key, value) for key, value in numbers.items()):
                        return sentence
        return None

    def saw(self, key: str, value: Any) -> bool:
        """Whether the other recording has this value there, but for rounding."""
        kind, *rest = key.split(" ")
        found = self.other.losses[int(rest[0]) - 1] if kind == "loss" else self.other.arrays[key]
        if np.shape(value) != np.shape(found):
            return False
        near = min(self.limit, NEAR * self.gap) * max(1.0, float(np.abs(value).max(initial=0)))
        return float(np.abs(value - found).max(initial=0)) <= near

    def weights(self, step: int) -> dict[str, np.ndarray]:
        """minigrad's after a step."""
        found = self.reference.at("weight", step)
        if not found:
            raise KeyError(step)
        return found

    def logits(self, images: np.ndarray, step: int, scale: float | None = None) -> np.ndarray:
        """minigrad's before a step, in training."""
        weights = self.weights(step - 1)
        scale = scale or scale_of(images)
        model, classes = replace(self.recipe.model, dropout=0.0), len(weights["output.bias"])
        net = Classifier(model, images.shape[1:], classes, scale, dtype=np.float64)
        net.load_state_dict(weights)
        with no_grad():
            return np.array(net(images))


Mistake = Callable[[Case], Iterator[tuple[str, Numbers]]]


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean over the batch."""
    return float(ops.cross_entropy(logits, labels))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(ops.softmax(logits, 1))


def times(case: Case, factor: float) -> str:
    """A factor of the loss, and what it means."""
    size = len(case.reference.batch(case.step)[1])
    if np.isclose(factor, size, rtol=1e-5):
        return f"{size} times as large: summed over the batch where the mean is meant."
    if np.isclose(factor, 1 / size, rtol=1e-5):
        return f"divided by {size}: the mean over the batch is divided by its size again."
    return f"scaled by {factor:.4g}."


def ratio(found: np.ndarray, right: np.ndarray) -> float:
    """The factor that takes `right` nearest to `found`."""
    square = float((right * right).sum())
    return float((found * right).sum()) / square if found.shape == right.shape and square else 1.0


def scale_of(images: np.ndarray) -> float:
    """What a network multiplies its input by."""
    return 1 / 255 if images.dtype == np.uint8 else 1.0
