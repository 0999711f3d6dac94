"""A mistake that may explain a difference, with the numbers that it would cause."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...parity.replay import reproduces
from ..case import Case
from ..result import Explanation


@dataclass(frozen=True)
class Candidate:
    """A mistake that may explain a difference.

    Attributes:
        mistake: its short name.
        difference: what differs, without the numbers, as the first part of a sentence.
        change: the change that makes both sides equal, as a sentence.
        value: the tensor of the side with the mistake, or a function that computes it, which raises KeyError or ValueError
            if the mistake is impossible.
        others: computes more arrays that the mistake would cause, by their key in `Case.other`.
        holds: a further condition, for example that the remedy yields the other side's tensor.
        map: the entry of a map that makes both equal, in YAML.
        on_left: whether the left side has the mistake; otherwise it is the right one.
    """

    mistake: str
    difference: str
    change: str
    value: Any
    others: Callable[[], Mapping[str, Any]] = field(default=dict)
    holds: bool = True
    map: str = ""
    on_left: bool = False

    def explains(self, case: Case) -> bool:
        """Return whether the mistake reproduces the numbers of its side."""
        with suppress(KeyError, ValueError, IndexError, ZeroDivisionError), np.errstate(all="ignore"):
            value = np.asarray(self.value() if callable(self.value) else self.value)
            if not (is_left(case, value) if self.on_left else case.matches(value)) or not self.holds:
                return False
            return all(_reproduced(case, key, np.asarray(value)) for key, value in self.others().items())
        return False


Mistake = Callable[[Case], Iterator[Candidate]]


def first_explanation(case: Case, mistakes: Iterable[Mistake]) -> Explanation | None:
    """Return the first mistake that reproduces the numbers of the right side, or None."""
    for mistake in mistakes:
        with suppress(KeyError, ValueError, IndexError, ZeroDivisionError), np.errstate(all="ignore"):
            for candidate in mistake(case):
                if candidate.explains(case):
                    first, second = (layer.name if layer else "" for layer in (case.left, case.right))
                    difference = candidate.difference[0].upper() + candidate.difference[1:]
                    sentence = f"{difference}; {size(case)}. {candidate.change}"
                    return Explanation(first, second, candidate.mistake, sentence, candidate.map)
    return None


def size(case: Case) -> str:
    """Return the size of the difference in words."""
    first, _, rest = case.tensor.partition(" ")
    plurals = {"loss": "losses", "output": "outputs", "input": "inputs", "weight": "weights", "gradient": "gradients"}
    plural = f"{plurals.get(first, f'values of {first}')} {rest}".strip()
    if case.expected.shape != case.actual.shape:
        return f"the {plural} have the shapes {case.expected.shape} and {case.actual.shape}"
    return f"the {plural} differ by up to {case.gap:.3g}"


def left(case: Case) -> str:
    """Return how a sentence calls the left layer, or the left model."""
    return f"`{case.left.name}` (left)" if case.left else "the left model"


def right(case: Case) -> str:
    """Return how a sentence calls the right layer, or the right model."""
    return f"`{case.right.name}` (right)" if case.right else "the right model"


def is_left(case: Case, value: Any) -> bool:
    """Return whether these numbers are the left tensor, apart from rounding."""
    return reproduces(np.asarray(value), case.expected, case.actual, case.tolerance, case.gap)


def ratio(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the factor that brings `expected` closest to `actual`, in the least-squares sense."""
    square = float((expected * expected).sum())
    return float((actual * expected).sum()) / square if square else 1.0


def _reproduced(case: Case, key: str, value: np.ndarray) -> bool:
    """Return whether the right training has this array, to the precision of the case."""
    actual, expected = case.other[key], case.reference[key]
    if actual.shape != value.shape:
        return False
    scale = max(1.0, float(np.abs(actual).max(initial=0)) / max(float(np.abs(case.actual).max(initial=0)), 1e-300))
    gap = float(np.abs(actual - expected).max(initial=0))
    tolerance = case.tolerance * scale
    if gap <= tolerance:  # equal on both sides, so that the mistake must leave it as it is
        return float(np.abs(value - actual).max(initial=0)) <= 2 * tolerance
    return reproduces(value, actual, expected, tolerance, gap)
