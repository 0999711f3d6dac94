"""Decides whether replayed numbers explain a difference."""

from __future__ import annotations

import numpy as np

NEAR = 0.01  # a replay explains the gap if it comes closer than this fraction of the gap


def reproduces(value: np.ndarray, actual: np.ndarray, expected: np.ndarray, tolerance: float, gap: float) -> bool:
    """Return whether a replayed mistake yields the actual numbers, apart from rounding.

    Args:
        value: the numbers that the mistake would cause.
        actual: the numbers that differ.
        expected: the correct numbers.
        tolerance: the largest difference that rounding causes.
        gap: the largest difference between `actual` and `expected`.
    """
    if np.shape(value) != np.shape(actual):
        return False
    largest, usual = (float(np.abs(array).max(initial=0)) for array in (value, expected))
    # Rounding is larger where the mistake enlarges the numbers.
    factor = max(1.0, largest / usual) if usual else 1.0
    return float(np.abs(value - actual).max(initial=0)) <= min(tolerance, NEAR * gap) * factor
