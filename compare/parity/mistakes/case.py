"""Two recordings and their first divergence, as the replay of a mistake needs them.

A mistake is a function of a `Case` that yields sentences, each with the
numbers that the mistake would cause, by their keys in a recording. The first
sentence whose numbers are those of the contender's recording is the
explanation. A mistake raises KeyError if it needs an array that is not
recorded, and ValueError if an array has another shape; it is then skipped.
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
from ..replay import reproduces
from ..tolerances import Tolerances

Numbers = Mapping[str, Any]
SOFTMAX = "The logits went through softmax before cross_entropy, which applies it itself."
FLOAT32 = "It was rounded to float32."


@dataclass(frozen=True)
class Case:
    """Two recordings and their first divergence.

    Attributes:
        reference: minigrad's recording.
        other: the contender's recording.
        recipe: the recipe that both trained.
        step: the step of the divergence, counted from 1; 0 is before the first.
        name: the weight, gradient or layer; "loss" for a loss.
        allowed: the tolerance of each tensor.
        gap: the difference.
    """

    reference: Recording
    other: Recording
    recipe: Recipe
    step: int
    name: str
    allowed: Tolerances
    gap: float

    def explain(self, known: Iterable[Mistake]) -> str | None:
        """Return the sentence of the first mistake that reproduces the contender's numbers, or None."""
        for mistake in known:
            with suppress(KeyError, ValueError), np.errstate(all="ignore"):
                for sentence, numbers in mistake(self):
                    if numbers and all(self.matches(key, value) for key, value in numbers.items()):
                        return sentence
        return None

    def matches(self, key: str, value: Any) -> bool:
        """Return whether the contender's recording has this value at this key, apart from rounding."""
        actual, expected = self.other.tensors[key], self.reference.tensors[key]
        return reproduces(np.asarray(value), actual, expected, self.allowed.of(key), self.gap)

    def weights(self, step: int) -> dict[str, np.ndarray]:
        """Return minigrad's weights after a step. Raises KeyError if they are not recorded."""
        weights = self.reference.at("weight", step)
        if not weights:
            raise KeyError(step)
        return weights

    def logits(self, images: np.ndarray, step: int, scale: float | None = None) -> np.ndarray:
        """Return minigrad's logits before a step, in training mode, for images and optionally another input scale."""
        weights = self.weights(step - 1)
        scale = scale or scale_of(images)
        model, classes = replace(self.recipe.model, dropout=0.0), len(weights["output.bias"])
        net = Classifier(model, images.shape[1:], classes, scale, dtype=np.float64)
        net.load_state_dict(weights)
        with no_grad():
            return np.array(net(images))


Mistake = Callable[[Case], Iterator[tuple[str, Numbers]]]


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the cross-entropy, averaged over the batch."""
    return float(ops.cross_entropy(logits, labels))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(ops.softmax(logits, 1))


def times(case: Case, factor: float) -> str:
    """Describe a factor by which the loss or its gradient is multiplied."""
    size = len(case.reference.batch(case.step)[1])
    if np.isclose(factor, size, rtol=1e-5):
        return f"{size} times as large: it is summed over the batch instead of averaged."
    if np.isclose(factor, 1 / size, rtol=1e-5):
        return f"divided by {size}: the mean over the batch is divided by the batch size again."
    return f"scaled by {factor:.4g}."


def ratio(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the factor that brings `expected` closest to `actual`, in the least-squares sense."""
    square = float((expected * expected).sum())
    return float((actual * expected).sum()) / square if actual.shape == expected.shape and square else 1.0


def scale_of(images: np.ndarray) -> float:
    """Return the factor that a network multiplies its input by."""
    return 1 / 255 if images.dtype == np.uint8 else 1.0
