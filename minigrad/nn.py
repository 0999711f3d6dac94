"""Layers, under torch.nn's names and with its default initialisation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import ops
from .tensor import Tensor


class Module:
    """A function with parameters: its attributes that are tensors, modules, or lists of modules."""

    training = True

    def forward(self, x: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no forward")

    def __call__(self, x: Any) -> Any:
        return self.forward(x)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        yield self
        for _, child in self._children():
            yield from child.modules()

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Each parameter under its dotted name, such as `hidden.0.weight`."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and value.requires_grad:
                yield prefix + name, value
        for name, child in self._children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> list[Tensor]:
        """Each parameter once, in the order of `named_parameters`, where a shared one stands under each name."""
        return list({id(p): p for _, p in self.named_parameters()}.values())

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of each parameter's array, by name."""
        return {name: p.data.copy(order="K") for name, p in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy arrays into the parameters of the same names, cast to their dtype.

        Raises:
            ValueError: a name is missing or unknown, or a shape differs.
        """
        parameters = dict(self.named_parameters())
        if parameters.keys() != state.keys():
            raise ValueError(f"load_state_dict: expected exactly {', '.join(parameters)}; got {', '.join(state)}")
        for name, p in parameters.items():
            if p.shape != state[name].shape:
                raise ValueError(f"load_state_dict: {name} has shape {state[name].shape}; expected {p.shape}")
            p.data[...] = state[name]

    def train(self, mode: bool = True) -> Module:
        """Set training mode (dropout drops) here and below; `eval` is `train(False)`."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        return self.train(False)

    def _children(self) -> Iterator[tuple[str, Module]]:
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Module))


class Linear(Module):
    """y = x W^T + b, (n, in_features) -> (n, out_features).

    `weight` is (out_features, in_features), `bias` (out_features,), both
    drawn uniformly from +-1/sqrt(in_features), as torch.nn.Linear does
    (its kaiming_uniform with a = sqrt(5) comes to the same bound).

    The weight lies in Fortran order, which BLAS is quicker with here.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        rng = rng or np.random.default_rng()
        bound = 1 / math.sqrt(in_features)
        weight = rng.uniform(-bound, bound, (out_features, in_features))
        self.weight = Tensor(np.asfortranarray(weight, dtype), requires_grad=True)
        self.bias = Tensor(rng.uniform(-bound, bound, out_features).astype(dtype), requires_grad=True) if bias else None

    def forward(self, x: Any) -> Any:
        return ops.linear(x, self.weight, self.bias)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class Tanh(Module):
    """tanh x."""

    def forward(self, x: Any) -> Any:
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(x)


class Dropout(Module):
    """Zero each element with probability `p` in training and scale the rest by 1/(1-p); nothing in evaluation.

    Raises:
        ValueError: p is not in [0, 1).
    """

    def __init__(self, p: float = 0.5, rng: np.random.Generator | None = None) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: p = {p}; expected 0 to below 1")
        self.p = p
        self.rng = rng or np.random.default_rng()

    def forward(self, x: Any) -> Any:
        return ops.dropout(x, self.p, rng=self.rng) if self.training and self.p else x


class Sequential(Module):
    """Modules called one after another; parameters are named by position, `0.weight`."""

    def __init__(self, *layers: Module) -> None:
        self.layers = list(layers)

    def _children(self) -> Iterator[tuple[str, Module]]:
        yield from ((str(i), layer) for i, layer in enumerate(self.layers))

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x
