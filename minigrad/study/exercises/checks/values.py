"""Compares numbers and arrays, and shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SMALL = 24  # elements of an array that is shown as a whole


@dataclass(frozen=True)
class Difference:
    """How a result differs.

    Attributes:
        sentence: the end of a sentence that begins with the name of the result.
        values: (name, text) pairs of the whole arrays.
    """

    sentence: str
    values: list[tuple[str, str]]


def difference(actual: Any, expected: Any, rtol: float, atol: float) -> Difference | None:
    """Compare a result with the expected one; None if they agree."""
    if expected is None:
        return None if actual is None else Difference(f"is {brief(actual)}; expected None.", [])
    if actual is ...:
        return Difference("is not filled in yet.", [])
    array = _as_array(actual)
    if array is None:
        kind = (
            "a list"
            if isinstance(actual, (list, tuple))
            else "None"
            if actual is None
            else f"a {type(actual).__name__}"
        )
        return Difference(f"is {kind}; expected {'a number' if np.ndim(expected) == 0 else 'an array'}.", [])
    expected = np.asarray(expected)
    if expected.dtype.kind not in "biuf":  # of a mistake
        return Difference("is a number.", [])
    arrays = [("yours", show(actual)), ("expected", show(expected))] if expected.ndim or array.ndim else []
    if array.shape != expected.shape:
        return Difference(f"has the shape {array.shape}; expected {expected.shape}.", arrays)
    wrong = ~np.isclose(array, expected, rtol, atol, equal_nan=True)
    if not wrong.any():
        return None
    index = _worst(array, expected, wrong)
    a, e = _two(array[index], expected[index])
    position = f" at {list(index)}" if index else ""
    return Difference(f"is {a}{position}; expected {e}.", arrays if array.size <= SMALL else [])


def _as_array(value: Any) -> np.ndarray | None:
    """Return a number or an array as an array of real numbers; None for anything else."""
    if not isinstance(value, (int, float, np.ndarray, np.generic)):
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in "biuf" else None


def _worst(actual: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> tuple[int, ...]:
    """Return the position at which the arrays differ most."""
    with np.errstate(all="ignore"):
        gaps = np.where(wrong, np.nan_to_num(np.abs(actual - expected), nan=np.inf), -1)
    return tuple(int(i) for i in np.unravel_index(int(gaps.argmax()), gaps.shape))


def _two(actual: Any, expected: Any) -> tuple[str, str]:
    """Return two numbers with as many digits as are needed to tell them apart."""
    texts = ("", "")
    for digits in (6, 9, 12, 17):
        texts = f"{float(actual):.{digits}g}", f"{float(expected):.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts


def brief(value: Any) -> str:
    """Return a value in one short line."""
    text = " ".join(show(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def show(value: Any) -> str:
    """Return a value as it is listed below a failure."""
    if isinstance(value, list) and value:
        return "\n".join(show(item) for item in value)
    if isinstance(value, np.ndarray) and value.ndim:
        if value.size > SMALL:
            return f"an array of shape {value.shape}"
        return np.array2string(value, precision=4, suppress_small=True, max_line_width=70)
    if isinstance(value, (float, np.floating, np.ndarray)):
        return f"{float(value):.6g}"
    return str(value)
