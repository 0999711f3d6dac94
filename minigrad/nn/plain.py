"""Layers without parameters: activations, pooling, flattening and dropout. Each calls its operation in `ops`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .. import ops
from ..ops.image import Pair
from .module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return ops.leaky_relu(x, self.negative_slope)


class ELU(Module):
    """x where x > 0, else alpha (e^x - 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return ops.elu(x, self.alpha)


class GELU(Module):
    """x P(x), where P is the normal distribution function, or its approximation by tanh; see `ops.gelu`."""

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return ops.gelu(x, self.approximate)


class SiLU(Module):
    """x sigmoid(x)."""

    def forward(self, x: Any) -> Any:
        return ops.silu(x)


class Softplus(Module):
    """ln(1 + e^(beta x)) / beta."""

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    def forward(self, x: Any) -> Any:
        return ops.softplus(x, self.beta)


class Tanh(Module):
    """tanh x."""

    def forward(self, x: Any) -> Any:
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(x)


class Flatten(Module):
    """Merge the axes from start_dim to end_dim; by default (n, ...) becomes (n, features)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        return ops.flatten(x, self.start_dim, self.end_dim)


class MaxPool2d(Module):
    """The maximum of each window of images (n, channels, height, width); see `ops.max_pool2d`."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Any) -> Any:
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(MaxPool2d):
    """The mean of each window of images (n, channels, height, width); see `ops.avg_pool2d`."""

    def forward(self, x: Any) -> Any:
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class Dropout(Module):
    """Set each element to 0 with probability `p` and scale the others by 1/(1-p), in training only; see `ops.dropout`.

    Raises:
        ValueError: p is not in [0, 1).
    """

    def __init__(self, p: float = 0.5, rng: np.random.Generator | None = None) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p = {p}; expected 0 <= p < 1")
        self.p = p
        self.rng = rng or np.random.default_rng()

    def forward(self, x: Any) -> Any:
        return ops.dropout(x, self.p, rng=self.rng) if self.training and self.p else x
