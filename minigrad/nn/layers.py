"""Layers with parameters, with the names, arguments and default initialization of torch.nn.

Arguments that all layers share:
    rng: the generator of the initial weights; by default a new, unseeded one.
    dtype: the dtype of the parameters; float32 by default.
    init: the name of an initialization in `init.py`; torch's by default.

A setting that is out of its range raises a ValueError, and one of another type
a TypeError; both name the layer, the setting, its value and what was expected.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks, ops
from ..ops.image import Pair
from ..tensor import Tensor
from . import init as initialization
from .module import Module


def _parameter(array: np.ndarray, dtype: Any) -> Tensor:
    return Tensor(np.asarray(array, dtype), requires_grad=True)


def _bias(rng: np.random.Generator, weight: Tensor, dtype: Any) -> Tensor:
    """Uniform in [-b, b], b = 1/sqrt(fan_in of the weight), as in torch."""
    bound = 1 / math.sqrt(max(initialization.fans(weight.shape)[0], 1))
    return _parameter(rng.uniform(-bound, bound, weight.shape[0]), dtype)


class Linear(Module):
    """y = x W^T + b, from (..., in_features) to (..., out_features).

    Attributes:
        weight: (out_features, in_features), in Fortran order, with which BLAS is faster.
        bias: (out_features,), or None if `bias` is False.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
        init: str = "default",
    ) -> None:
        self.in_features = checks.integer("Linear", "in_features", in_features)
        self.out_features = checks.integer("Linear", "out_features", out_features)
        rng = checks.generator("Linear", rng)
        weight = initialization.draw(init, rng, (out_features, in_features))
        self.weight = _parameter(np.asfortranarray(weight), dtype)
        self.bias = _bias(rng, self.weight, dtype) if bias else None

    def forward(self, x: Any) -> Any:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Conv2d(Module):
    """2-D convolution, from (n, in_channels, height, width) to (n, out_channels, height', width'); see `ops.conv2d`.

    Attributes:
        weight: (out_channels, in_channels / groups, *kernel_size).
        bias: (out_channels,), or None if `bias` is False.

    Raises:
        ValueError: a setting is out of its range, or the channels are not multiples of `groups`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
        init: str = "default",
    ) -> None:
        self.in_channels = checks.integer("Conv2d", "in_channels", in_channels)
        self.out_channels = checks.integer("Conv2d", "out_channels", out_channels)
        self.groups = checks.integer("Conv2d", "groups", groups)
        window = checks.pair("Conv2d", "kernel_size", kernel_size)
        for name, value, low in (("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
            checks.pair("Conv2d", name, value, low)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: {in_channels} in and {out_channels} out channels; expected multiples of groups = {groups}"
            )
        rng = checks.generator("Conv2d", rng)
        weight = initialization.draw(init, rng, (out_channels, in_channels // groups, *window))
        self.weight = _parameter(weight, dtype)
        self.bias = _bias(rng, self.weight, dtype) if bias else None

    def forward(self, x: Any) -> Any:
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        kernel_size, stride = (checks.pair("Conv2d", "", value) for value in (self.kernel_size, self.stride))
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={kernel_size}, stride={stride}"
        for name, default in (("padding", (0, 0)), ("dilation", (1, 1))):
            value = checks.pair("Conv2d", name, getattr(self, name), 0)
            text += f", {name}={value}" if value != default else ""
        text += f", groups={self.groups}" if self.groups != 1 else ""
        return text + ("" if self.bias is not None else ", bias=False")


class Embedding(Module):
    """A table of vectors: integers of any shape (...) to vectors (..., embedding_dim).

    Attributes:
        weight: (num_embeddings, embedding_dim), drawn from a standard normal distribution.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        self.num_embeddings = checks.integer("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = checks.integer("Embedding", "embedding_dim", embedding_dim)
        rng = checks.generator("Embedding", rng)
        self.weight = _parameter(rng.normal(size=(num_embeddings, embedding_dim)), dtype)

    def forward(self, x: Any) -> Any:
        return ops.embedding(x, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


class BatchNorm1d(Module):
    """Batch normalization of (n, num_features) or (n, num_features, length); see `ops.batch_norm`.

    Uses the statistics of the batch in training and the running statistics in
    evaluation.

    Attributes:
        weight: a parameter (num_features,), initially 1.
        bias: a parameter (num_features,), initially 0.
        running_mean: a buffer (num_features,), initially 0.
        running_var: a buffer (num_features,), initially 1.
    """

    dimensions: tuple[int, ...] = (2, 3)

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, dtype: Any = np.float32) -> None:
        owner = type(self).__name__
        self.num_features = checks.integer(owner, "num_features", num_features)
        self.eps = checks.number(owner, "eps", eps, ends="()")
        self.momentum = checks.number(owner, "momentum", momentum, 0, 1, "[]")
        self.weight, self.bias = _parameter(np.ones(num_features), dtype), _parameter(np.zeros(num_features), dtype)
        self.running_mean, self.running_var = (
            Tensor(np.zeros(num_features, dtype)),
            Tensor(np.ones(num_features, dtype)),
        )

    def forward(self, x: Any) -> Any:
        if x.ndim not in self.dimensions:
            expected = " or ".join(map(str, self.dimensions))
            raise ValueError(f"{type(self).__name__}: input {x.shape}; expected {expected} dimensions")
        return ops.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm2d(BatchNorm1d):
    """Batch normalization of images (n, num_features, height, width)."""

    dimensions = (4,)


class LayerNorm(Module):
    """Normalization of each sample over its last axes, of shape `normalized_shape`; see `ops.layer_norm`.

    Attributes:
        weight: a parameter of normalized_shape, initially 1.
        bias: a parameter of normalized_shape, initially 0.
    """

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, dtype: Any = np.float32) -> None:
        self.normalized_shape = checks.sizes("LayerNorm", "normalized_shape", normalized_shape)
        self.eps = checks.number("LayerNorm", "eps", eps)
        self.weight, self.bias = (
            _parameter(np.ones(normalized_shape), dtype),
            _parameter(np.zeros(normalized_shape), dtype),
        )

    def forward(self, x: Any) -> Any:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"
