"""Module, a function with parameters, and Sequential, a chain of modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..tensor import Tensor


class Module:
    """A function with parameters, as in torch.nn. A subclass defines `forward`.

    Attributes of a module that are tensors, modules or lists of modules belong
    to it. A tensor that requires a gradient is a parameter. A tensor that does
    not is a buffer, which is saved but not trained.
    """

    training = True

    def forward(self, x: Any) -> Any:
        """Compute the output; subclasses override it."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def __call__(self, x: Any) -> Any:
        return self.forward(x)

    def modules(self) -> Iterator[Module]:
        """Iterate over this module and all modules in it."""
        yield self
        for _, child in self._children():
            yield from child.modules()

    def named_tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Iterate over all parameters and buffers with their dotted names, such as `hidden.0.weight`."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                yield prefix + name, value
        for name, child in self._children():
            yield from child.named_tensors(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the parameters with their names."""
        return ((name, t) for name, t in self.named_tensors() if t.requires_grad)

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the buffers with their names."""
        return ((name, t) for name, t in self.named_tensors() if not t.requires_grad)

    def parameters(self) -> list[Tensor]:
        """All parameters, in the order of `named_parameters`, but a shared parameter only once."""
        return list({id(p): p for _, p in self.named_parameters()}.values())

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the arrays of all parameters and buffers, by name."""
        return {name: t.data.copy(order="K") for name, t in self.named_tensors()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy arrays into the parameters and buffers of the same names, cast to their dtype.

        Raises:
            ValueError: a name is missing or unknown, or a shape differs. Nothing is copied in this case.
        """
        tensors = dict(self.named_tensors())
        if tensors.keys() != state.keys():
            raise ValueError(f"load_state_dict: expected exactly {', '.join(tensors)}; got {', '.join(state)}")
        for name, t in tensors.items():
            if t.shape != state[name].shape:
                raise ValueError(f"load_state_dict: {name} has shape {state[name].shape}; expected {t.shape}")
        for name, t in tensors.items():
            t.data[...] = state[name]

    def train(self, mode: bool = True) -> Module:
        """Set the training mode of all modules, which affects dropout and batch normalization; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def _children(self) -> Iterator[tuple[str, Module]]:
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Module))


class Sequential(Module):
    """Modules that are called one after another; parameters are named by position, such as `0.weight`."""

    def __init__(self, *layers: Module) -> None:
        self.layers = list(layers)

    def _children(self) -> Iterator[tuple[str, Module]]:
        yield from ((str(i), layer) for i, layer in enumerate(self.layers))

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x
