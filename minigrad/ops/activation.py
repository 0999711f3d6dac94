"""Activations and dropout, with the names and arguments of torch.nn.functional.

Below, a is `input`, y the value, of a's shape and dtype, and g = dL/dy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..operation import Array, operation
from .elementwise import erf_of

if TYPE_CHECKING:
    from numpy.random import Generator
else:
    Generator = Any  # `operation` evaluates annotations, and numpy.random is slow to import

__all__ = ["dropout", "elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus"]


def logistic(a):
    """1 / (1 + e^-a), computed as e^a / (1 + e^a) where a < 0, so that no exponential overflows."""
    e = np.exp(-np.abs(a))
    return np.where(a < 0, e, 1) / (1 + e)


@operation
def sigmoid(input: Array):
    """y = 1 / (1 + e^-a).   dL/da = g y (1 - y)."""
    y = logistic(input)
    return y, lambda g: g * (y * (1 - y))


@operation
def softplus(input: Array, beta: float = 1.0):
    """y = ln(1 + e^(beta a)) / beta, a smooth relu.   dL/da = g sigmoid(beta a)."""
    return np.logaddexp(0, beta * input) / beta, lambda g: g * logistic(beta * input)


@operation
def relu(input: Array):
    """y = max(a, 0).   dL/da = g where a > 0, else 0 (0 at the kink)."""
    y = np.maximum(input, 0)
    return y, lambda g: g * (y > 0)


@operation
def leaky_relu(input: Array, negative_slope: float = 0.01):
    """y = a where a > 0, else negative_slope a.   dL/da = g where a > 0, else g negative_slope."""
    return (
        np.where(input > 0, input, negative_slope * input),
        lambda g: np.where(input > 0, g, negative_slope * g),
    )


@operation
def elu(input: Array, alpha: float = 1.0):
    """y = a where a > 0, else alpha (e^a - 1).   dL/da = g where a > 0, else g alpha e^a.

    Clevert, Unterthiner and Hochreiter, 2016, equation 15.
    """
    below = alpha * np.expm1(np.minimum(input, 0))
    return np.where(input > 0, input, below), lambda g: np.where(input > 0, g, g * (below + alpha))


@operation
def gelu(input: Array, approximate: Literal["none", "tanh"] = "none"):
    """y = a P(a), where P is the normal distribution function and p its density.   dL/da = g (P(a) + a p(a)).

    P(a) = (1 + erf(a / sqrt 2)) / 2, p(a) = e^(-a^2/2) / sqrt(2 pi). With
    approximate="tanh", P(a) = (1 + tanh u) / 2, u = sqrt(2/pi) (a + 0.044715 a^3),
    and p = P' = (1 - tanh^2 u) u' / 2. Hendrycks and Gimpel, 2016, section 2.

    Raises:
        ValueError: `approximate` is neither "none" nor "tanh".
    """
    a = input
    if approximate == "none":
        below = 0.5 * (1 + erf_of(a / math.sqrt(2)))
        return a * below, lambda g: g * (below + a * (np.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)))
    if approximate != "tanh":
        raise ValueError(f"approximate = {approximate!r}; expected 'none' or 'tanh'")
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (a + 0.044715 * a * a * a))
    return 0.5 * a * (1 + t), lambda g: g * (0.5 * (1 + t) + 0.5 * c * a * (1 - t * t) * (1 + 0.134145 * a * a))


@operation
def silu(input: Array):
    """y = a s, s = sigmoid(a).   dL/da = g s (1 + a (1 - s)).   Elfwing, Uchibe and Doya, 2018, equation 5."""
    s = logistic(input)
    return input * s, lambda g: g * (s * (1 + input * (1 - s)))


@operation
def dropout(input: Array, p: float = 0.5, training: bool = True, rng: Generator | None = None):
    """y = a m / (1 - p), where each m is 1 with probability 1 - p, else 0.   dL/da = g m / (1 - p).

    The division keeps the expectation, so that evaluation needs no scaling
    ("inverted dropout"; Srivastava et al., 2014, section 10).

    Args:
        input: floats of any shape.
        p: the probability with which an element is set to 0.
        training: if False, y = a.
        rng: draws m; by default a new, unseeded generator.

    Raises:
        ValueError: p is not in [0, 1).
    """
    if not 0 <= p < 1:
        raise ValueError(f"p = {p}; expected 0 <= p < 1")
    if not training or not p:
        return input, lambda g: g
    rng = rng or np.random.default_rng()
    mask = np.multiply(rng.random(input.shape, np.float32) >= p, 1 / (1 - p), dtype=input.dtype)
    return input * mask, lambda g: g * mask
