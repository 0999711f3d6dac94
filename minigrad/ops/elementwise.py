"""Operations on each element, with NumPy's broadcasting.

Throughout, L is the loss, y the value, and g = dL/dy; each docstring gives
the derivative dL/da that its pullback computes.
"""

from __future__ import annotations

import numpy as np

from ..tape import Array, operation


@operation
def add(a: Array, b: Array):
    """y = a + b.   dL/da = g,  dL/db = g."""
    return a + b, lambda g: g, lambda g: g


@operation
def subtract(a: Array, b: Array):
    """y = a - b.   dL/da = g,  dL/db = -g."""
    return a - b, lambda g: g, lambda g: -g


@operation
def multiply(a: Array, b: Array):
    """y = a b.   dL/da = g b,  dL/db = g a."""
    return a * b, lambda g: g * b, lambda g: g * a


@operation
def divide(a: Array, b: Array):
    """y = a / b.   dL/da = g / b,  dL/db = -g a / b^2."""
    return a / b, lambda g: g / b, lambda g: -g * a / (b * b)


@operation
def negative(a: Array):
    """y = -a.   dL/da = -g."""
    return -a, lambda g: -g


@operation
def power(a: Array, b: Array):
    """y = a^b.   dL/da = g b a^(b-1),  dL/db = g a^b log a (0 where a = 0, as torch has it)."""
    y = np.power(a, b)
    # Where b = 0 the first derivative is 0 even at a = 0, where a^-1 is infinite.
    return y, lambda g: g * b * np.power(a, b - 1 + (b == 0)), lambda g: g * y * np.log(a + (a == 0), dtype=y.dtype)


@operation
def exp(a: Array):
    """y = e^a.   dL/da = g y."""
    y = np.exp(a)
    return y, lambda g: g * y


@operation
def log(a: Array):
    """y = ln a.   dL/da = g / a."""
    return np.log(a), lambda g: g / a


@operation
def sqrt(a: Array):
    """y = a^(1/2).   dL/da = g / (2 y)."""
    y = np.sqrt(a)
    return y, lambda g: g / (2 * y)


@operation
def tanh(a: Array):
    """y = tanh a.   dL/da = g (1 - y^2)."""
    y = np.tanh(a)
    return y, lambda g: g * (1 - y * y)


@operation
def sigmoid(a: Array):
    """y = 1 / (1 + e^-a), as (1 + tanh(a/2)) / 2, which never overflows.   dL/da = g y (1 - y)."""
    y = 0.5 * np.tanh(0.5 * a) + 0.5
    return y, lambda g: g * (y * (1 - y))


@operation
def relu(a: Array):
    """y = max(a, 0).   dL/da = g where a > 0, else 0 (so 0 at the kink, as torch has it)."""
    y = np.maximum(a, 0)
    return y, lambda g: g * (y > 0)


@operation
def dropout(a: Array, p: float, rng: np.random.Generator):
    """y = a m / (1 - p), each m 1 with probability 1 - p, else 0.   dL/da = g m / (1 - p).

    The scale keeps the expectation, so that nothing changes at evaluation
    ("inverted dropout"; Srivastava et al., 2014, section 10).
    """
    mask = np.multiply(rng.random(a.shape, np.float32) >= p, 1 / (1 - p), dtype=a.dtype)
    return a * mask, lambda g: g * mask
