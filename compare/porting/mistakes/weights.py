"""Weights that were copied in another layout, in another order, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...parity.mistakes.layers import OTHER_ORDER, ROTATED, SWAPPED, TRANSPOSED, misreadings
from ..case import Case
from ..model import Framework
from ..result import Explanation
from .candidate import Candidate, first_explanation, left, right
from .flatten import permuted_weight

NAMES = {
    TRANSPOSED: ("transposed weight", "is that of {} transposed"),
    OTHER_ORDER: ("reshaped kernel", "has the numbers of {} in another order: it was reshaped instead of transposed"),
    SWAPPED: ("swapped height and width", "is that of {} with height and width swapped"),
    ROTATED: ("rotated kernel", "is that of {} rotated by 180 degrees"),
}


def misread(case: Case) -> Iterator[Candidate]:
    """The weight is transposed, reshaped instead of transposed, or flipped."""
    w = case.expected
    if w.ndim < 2:
        return
    for sentence, array in misreadings(w):
        name, phrase = NAMES[sentence]
        yield _candidate(case, name, phrase.format(left(case)), _copy(case, w.ndim), array)
    if w.ndim > 2 and w.shape[0] == w.shape[1]:
        swapped = "is that of {} with input and output channels swapped"
        yield _candidate(case, "transposed weight", swapped.format(left(case)), _copy(case, w.ndim), w.swapaxes(0, 1))


def swapped_channels(case: Case) -> Iterator[Candidate]:
    """The first kernel expects BGR instead of RGB."""
    if case.expected.ndim == 4 and case.expected.shape[1] == 3:
        yield _candidate(
            case,
            "channels swapped",
            f"is that of {left(case)} with its input channels in reverse order, for BGR instead of RGB",
            "Reverse its input channels, or give both models images in the same order.",
            case.expected[:, ::-1],
        )


def other_role(case: Case) -> Iterator[Candidate]:
    """The weight has the numbers of another weight of the layer."""
    for role, array in case.left_weights.items():
        if role != case.tensor:
            difference = f"is the {role} of {left(case)}"
            yield _candidate(case, "swapped weights", difference, "Copy the weights in the right order.", array)


def not_copied(case: Case) -> Iterator[Candidate]:
    """The weight has its initial value, or was rounded."""
    w = case.expected
    for value in (0.0, 1.0):
        difference = f"is {value:g} everywhere, which is the usual initial value"
        yield _candidate(case, "weight not copied", difference, f"Copy it from {left(case)}.", np.full_like(w, value))
    for dtype in (np.float32, np.float16):
        rounded = w.astype(dtype).astype(np.float64)
        difference = f"is that of {left(case)} rounded to {np.dtype(dtype).name}"
        yield _candidate(case, "rounded weight", difference, f"Copy it in the dtype of {left(case)}.", rounded)


def weight_of_layer(case: Case) -> Explanation | None:
    """Explain the output of a layer by the first of its weights that differs by a known mistake."""
    for role in case.left_weights.keys() & case.right_weights.keys():
        expected, actual = case.left_weights[role], case.right_weights[role]
        of_weight = replace(case, stage="weights", tensor=role, expected=expected, actual=actual)
        if of_weight.gap > 0 and (explanation := first_explanation(of_weight, WEIGHTS)):
            return explanation
    return None


WEIGHTS = (permuted_weight, misread, swapped_channels, other_role, not_copied)


def _candidate(case: Case, name: str, difference: str, change: str, value: np.ndarray) -> Candidate:
    return Candidate(name, f"The {case.tensor} of {right(case)} {difference}", change, value)


def _copy(case: Case, dimensions: int) -> str:
    """Return how to copy a weight from the left to the right framework."""
    frameworks: tuple[Framework, Framework] = (case.left_framework, case.right_framework)
    if frameworks[0] == frameworks[1]:
        return "Copy it unchanged."
    if dimensions == 2:
        return f"Copy it with `{'kernel = weight.T' if frameworks[1] == 'keras' else 'weight = kernel.T'}`."
    to_keras, to_torch = ("(2, 3, 1, 0)", "(3, 2, 0, 1)") if dimensions == 4 else ("(2, 1, 0)", "(2, 1, 0)")
    if frameworks[1] == "keras":
        return f"Copy it with `kernel = weight.transpose{to_keras}`."
    return f"Copy it with `weight = kernel.transpose{to_torch}`."
