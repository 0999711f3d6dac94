"""Operations that move elements and change none: their derivatives move gradients back."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tape import Array, operation


@operation
def reshape(a: Array, shape: int | tuple[int, ...]):
    """y = a in another shape.   dL/da = g in a's shape."""
    return np.reshape(a, shape), lambda g: g.reshape(a.shape)


@operation
def transpose(a: Array, axes: tuple[int, ...] | None = None):
    """y = a with its axes permuted (reversed without `axes`).   dL/da = g permuted back."""
    back = None if axes is None else np.argsort([i % a.ndim for i in axes])
    return np.transpose(a, axes), lambda g: g.transpose(back)


@operation
def getitem(a: Array, index: Any):
    """y = a[index].   dL/da = g added at each place that was read, as often as it was read."""

    def back(g: np.ndarray) -> np.ndarray:
        out = np.zeros_like(a, dtype=g.dtype)
        parts = index if isinstance(index, tuple) else (index,)
        if all(part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)) for part in parts):
            out[index] = g  # a view reads no element twice
        else:
            np.add.at(out, index, g)
        return out

    return a[index], back
