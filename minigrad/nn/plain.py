"""Layers without parameters: activations, pooling, flattening and dropout. Each calls its operation in `ops`.

A setting that is out of its range raises a ValueError, and one of another type
a TypeError; both name the layer, the setting, its value and what was expected.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .. import checks, ops
from ..ops.image import Pair
from .module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = checks.finite("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, x: Any) -> Any:
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where x > 0, else alpha (e^x - 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = checks.finite("ELU", "alpha", alpha)

    def forward(self, x: Any) -> Any:
        return ops.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """x P(x), where P is the normal distribution function, or its approximation by tanh; see `ops.gelu`."""

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self.approximate = checks.choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, x: Any) -> Any:
        return ops.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x sigmoid(x)."""

    def forward(self, x: Any) -> Any:
        return ops.silu(x)


class Softplus(Module):
    """ln(1 + e^(beta x)) / beta."""

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = checks.number("Softplus", "beta", beta, ends="()")

    def forward(self, x: Any) -> Any:
        return ops.softplus(x, self.beta)

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


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
        self.start_dim = checks.integer("Flatten", "start_dim", start_dim, low=None)
        self.end_dim = checks.integer("Flatten", "end_dim", end_dim, low=None)

    def forward(self, x: Any) -> Any:
        return ops.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class MaxPool2d(Module):
    """The maximum of each window of images (n, channels, height, width); see `ops.max_pool2d`."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        owner = type(self).__name__
        half = [size // 2 for size in checks.pair(owner, "kernel_size", kernel_size)]
        if stride is not None:
            checks.pair(owner, "stride", stride)
        if any(size > limit for size, limit in zip(checks.pair(owner, "padding", padding, 0), half, strict=True)):
            checks.refuse(owner, "padding", padding, f"at most half of kernel_size = {kernel_size}")
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def forward(self, x: Any) -> Any:
        return ops.max_pool2d(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


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
        self.p = checks.number("Dropout", "p", p, 0, 1)
        self.rng = checks.generator("Dropout", rng)

    def forward(self, x: Any) -> Any:
        return ops.dropout(x, self.p, rng=self.rng) if self.training and self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p}"
