"""Elementwise operations, with NumPy's names and broadcasting. Floating dtypes are preserved.

In all rules, L is the loss, y the value, and g = dL/dy. Each docstring gives
the derivative that the pullback computes: dL/da for the operand a. Where a
function has a kink, the docstring gives the value chosen there, which is
that of torch.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..operation import Array, operation

__all__ = [
    "abs", "add", "arcsin", "arctan", "clip", "cos", "cosh", "divide", "erf", "exp", "expm1", "log", "log1p", "log2",
    "log10", "maximum", "minimum", "multiply", "negative", "power", "reciprocal", "rsqrt", "sign", "sin", "sinh", "sqrt",
    "square", "subtract", "tan", "tanh", "where",
]  # fmt: skip


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
    """y = a / b.   dL/da = g / b,  dL/db = -g y / b."""
    y = a / b
    return y, lambda g: g / b, lambda g: -g * (y / b)  # not a / b^2: the square could overflow or underflow


@operation
def negative(a: Array):
    """y = -a.   dL/da = -g."""
    return -a, lambda g: -g


@operation
def reciprocal(a: Array):
    """y = 1 / a.   dL/da = -g y^2."""
    y = 1 / a
    return y, lambda g: -g * y * y  # from left to right, because y^2 could overflow or underflow


@operation
def power(a: Array, b: Array):
    """y = a^b.   dL/da = g b a^(b-1),  dL/db = g a^b ln a (0 where a = 0 and b >= 0, as in torch)."""
    y = a**b
    # For b = 0 the derivative by a is 0 even at a = 0, where a^-1 is infinite.
    return (
        y,
        lambda g: g * (b * a ** (b - 1 + (b == 0))),
        lambda g: g * y * np.log(a + ((a == 0) & (b >= 0)), dtype=y.dtype),
    )


@operation
def square(a: Array):
    """y = a^2.   dL/da = 2 g a."""
    return a * a, lambda g: 2 * (g * a)


@operation
def sqrt(a: Array):
    """y = a^(1/2).   dL/da = g / (2 y)."""
    y = np.sqrt(a)
    return y, lambda g: g / (2 * y)


@operation
def rsqrt(a: Array):
    """y = a^(-1/2).   dL/da = -g y^3 / 2."""
    y = 1 / np.sqrt(a)
    return y, lambda g: g * y * y * (-0.5 * y)  # from left to right, because y^3 could overflow or underflow


@operation
def exp(a: Array):
    """y = e^a.   dL/da = g y."""
    y = np.exp(a)
    return y, lambda g: g * y


@operation
def expm1(a: Array):
    """y = e^a - 1, accurate near 0.   dL/da = g e^a."""
    return np.expm1(a), lambda g: g * np.exp(a)  # not y + 1, which cancels for negative a


@operation
def log(a: Array):
    """y = ln a.   dL/da = g / a."""
    return np.log(a), lambda g: g / a


@operation
def log1p(a: Array):
    """y = ln(1 + a), accurate near 0.   dL/da = g / (1 + a)."""
    return np.log1p(a), lambda g: g / (1 + a)


@operation
def log2(a: Array):
    """y = ln a / ln 2.   dL/da = g / (a ln 2)."""
    return np.log2(a), lambda g: g / a / math.log(2)


@operation
def log10(a: Array):
    """y = ln a / ln 10.   dL/da = g / (a ln 10)."""
    return np.log10(a), lambda g: g / math.log(10) / a


@operation
def abs(a: Array):
    """y = |a|.   dL/da = g sign(a) (0 at 0)."""
    return np.abs(a), lambda g: g * np.sign(a)


@operation
def sign(a: Array):
    """y = -1, 0 or 1.   dL/da = 0."""
    return np.sign(a), lambda g: np.zeros_like(g)


@operation
def sin(a: Array):
    """y = sin a.   dL/da = g cos a."""
    return np.sin(a), lambda g: g * np.cos(a)


@operation
def cos(a: Array):
    """y = cos a.   dL/da = -g sin a."""
    return np.cos(a), lambda g: -g * np.sin(a)


@operation
def tan(a: Array):
    """y = tan a.   dL/da = g (1 + y^2)."""
    y = np.tan(a)
    return y, lambda g: g * (1 + y * y)


@operation
def sinh(a: Array):
    """y = sinh a.   dL/da = g cosh a."""
    return np.sinh(a), lambda g: g * np.cosh(a)


@operation
def cosh(a: Array):
    """y = cosh a.   dL/da = g sinh a."""
    return np.cosh(a), lambda g: g * np.sinh(a)


@operation
def tanh(a: Array):
    """y = tanh a.   dL/da = g / cosh^2 a."""

    def back(g: np.ndarray) -> np.ndarray:
        e = np.exp(-2 * np.abs(a))  # 1 - y^2 would cancel for large |a|; cosh a could overflow
        return g * (4 * e / np.square(1 + e))

    return np.tanh(a), back


@operation
def arcsin(a: Array):
    """y = arcsin a.   dL/da = g / (1 - a^2)^(1/2)."""
    return np.arcsin(a), lambda g: g / np.sqrt((1 - a) * (1 + a))  # 1 - a^2 would cancel near 1


@operation
def arctan(a: Array):
    """y = arctan a.   dL/da = g / (1 + a^2)."""

    def back(g: np.ndarray) -> np.ndarray:
        size = np.abs(a)
        small, u = np.minimum(size, 1), 1 / np.maximum(size, 1)  # |a| = small / u
        return g * u * u / (small * small + u * u)  # without a^2, which could overflow

    return np.arctan(a), back


@functools.cache
def _special(name: str) -> Callable[[Any], Any]:
    """SciPy's erf or erfc if SciPy is installed, otherwise Python's, applied element by element."""
    try:
        special = importlib.import_module("scipy.special")
    except ImportError:
        return np.vectorize(getattr(math, name), otypes=[float])
    return getattr(special, name)


def erf_of(a: np.ndarray) -> np.ndarray:
    """The error function of an array, computed in float64, as SciPy computes it for float32 too; in a's dtype."""
    return np.asarray(_special("erf")(a.astype(np.float64))).astype(a.dtype)


def normal_distribution(a: np.ndarray) -> np.ndarray:
    """The standard normal distribution function, erfc(-a / sqrt 2) / 2: 1 + erf would cancel for negative a.

    It is computed in float64, because far from 0 it multiplies the relative
    error of its argument by a^2.
    """
    return np.asarray(0.5 * _special("erfc")(a.astype(np.float64) * -math.sqrt(0.5))).astype(a.dtype)


def gaussian(a: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """e^(-scale a^2), computed in float64 for the same reason. Limits |a| to 200, where it is 0, against an overflow."""
    square = np.square(np.minimum(np.abs(a), 200), dtype=np.result_type(a, np.float64))
    return np.exp(-scale * square).astype(a.dtype)


def normal_density(a: np.ndarray) -> np.ndarray:
    """The density of the standard normal distribution."""
    return gaussian(a, 0.5) / math.sqrt(2 * math.pi)


@operation
def erf(a: Array):
    """y = 2/sqrt(pi) integral of e^(-t^2) from 0 to a.   dL/da = g 2/sqrt(pi) e^(-a^2)."""
    return erf_of(a), lambda g: g * (2 / math.sqrt(math.pi) * gaussian(a))


def _share(g: np.ndarray, rejected: Any, equal: Any) -> Any:
    """0 where the other operand was selected, g / 2 where both are equal, else g, also for NaN."""
    return np.where(rejected, 0, np.where(equal, g / 2, g))


@operation
def maximum(a: Array, b: Array):
    """y = max(a, b).   dL/da = g where a > b, g / 2 where a = b, else 0; dL/db likewise."""
    return np.maximum(a, b), lambda g: _share(g, a < b, a == b), lambda g: _share(g, b < a, a == b)


@operation
def minimum(a: Array, b: Array):
    """y = min(a, b).   dL/da = g where a < b, g / 2 where a = b, else 0; dL/db likewise."""
    return np.minimum(a, b), lambda g: _share(g, a > b, a == b), lambda g: _share(g, b > a, a == b)


@operation
def clip(a: Array, min: Any = None, max: Any = None):
    """y = a limited to [min, max], where None is no limit.   dL/da = g where min <= a <= max, else 0."""
    y = a if min is None else np.maximum(a, np.asarray(min, a.dtype))
    y = y if max is None else np.minimum(y, np.asarray(max, a.dtype))
    return y, lambda g: g * (a == y)


@operation
def where(condition: np.ndarray, a: Array, b: Array):
    """y = a where `condition` (bool) is true, else b.   dL/da = g where true, else 0; dL/db = 0 where true, else g."""
    return np.where(condition, a, b), lambda g: np.where(condition, g, 0), lambda g: np.where(condition, 0, g)
