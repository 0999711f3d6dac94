"""The order in which images are flattened: channels first in PyTorch, channels last in Keras."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..case import Case
from .candidate import Candidate, is_left, left, right

NAME = "flatten order"


def flattened(x: np.ndarray, channels_last: bool) -> np.ndarray:
    """Return images (n, c, ...) as (n, features)."""
    return (np.moveaxis(x, 1, -1) if channels_last else x).reshape(len(x), -1)


def permuted(w: np.ndarray, channels: int, to_last: bool = True) -> np.ndarray:
    """Return an array (..., features) whose features are in the other flatten order.

    Args:
        w: the array.
        channels: the number of channels of the image that was flattened.
        to_last: from channels first to channels last; False for the inverse.
    """
    pixels = w.shape[-1] // channels
    parts = (channels, pixels) if to_last else (pixels, channels)
    return w.reshape(*w.shape[:-1], *parts).swapaxes(-1, -2).reshape(w.shape)


def flatten_layer(case: Case) -> Iterator[Candidate]:
    """Two flatten layers have another order."""
    if case.left is None or case.right is None or {case.left.kind, case.right.kind} != {"flatten"}:
        return
    x = case.inputs[0]
    shape = [*x.shape[1:], 1, 1][:3]
    for last in (True, False):
        yield Candidate(
            NAME,
            f"{right(case)} flattens images with the channels {_words(last)} and {left(case)} {_words(not last)}",
            _change(case, shape, "the linear layer behind it"),
            flattened(x, last),
            holds=is_left(case, flattened(x, not last)),
            map=entry(case.following, shape),
        )


def flattened_input(case: Case) -> Iterator[Candidate]:
    """The input of a linear layer is flattened in another order."""
    if case.expected.ndim == 2:
        yield from _orders(case, case.expected, "The input of {} is that of {} flattened with the channels {}")


def permuted_weight(case: Case) -> Iterator[Candidate]:
    """The columns of a linear layer's weight are in another flatten order."""
    if case.expected.ndim == 2 and case.tensor == "weight":
        yield from _orders(
            case,
            case.expected,
            "The columns of the weight of {} are those of {} for images that are flattened with the channels {}",
        )


def _orders(case: Case, array: np.ndarray, sentence: str) -> Iterator[Candidate]:
    directions = (True, False) if case.left_framework == "torch" else (False, True)
    for last in directions if case.left_framework == case.right_framework else directions[:1]:
        for channels in _channels(case, array.shape[-1]):
            shape = _shape(case, channels, array.shape[-1])
            yield Candidate(
                NAME,
                sentence.format(right(case), left(case), _words(last)),
                _change(case, shape, right(case)),
                permuted(array, channels, last),
                map=entry(_names(case), shape),
            )


def _channels(case: Case, features: int) -> Iterator[int]:
    """Yield possible numbers of channels: that of the layer before, then those with square images, then all."""
    divisors = [c for c in range(2, features) if features % c == 0]
    before = case.before.shape[1] if case.before is not None and case.before.ndim > 2 else None
    yield from sorted(divisors, key=lambda c: (c != before, math.isqrt(features // c) ** 2 != features // c, c))


def _shape(case: Case, channels: int, features: int) -> list[int]:
    """Return channels, height and width of the image that was flattened."""
    pixels = features // channels
    if case.before is not None and case.before.ndim == 4 and math.prod(case.before.shape[2:]) == pixels:
        return [channels, *case.before.shape[2:]]
    side = math.isqrt(pixels)
    return [channels, side, side] if side * side == pixels else [channels, pixels, 1]


def _names(case: Case) -> tuple[str, str] | None:
    return (case.left.name, case.right.name) if case.left and case.right else None


def entry(names: tuple[str, str] | None, shape: list[int]) -> str:
    """Return the entry of a map that permutes the columns of a linear layer's weight."""
    rows = f"rows: [{', '.join(map(str, shape))}]"
    return f"- left: {names[0]}\n  right: {names[1]}\n  {rows}\n" if names else rows


def _words(last: bool) -> str:
    return "last" if last else "first"


def _change(case: Case, shape: list[int], layer: str) -> str:
    """Return the entry of the map, and the change of the model."""
    last = "`x.permute(0, 2, 3, 1)` before flattening in PyTorch"
    other = last if "torch" in (case.left_framework, case.right_framework) else "the same data format on both sides"
    return f"Permute the columns of the weight of {layer} with `rows: {shape}` in the map, or use {other}."
