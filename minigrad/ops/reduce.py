"""Reductions and other operations along axes, with NumPy's names and arguments.

`axis` is an int, a tuple of ints, or None for all axes. With `keepdims`,
reduced axes are kept with size 1. y is the value and g = dL/dy.
"""

from __future__ import annotations

import math

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


def _count(a: np.ndarray, axis: Axis) -> int:
    """The number of elements that are reduced to one."""
    if axis is None:
        return a.size
    return math.prod(a.shape[i] for i in (axis if isinstance(axis, tuple) else (axis,)))


def _drop(y: np.ndarray, axis: Axis, keepdims: bool) -> np.ndarray:
    """`y`, which was reduced with keepdims=True, without the reduced axes unless `keepdims`."""
    return y if keepdims else np.squeeze(y, axis)


@operation
def sum(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = sum of a.   dL/da = g, broadcast to a's shape."""
    return np.sum(a, axis, keepdims=keepdims), lambda g: _spread(g, a.shape, axis, keepdims)


@operation
def mean(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = (sum of a) / n.   dL/da = g / n, broadcast to a's shape."""
    y = np.mean(a, axis, keepdims=keepdims)
    n = _count(a, axis)
    return y, lambda g: _spread(g / n, a.shape, axis, keepdims)


@operation
def var(a: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False):
    """y = sum of (a - mean a)^2 / (n - ddof).   dL/da = 2 g (a - mean a) / (n - ddof); the term through the mean is 0."""
    d = a - np.mean(a, axis, keepdims=True)
    n = _count(a, axis) - ddof
    return np.var(a, axis, ddof=ddof, keepdims=keepdims), lambda g: _spread(2 * g / n, a.shape, axis, keepdims) * d


@operation
def std(a: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False):
    """y = var(a)^(1/2).   dL/da = g (a - mean a) / ((n - ddof) y), and 0 where y = 0."""
    y = np.std(a, axis, ddof=ddof, keepdims=True)
    n = _count(a, axis) - ddof
    d = (a - np.mean(a, axis, keepdims=True)) / np.where(y == 0, np.inf, n * y)
    return _drop(y, axis, keepdims), lambda g: _spread(g, a.shape, axis, keepdims) * d


@operation
def prod(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = product of a.   dL/da = g times the product of the other elements, which is y / a unless an element is 0."""
    zero = a == 0
    zeros = np.sum(zero, axis, keepdims=True)
    rest = np.prod(np.where(zero, 1, a), axis, keepdims=True)  # the product of the nonzero elements

    def back(g: np.ndarray) -> np.ndarray:
        others = np.where(zero, np.where(zeros == 1, rest, 0), np.where(zeros == 0, rest, 0) / np.where(zero, 1, a))
        return _spread(g, a.shape, axis, keepdims) * others

    return np.prod(a, axis, keepdims=keepdims), back


def _shared(g: np.ndarray, a: np.ndarray, y: np.ndarray, axis: Axis, keepdims: bool) -> np.ndarray:
    """g, divided equally among the elements of `a` that equal the extreme y, as in torch.amax."""
    equal = a == y
    return _spread(g, a.shape, axis, keepdims) * equal / np.sum(equal, axis, dtype=g.dtype, keepdims=True)


@operation
def max(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = the maximum of a.   dL/da = g where a = y, divided among ties, else 0."""
    y = np.max(a, axis, keepdims=True)
    return _drop(y, axis, keepdims), lambda g: _shared(g, a, y, axis, keepdims)


@operation
def min(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = the minimum of a.   dL/da = g where a = y, divided among ties, else 0."""
    y = np.min(a, axis, keepdims=True)
    return _drop(y, axis, keepdims), lambda g: _shared(g, a, y, axis, keepdims)


def _highest(a: np.ndarray, axis: Axis) -> np.ndarray:
    """The maximum, which is subtracted before exponentiating; 0 where it is infinite, since inf - inf is NaN."""
    m = np.max(a, axis, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(m), m, 0)


@operation
def logsumexp(a: Array, axis: Axis = -1, keepdims: bool = False):
    """y = m + ln sum e^(a-m), m = max a, so that no exponential overflows.   dL/da = g softmax(a)."""
    m = _highest(a, axis)
    e = np.exp(a - m)
    s = np.sum(e, axis, keepdims=True)
    with np.errstate(divide="ignore"):  # the sum of no terms is 0, and ln 0 = -inf is its correct result
        y = m + np.log(s)
    return _drop(y, axis, keepdims), lambda g: _spread(g, a.shape, axis, keepdims) * (e / s)


@operation
def softmax(a: Array, axis: int = -1):
    """y = e^a / sum e^a.   dL/da = y (g - sum(g y)), the product of g and the Jacobian diag(y) - y y^T."""
    e = np.exp(a - _highest(a, axis))
    y = e / np.sum(e, axis, keepdims=True)
    return y, lambda g: y * (g - np.sum(g * y, axis, keepdims=True))


@operation
def log_softmax(a: Array, axis: int = -1):
    """y = a - logsumexp(a).   dL/da = g - softmax(a) sum g."""
    z = a - _highest(a, axis)
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
    if not ord > 0:
        raise ValueError(f"ord = {ord}; expected a positive number or inf")
    size = np.abs(a)
    top = np.max(size, axis, keepdims=True, initial=0)
    if ord == np.inf:
        return _drop(top, axis, keepdims), lambda g: np.sign(a) * _shared(g, size, top, axis, keepdims)
    top = np.where((top == 0) | np.isinf(top), 1, top)  # the scale; without it a power could overflow
    y = top * np.sum((size / top) ** ord, axis, keepdims=True) ** (1 / ord)

    def back(g: np.ndarray) -> np.ndarray:
        # Where a = 0, the sign is 0 and so is the derivative, although the power may be infinite.
        ratio = np.where(a == 0, 1, size / np.where(y == 0, 1, y))
        return _spread(g, a.shape, axis, keepdims) * np.sign(a) * ratio ** (ord - 1)

    return _drop(y, axis, keepdims), back


@operation
def cumsum(a: Array, axis: int | None = None):
    """y_i = a_0 + ... + a_i; without `axis`, of the flattened array.   dL/da_i = g_i + ... + g_n, the reversed sum."""

    def back(g: np.ndarray) -> np.ndarray:
        return np.flip(np.cumsum(np.flip(g, axis), axis), axis).reshape(a.shape)

    return np.cumsum(a, axis), back
