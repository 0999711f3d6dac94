"""Operations that reduce axes. `axis` is an int, a tuple of ints, or None for all, as in NumPy."""

from __future__ import annotations

import numpy as np

from ..tape import Array, operation

Axis = int | tuple[int, ...] | None


def _spread(g: np.ndarray, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> np.ndarray:
    """Repeat a reduced gradient along the axes that were reduced: a read-only view of `shape`."""
    if axis is not None and not keepdims:
        g = np.expand_dims(g, axis)
    return np.broadcast_to(g, shape)


@operation
def sum(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = sum of a over `axis`.   dL/da = g, repeated."""
    return np.sum(a, axis, keepdims=keepdims), lambda g: _spread(g, a.shape, axis, keepdims)


@operation
def mean(a: Array, axis: Axis = None, keepdims: bool = False):
    """y = (sum of a over `axis`) / n.   dL/da = g / n, repeated."""
    y = np.mean(a, axis, keepdims=keepdims)
    n = a.size // max(y.size, 1)
    return y, lambda g: _spread(g / n, a.shape, axis, keepdims)


@operation
def logsumexp(a: Array, axis: Axis = -1, keepdims: bool = False):
    """y = m + ln sum e^(a-m), m = max a, so that no exponential overflows.   dL/da = g softmax(a)."""
    m = np.max(a, axis, keepdims=True)
    e = np.exp(a - m)
    s = np.sum(e, axis, keepdims=True)
    y = m + np.log(s)
    return (
        y if keepdims else np.squeeze(y, axis),
        lambda g: _spread(g, a.shape, axis, keepdims) * (e / s),
    )


@operation
def softmax(a: Array, axis: int = -1):
    """y = e^a / sum e^a.   dL/da = y (g - sum(g y)), the Jacobian diag(y) - y y^T applied to g."""
    e = np.exp(a - np.max(a, axis, keepdims=True))
    y = e / np.sum(e, axis, keepdims=True)
    return y, lambda g: y * (g - np.sum(g * y, axis, keepdims=True))


@operation
def log_softmax(a: Array, axis: int = -1):
    """y = a - logsumexp(a).   dL/da = g - softmax(a) sum g."""
    z = a - np.max(a, axis, keepdims=True)
    y = z - np.log(np.sum(np.exp(z), axis, keepdims=True))
    return y, lambda g: g - np.exp(y) * np.sum(g, axis, keepdims=True)
