"""Reductions and other operations along axes, with NumPy's names and arguments.

`axis` is an int, a tuple of ints, or None for all axes. With `keepdims`,
reduced axes are kept with size 1. y is the value and g = dL/dy.
"""

from __future__ import annotations

import builtins
import math
import numbers
import operator
from typing import Any

import numpy as np

from ..operation import Array, operation

__all__ = [
    "cumsum", "log_softmax", "logsumexp", "max", "mean", "min", "norm", "prod", "softmax", "std", "sum", "var",
]  # fmt: skip

Axis = int | tuple[int, ...] | None


def _spread(g: np.ndarray, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> np.ndarray:
    """Broadcast the gradient of a reduced value back to `shape`; returns a read-only view."""
    if axis is not None and not keepdims:
        g = np.expand_dims(g, axis)
    return np.broadcast_to(g, shape)


def _axis(a: np.ndarray, axis: Any) -> Axis:
    """`axis` as an int, a tuple or None. A number has no axes, but axis 0 and -1 mean all of it, as in torch.

    Raises:
        ValueError: `axis` is something else.
    """
    if axis is None:
        return None
    try:
        axis = tuple(map(operator.index, axis)) if isinstance(axis, (tuple, list)) else operator.index(axis)
    except TypeError:
        raise ValueError(f"axis {axis!r}; expected an int, a tuple of ints or None") from None
    return None if a.ndim == 0 and axis in (0, -1, (0,), (-1,)) else axis


def _count(a: np.ndarray, axis: Axis) -> int:
    """The number of elements that are reduced to one."""
    if axis is None:
        return a.size
    return math.prod(a.shape[i] for i in (axis if isinstance(axis, tuple) else (axis,)))


def _drop(y: np.ndarray, axis: Axis, keepdims: bool) -> np.ndarray:
    """`y`, which was reduced with keepdims=True, without the reduced axes unless `keepdims`."""
    return y if keepdims else np.squeeze(y, axis)


def _scale(size: np.ndarray, axis: Axis) -> np.ndarray:
    """The largest element of `size` >= 0. Powers of size / scale don't overflow; 1 where it is 0 or infinite."""
    top = np.max(size, axis, keepdims=True, initial=0)
    return np.where((top == 0) | np.isinf(top), 1, top)


def _deviation(a: np.ndarray, axis: Axis) -> np.ndarray:
    """a - mean a. The mean of the differences is subtracted too, because it is the rounding error of the first mean."""
    d = a - np.mean(a, axis, keepdims=True)
    return d - np.mean(d, axis, keepdims=True)


@operation
def sum(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = sum of a.   dL/da = g, broadcast to a's shape."""
    axis, shape = _axis(a, axis), a.shape
    return np.sum(a, axis, keepdims=keepdims), lambda g: _spread(g, shape, axis, keepdims)


@operation
def mean(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = (sum of a) / n.   dL/da = g / n, broadcast to a's shape."""
    axis = _axis(a, axis)
    y = np.mean(a, axis, keepdims=keepdims)
    n, shape = _count(a, axis), a.shape
    return y, lambda g: _spread(g / n, shape, axis, keepdims)


@operation
def var(a: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False):
    """y = sum of (a - mean a)^2 / (n - ddof).   dL/da = 2 g (a - mean a) / (n - ddof); the term through the mean is 0."""
    axis = _axis(a, axis)
    y = np.var(a, axis, ddof=ddof, keepdims=keepdims)
    n = builtins.max(_count(a, axis) - ddof, 0)
    return y, lambda g: _spread(2 * g / n, a.shape, axis, keepdims) * _deviation(a, axis)


@operation
def std(a: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False):
    """y = var(a)^(1/2).   dL/da = g (a - mean a) / ((n - ddof) y), and 0 where y = 0."""
    axis = _axis(a, axis)
    d = _deviation(a, axis)
    n = builtins.max(_count(a, axis) - ddof, 0)
    top = _scale(np.abs(d), axis)
    d /= top
    y = np.sqrt(np.sum(d * d, axis, keepdims=True) / n)
    return (
        _drop(top * y, axis, keepdims),
        lambda g: _spread(g, d.shape, axis, keepdims) * (d / np.where(y == 0, np.inf, y) / n),
    )


@operation
def prod(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = product of a.   dL/da = g times the product of the elements before and of those after, which may be 0."""
    axis = _axis(a, axis)

    def back(g: np.ndarray) -> np.ndarray:
        axes = range(a.ndim) if axis is None else np.atleast_1d(np.array(axis, int))
        last = range(-len(axes), 0)
        moved = np.moveaxis(a, [*axes], [*last])
        n = _count(a, axis)
        rows = moved.reshape(a.size // builtins.max(n, 1), n)
        others = np.ones(rows.shape, a.dtype)
        np.cumprod(rows[:, :-1], axis=1, out=others[:, 1:])
        others[:, :-1] *= np.cumprod(rows[:, :0:-1], axis=1)[:, ::-1]
        return _spread(g, a.shape, axis, keepdims) * np.moveaxis(others.reshape(moved.shape), [*last], [*axes])

    return np.prod(a, axis, keepdims=keepdims), back


def _shared(g: np.ndarray, a: np.ndarray, y: np.ndarray, axis: Axis, keepdims: bool) -> np.ndarray:
    """g, divided equally among the elements of `a` that equal the extreme y, as in torch.amax."""
    equal = a == y
    return _spread(g, a.shape, axis, keepdims) * equal / np.sum(equal, axis, dtype=g.dtype, keepdims=True)


@operation
def max(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = the maximum of a.   dL/da = g where a = y, divided among ties, else 0."""
    axis = _axis(a, axis)
    y = np.max(a, axis, keepdims=True)
    return _drop(y, axis, keepdims), lambda g: _shared(g, a, y, axis, keepdims)


@operation
def min(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = the minimum of a.   dL/da = g where a = y, divided among ties, else 0."""
    axis = _axis(a, axis)
    y = np.min(a, axis, keepdims=True)
    return _drop(y, axis, keepdims), lambda g: _shared(g, a, y, axis, keepdims)


def _highest(a: np.ndarray, axis: Axis) -> np.ndarray:
    """The maximum, which is subtracted before exponentiating; 0 where it is infinite, since inf - inf is NaN."""
    m = np.max(a, axis, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(m), m, 0)


@operation
def logsumexp(a: Array, axis: Axis = -1, keepdims: bool = False):
    """y = m + ln sum e^(a-m), m = max a, so that no exponential overflows.   dL/da = g softmax(a)."""
    axis = _axis(a, axis)
    m = _highest(a, axis)
    e = np.exp(a - m)
    s = np.sum(e, axis, keepdims=True)
    with np.errstate(divide="ignore"):  # the sum of no terms is 0, and ln 0 = -inf is its correct result
        y = m + np.log(s)
    return _drop(y, axis, keepdims), lambda g: _spread(g, e.shape, axis, keepdims) * (e / s)


@operation
def softmax(a: Array, axis: Axis = -1):
    """y = e^a / sum e^a.   dL/da = y (g - sum(g y)), the product of g and the Jacobian diag(y) - y y^T."""
    axis = _axis(a, axis)
    e = np.exp(a - np.max(a, axis, keepdims=True, initial=-np.inf))
    y = e / np.sum(e, axis, keepdims=True)
    return y, lambda g: y * (g - np.sum(g * y, axis, keepdims=True))


@operation
def log_softmax(a: Array, axis: Axis = -1):
    """y = a - logsumexp(a).   dL/da = g - softmax(a) sum g."""
    axis = _axis(a, axis)
    z = a - np.max(a, axis, keepdims=True, initial=-np.inf)
    with np.errstate(divide="ignore"):  # as in logsumexp
        y = z - np.log(np.sum(np.exp(z), axis, keepdims=True))
    return y, lambda g: g - np.exp(y) * np.sum(g, axis, keepdims=True)


@operation
def norm(a: Array, ord: float = 2, axis: Axis = None, keepdims: bool = False):
    """y = (sum of |a|^p)^(1/p), p = ord; max |a| for p = inf.   dL/da = g sign(a) (|a| / y)^(p-1), 0 where y = 0.

    This is always a vector norm: several axes are treated as one vector. For
    p = inf, g is divided among the elements that equal the maximum.

    Raises:
        ValueError: ord is not positive.
    """
    axis = _axis(a, axis)
    if not (isinstance(ord, numbers.Real) and ord > 0):
        raise ValueError(f"ord = {ord!r}; expected a positive number or inf")
    size = np.abs(a)
    if ord == np.inf:
        top = np.max(size, axis, keepdims=True, initial=0)
        return _drop(top, axis, keepdims), lambda g: np.sign(a) * _shared(g, size, top, axis, keepdims)
    top = _scale(size, axis)
    y = top * np.sum((size / top) ** ord, axis, keepdims=True) ** (1 / ord)

    def back(g: np.ndarray) -> np.ndarray:
        # Where a = 0, the sign is 0 and so is the derivative, although the power may be infinite.
        ratio = np.where(a == 0, 1, size / np.where(y == 0, 1, y))
        return _spread(g, a.shape, axis, keepdims) * np.sign(a) * ratio ** (ord - 1)

    return _drop(y, axis, keepdims), back


@operation
def cumsum(a: Array, axis: int | None = None):
    """y_i = a_0 + ... + a_i; without `axis`, of the flattened array.   dL/da_i = g_i + ... + g_(n-1), the reversed sum."""
    before = a.shape
    shape = (a.size,) if axis is None else before
    if a.ndim == 0 and axis in (0, -1):
        axis = None

    def back(g: np.ndarray) -> np.ndarray:
        return np.flip(np.cumsum(np.flip(g, axis), axis), axis).reshape(before)

    return np.cumsum(a, axis).reshape(shape), back
