"""Operations on each element, with NumPy's names and broadcasting.

Throughout, L is the loss, y the value, and g = dL/dy; each docstring gives
the derivative dL/da that its pullback computes. Where a function has a kink,
the docstring says which derivative is taken there; it is torch's choice.
"""

from __future__ import annotations

import functools
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
    """y = a / b.   dL/da = g / b,  dL/db = -g a / b^2."""
    return a / b, lambda g: g / b, lambda g: -g * a / (b * b)


@operation
def negative(a: Array):
    """y = -a.   dL/da = -g."""
    return -a, lambda g: -g


@operation
def reciprocal(a: Array):
    """y = 1 / a.   dL/da = -g y^2."""
    y = 1 / a
    return y, lambda g: -g * (y * y)


@operation
def power(a: Array, b: Array):
    """y = a^b.   dL/da = g b a^(b-1),  dL/db = g a^b log a (0 where a = 0, as torch has it)."""
    y = a**b
    # Where b = 0 the first derivative is 0 even at a = 0, where a^-1 is infinite.
    return (
        y,
        lambda g: g * b * a ** (b - 1 + (b == 0)),
        lambda g: g * y * np.log(a + ((a == 0) & (b >= 0)), dtype=y.dtype),
    )


@operation
def square(a: Array):
    """y = a^2.   dL/da = 2 g a."""
    return a * a, lambda g: 2 * g * a


@operation
def sqrt(a: Array):
    """y = a^(1/2).   dL/da = g / (2 y)."""
    y = np.sqrt(a)
    return y, lambda g: g / (2 * y)


@operation
def rsqrt(a: Array):
    """y = a^(-1/2).   dL/da = -g y^3 / 2."""
    y = 1 / np.sqrt(a)
    return y, lambda g: -0.5 * g * y * y * y


@operation
def exp(a: Array):
    """y = e^a.   dL/da = g y."""
    y = np.exp(a)
    return y, lambda g: g * y


@operation
def expm1(a: Array):
    """y = e^a - 1, exact near 0.   dL/da = g (y + 1)."""
    y = np.expm1(a)
    return y, lambda g: g * (y + 1)


@operation
def log(a: Array):
    """y = ln a.   dL/da = g / a."""
    return np.log(a), lambda g: g / a


@operation
def log1p(a: Array):
    """y = ln(1 + a), exact near 0.   dL/da = g / (1 + a)."""
    return np.log1p(a), lambda g: g / (1 + a)


@operation
def log2(a: Array):
    """y = ln a / ln 2.   dL/da = g / (a ln 2)."""
    return np.log2(a), lambda g: g / (a * math.log(2))


@operation
def log10(a: Array):
    """y = ln a / ln 10.   dL/da = g / (a ln 10)."""
    return np.log10(a), lambda g: g / (a * math.log(10))


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
    """y = tanh a.   dL/da = g (1 - y^2)."""
    y = np.tanh(a)
    return y, lambda g: g * (1 - y * y)


@operation
def arcsin(a: Array):
    """y = arcsin a.   dL/da = g / (1 - a^2)^(1/2)."""
    return np.arcsin(a), lambda g: g / np.sqrt(1 - a * a)


@operation
def arctan(a: Array):
    """y = arctan a.   dL/da = g / (1 + a^2)."""
    return np.arctan(a), lambda g: g / (1 + a * a)


@functools.cache
def _best_erf() -> Callable[[Any], Any]:
    """SciPy's erf if it is installed, else libm's, element by element."""
    try:
        from scipy.special import erf
    except ImportError:
        slow = np.vectorize(math.erf, otypes=[float])
        return lambda a: slow(a).astype(a.dtype)
    return erf


def erf_of(a: np.ndarray) -> np.ndarray:
    """erf of a plain array, of its dtype."""
    return _best_erf()(a)


@operation
def erf(a: Array):
    """y = 2/sqrt(pi) integral of e^(-t^2) from 0 to a.   dL/da = g 2/sqrt(pi) e^(-a^2)."""
    return erf_of(a), lambda g: g * (2 / math.sqrt(math.pi)) * np.exp(-a * a)


def _share(g: np.ndarray, wins: Any, ties: Any) -> Any:
    """g where the operand wins, g / 2 where it ties, else 0."""
    return np.where(wins, g, np.where(ties, g / 2, 0))


@operation
def maximum(a: Array, b: Array):
    """y = the larger of a and b.   dL/da = g where a > b, g / 2 where a = b, else 0; dL/db likewise."""
    return np.maximum(a, b), lambda g: _share(g, a > b, a == b), lambda g: _share(g, b > a, a == b)


@operation
def minimum(a: Array, b: Array):
    """y = the smaller of a and b.   dL/da = g where a < b, g / 2 where a = b, else 0; dL/db likewise."""
    return np.minimum(a, b), lambda g: _share(g, a < b, a == b), lambda g: _share(g, b < a, a == b)


@operation
def clip(a: Array, min: Any = None, max: Any = None):
    """y = a held within [min, max], either of them None.   dL/da = g where min <= a <= max, else 0."""
    y = a if min is None else np.maximum(a, min, dtype=a.dtype)
    y = y if max is None else np.minimum(y, max, dtype=a.dtype)
    return y, lambda g: g * (a == y)


@operation
def where(condition: np.ndarray, a: Array, b: Array):
    """y = a where the condition holds, else b.   dL/da = g there, else 0; dL/db the other way round."""
    return np.where(condition, a, b), lambda g: np.where(condition, g, 0), lambda g: np.where(condition, 0, g)
