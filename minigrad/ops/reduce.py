"""Operations along axes. `axis` is an int, a tuple of ints, or None for all, as in NumPy."""

from __future__ import annotations

import math

import numpy as np

from ..operation import Array, operation

__all__ = [
    "cumsum", "log_softmax", "logsumexp", "max", "mean", "min", "norm", "prod", "softmax", "std", "sum", "var",
]  # fmt: skip

Axis = int | tuple[int, ...] | None


def _spread(g: np.ndarray, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> np.ndarray:
    """Repeat a reduced gradient along the axes that were reduced: a read-only view of `shape`."""
    if axis is not None and not keepdims:
        g = np.expand_dims(g, axis)
    return np.broadcast_to(g, shape)


def _count(a: np.ndarray, axis: Axis) -> int:
    """How many elements meet in one."""
    if axis is None:
        return a.size
    return math.prod(a.shape[i] for i in (axis if isinstance(axis, tuple) else (axis,)))


def _drop(y: np.ndarray, axis: Axis, keepdims: bool) -> np.ndarray:
    """`y`, reduced with keepdims, as the caller asked for it."""
    return y if keepdims else np.squeeze(y, axis)


@operation
def sum(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = sum of a.   dL/da = g, repeated."""
    return np.sum(a, axis, keepdims=keepdims), lambda g: _spread(g, a.shape, axis, keepdims)


@operation
def mean(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = (sum of a) / n.   dL/da = g / n, repeated."""
    y = np.mean(a, axis, keepdims=keepdims)
    n = _count(a, axis)
    return y, lambda g: _spread(g / n, a.shape, axis, keepdims)


@operation
def var(a: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False):
    """y = sum of (a - mean a)^2 / (n - ddof).   dL/da = 2 g (a - mean a) / (n - ddof); the mean's own part sums to 0."""
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
    """y = product of a.   dL/da = g times the product of the others: y / a, and where zeros are, what they leave."""
    zero = a == 0
    zeros = np.sum(zero, axis, keepdims=True)
    rest = np.prod(np.where(zero, 1, a), axis, keepdims=True)  # the product of all that is not 0

    def back(g: np.ndarray) -> np.ndarray:
        others = np.where(zero, np.where(zeros == 1, rest, 0), np.where(zeros == 0, rest, 0) / np.where(zero, 1, a))
        return _spread(g, a.shape, axis, keepdims) * others

    return np.prod(a, axis, keepdims=keepdims), back


def _shared(g: np.ndarray, a: np.ndarray, y: np.ndarray, axis: Axis, keepdims: bool) -> np.ndarray:
    """g, in equal parts to the elements that equal the extreme y, as torch's amax gives it."""
    hit = a == y
    return _spread(g, a.shape, axis, keepdims) * hit / np.sum(hit, axis, dtype=g.dtype, keepdims=True)


@operation
def max(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = the largest of a.   dL/da = g where a = y, divided among ties, else 0."""
    y = np.max(a, axis, keepdims=True)
    return _drop(y, axis, keepdims), lambda g: _shared(g, a, y, axis, keepdims)


@operation
def min(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = the smallest of a.   dL/da = g where a = y, divided among ties, else 0."""
    y = np.min(a, axis, keepdims=True)
    return _drop(y, axis, keepdims), lambda g: _shared(g, a, y, axis, keepdims)


def _highest(a: np.ndarray, axis: Axis) -> np.ndarray:
    """The maximum, to be subtracted before exponentials; 0 where it is infinite, since inf - inf is no number."""
    m = np.max(a, axis, keepdims=True, initial=-np.inf)
    return np.where(np.isfinite(m), m, 0)


@operation
def logsumexp(a: Array, axis: Axis = -1, keepdims: bool = False):
    """y = m + ln sum e^(a-m), m = max a, so that no exponential overflows.   dL/da = g softmax(a)."""
    m = _highest(a, axis)
    e = np.exp(a - m)
    s = np.sum(e, axis, keepdims=True)
    with np.errstate(divide="ignore"):  # ln 0 = -inf is the answer for no terms
        y = m + np.log(s)
    return _drop(y, axis, keepdims), lambda g: _spread(g, a.shape, axis, keepdims) * (e / s)


@operation
def softmax(a: Array, axis: int = -1):
    """y = e^a / sum e^a.   dL/da = y (g - sum(g y)), the Jacobian diag(y) - y y^T applied to g."""
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
    """y = (sum of |a|^p)^(1/p), p = ord; the largest |a| for p = inf.   dL/da = g sign(a) (|a| / y)^(p-1), 0 where y = 0.

    The entries along `axis` are one vector, also where they are a matrix's.
    For p = inf, ties share g.

    Raises:
        ValueError: ord is not positive.
    """
    if not ord > 0:
        raise ValueError(f"ord = {ord}; expected a positive number or inf")
    size = np.abs(a)
    top = np.max(size, axis, keepdims=True, initial=0)
    if ord == np.inf:
        return _drop(top, axis, keepdims), lambda g: np.sign(a) * _shared(g, size, top, axis, keepdims)
    top = np.where((top == 0) | np.isinf(top), 1, top)  # divided out, so that no power overflows
    y = top * np.sum((size / top) ** ord, axis, keepdims=True) ** (1 / ord)

    def back(g: np.ndarray) -> np.ndarray:
        # Where a = 0 the sign is 0, and so the derivative, even where the power is infinite.
        ratio = np.where(a == 0, 1, size / np.where(y == 0, 1, y))
        return _spread(g, a.shape, axis, keepdims) * np.sign(a) * ratio ** (ord - 1)

    return _drop(y, axis, keepdims), back


@operation
def cumsum(a: Array, axis: int | None = None):
    """y_i = a_0 + ... + a_i, over the flattened array without `axis`.   dL/da_i = g_i + ... + g_n, the sum from behind."""

    def back(g: np.ndarray) -> np.ndarray:
        return np.flip(np.cumsum(np.flip(g, axis), axis), axis).reshape(a.shape)

    return np.cumsum(a, axis), back
