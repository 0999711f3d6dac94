"""Sequential, a chain of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .. import checks
from . import members
from .module import Module


class Sequential(Module):
    """Layers that are called one after another.

    A layer is a module or a function, such as `ops.relu`. Parameters are named
    by position, such as `0.weight`. The layers are in the list `layers`.

    Example:
        >>> net = Sequential(Linear(4, 3), ops.tanh, Linear(3, 2))
        >>> net[0], len(net), net[1:]

    Raises:
        TypeError: a layer cannot be called, or is a class instead of an object.
    """

    layers: list[Callable[..., Any]]

    def __init__(self, *layers: Callable[..., Any]) -> None:
        self.layers = []
        for layer in layers:
            self.append(layer)

    def append(self, layer: Callable[..., Any]) -> Sequential:
        """Add a layer at the end; returns this module."""
        owner, name = type(self).__name__, f"layer {len(self.layers)}"
        if isinstance(layer, type):
            raise TypeError(f"{owner}: {name} is the class {layer.__name__}; expected an object, {layer.__name__}(...)")
        if not callable(layer):
            checks.refuse(owner, name, layer, "a module or a function", TypeError)
        self.layers.append(layer)
        return self

    def __getitem__(self, index: int | slice) -> Any:
        """The layer at a position, or a new Sequential of the layers in a slice, named from 0."""
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter(self.layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def _shown(self) -> Iterator[tuple[str, str]]:
        for i, layer in enumerate(vars(self).get("layers", ())):
            yield str(i), repr(layer) if isinstance(layer, Module) else getattr(layer, "__name__", repr(layer))
        yield from ((name, text) for name, text in super()._shown() if not name[0].isdigit())

    def _members(self) -> Iterator[tuple[str, Any]]:
        for name, value in members.attributes(self).items():
            if name == "layers":
                for i, layer in enumerate(value):
                    yield from members.search(type(self), str(i), layer)
            else:
                yield from members.search(type(self), name, value)
