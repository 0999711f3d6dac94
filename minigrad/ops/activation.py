"""Activations and dropout, with the names and arguments of torch.nn.functional.

Below, a is `input`, y the value, of a's shape and dtype, and g = dL/dy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import checks
from ..operation import Array, operation
from .elementwise import normal_density, normal_distribution

if TYPE_CHECKING:
    from numpy.random import Generator
else:
    Generator = Any  # `operation` evaluates annotations, and numpy.random is slow to import

__all__ = ["dropout", "elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus"]


def logistic(a: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-a), computed as e^a / (1 + e^a) where a < 0, so that no exponential overflows."""
    return np.exp(np.minimum(a, 0)) / (1 + np.exp(-np.abs(a)))


def logistic_derivative(a: np.ndarray) -> np.ndarray:
    """s (1 - s) for s = logistic(a), which would cancel near s = 1. It is an even function of a."""
    e = np.exp(-np.abs(a))
    return e / np.square(1 + e)


def log1p_exp_of_minus_abs(a: np.ndarray) -> np.ndarray:
    """ln(1 + e^-|a|), the part of softplus that is not linear: softplus(a) = max(a, 0) + this."""
    return np.log1p(np.exp(-np.abs(a)))


@operation
def sigmoid(input: Array):
    """y = 1 / (1 + e^-a).   dL/da = g y (1 - y)."""
    return logistic(input), lambda g: g * logistic_derivative(input)


@operation
def softplus(input: Array, beta: float = 1.0):
    """y = ln(1 + e^(beta a)) / beta, a smooth relu.   dL/da = g sigmoid(beta a)."""
    x = beta * input
    return np.where(x > 0, input, 0) + log1p_exp_of_minus_abs(x) / beta, lambda g: g * logistic(x)


@operation
def relu(input: Array):
    """y = max(a, 0).   dL/da = g where a > 0, else 0 (0 at the kink)."""
    y = np.maximum(input, 0)
    return y, lambda g: g * (y != 0)  # a product, because np.where is seven times slower on random signs


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
    below = np.minimum(input, 0)
    return (
        np.where(input > 0, input, alpha * np.expm1(below)),
        lambda g: np.where(input <= 0, g * (alpha * np.exp(below)), g),  # not y + alpha, which cancels
    )


@operation
def gelu(input: Array, approximate: Literal["none", "tanh"] = "none"):
    """y = a P(a), where P is the normal distribution function and p its density.   dL/da = g (P(a) + a p(a)).

    P(a) = erfc(-a / sqrt 2) / 2, p(a) = e^(-a^2/2) / sqrt(2 pi). With
    approximate="tanh", P(a) = (1 + tanh u) / 2 = sigmoid(2 u), u = sqrt(2/pi) (a + 0.044715 a^3),
    and p = P'. Hendrycks and Gimpel, 2016, section 2.

    Raises:
        ValueError: `approximate` is neither "none" nor "tanh".
    """
    a = input
    if approximate == "none":
        probability = normal_distribution(a)
        return a * probability, lambda g: g * (probability + a * normal_density(a))
    if approximate != "tanh":
        raise ValueError(f"approximate = {approximate!r}; expected 'none' or 'tanh'")
    c = 2 * math.sqrt(2 / math.pi)
    b = np.clip(a, -100, 100)  # P is 0 or 1 beyond, and b^3 doesn't overflow
    u = c * (b + 0.044715 * b * b * b)
    probability = logistic(u)
    return (
        a * probability,
        lambda g: g * (probability + b * (logistic_derivative(u) * (c * (1 + 0.134145 * b * b)))),
    )


@operation
def silu(input: Array):
    """y = a s, s = sigmoid(a).   dL/da = g s (1 + a (1 - s)).   Elfwing, Uchibe and Doya, 2018, equation 5."""
    s = logistic(input)
    return input * s, lambda g: g * (s + input * logistic_derivative(input))


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
        TypeError: `rng` is not a generator.
        ValueError: p is not in [0, 1).
    """
    if not 0 <= p < 1:
        raise ValueError(f"p = {p}; expected 0 <= p < 1")
    if not training or not p:
        return input, lambda g: g
    rng = checks.generator("dropout", rng)
    mask = (rng.random(input.shape, np.float32) >= p) * input.dtype.type(1 / (1 - p))
    return input * mask, lambda g: g * mask
