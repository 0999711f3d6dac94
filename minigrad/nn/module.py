"""Module, a function with parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from reprlib import recursive_repr
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..tape import mark_changed
from ..tensor import Tensor
from . import members


class LoadResult(NamedTuple):
    """The names that `load_state_dict(strict=False)` did not find in the state, and those that it did not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(members.Member):
    """A function with parameters, as in torch.nn. A subclass defines `forward`.

    Tensors and modules in the attributes of a module belong to it, also those
    in lists, tuples and dicts, nested in any way. Their names are the path to
    them, such as `hidden.0.weight`. A tensor that requires a gradient is a
    parameter. A tensor that does not is a buffer, which is saved but not
    trained. A tensor that was computed from parameters, such as an activation
    that `forward` keeps, is not saved, and optimizers refuse it.

    Every method raises a TypeError if a set holds a tensor or a module, or if
    one is an attribute of the class. Other objects, such as a dataclass or a
    function, are not searched: what they hold does not belong to the module.
    """

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; subclasses override it."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def modules(self) -> Iterator[Module]:
        """Iterate over this module and all modules in it, each once."""
        seen: dict[int, Module] = {}
        waiting = [self]
        while waiting:
            module = waiting.pop()
            if id(module) not in seen:
                seen[id(module)] = module
                waiting += [child for _, child in module._children()][::-1]
        return iter(seen.values())

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over all parameters and buffers with their dotted names; a shared one has several.

        Raises:
            ValueError: two tensors have the same name.
        """
        return ((name, t) for name, t in self._named_tensors() if not checks.is_computed(t))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the parameters with their names, over a shared one only once, under its first name."""
        first: dict[int, tuple[str, Tensor]] = {}
        for name, t in self._named_tensors():
            if t.requires_grad:
                first.setdefault(id(t), (name, t))
        return iter(first.values())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the buffers with their names."""
        return ((name, t) for name, t in self.named_tensors() if not t.requires_grad)

    def parameters(self) -> list[Tensor]:
        """All parameters, in the order of `named_parameters`."""
        return [p for _, p in self.named_parameters()]

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for p in self.parameters():
            p._grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze all parameters (False), or those again that were frozen so (True); returns the module.

        A frozen parameter gets no gradient. `parameters` does not return it, and `state_dict` contains it.
        """
        for module in self.modules():
            frozen: set[str] = vars(module).setdefault("_frozen", set())
            for name, t in module._members():
                if not isinstance(t, Tensor):
                    continue
                if requires_grad and name in frozen:
                    t.requires_grad = True
                elif not requires_grad and t.requires_grad and not checks.is_computed(t):
                    t.requires_grad = False
                    frozen.add(name)
            if requires_grad:
                frozen.clear()
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the arrays of all parameters and buffers, by name."""
        return {name: t.data.copy(order="K") for name, t in self.named_tensors()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy arrays into the parameters and buffers of the same names, cast to their dtype.

        Args:
            state: arrays by name, as `state_dict` returns them.
            strict: whether the names have to be the same, by default True. Otherwise, names that are missing or
                unknown are skipped.

        Returns:
            The names that are missing and those that are unknown.

        Raises:
            TypeError: the state is not a dict.
            ValueError: a name is missing or unknown and `strict` is True, or an array has another shape, or numbers
                of another kind, such as complex ones. Nothing is copied in this case.
        """
        if not isinstance(state, Mapping):
            checks.refuse("load_state_dict", "state", state, "a dict of arrays", TypeError)
        tensors = dict(self.named_tensors())
        result = LoadResult([n for n in tensors if n not in state], [str(n) for n in state if n not in tensors])
        if strict and any(result):
            kinds = zip(("missing", "unknown"), result, strict=True)
            parts = [f"{kind}: {', '.join(names)}" for kind, names in kinds if names]
            raise ValueError(f"load_state_dict: {'; '.join(parts)}; expected exactly {', '.join(tensors)}")
        arrays = {n: checks.array("load_state_dict", n, state[n], t.data) for n, t in tensors.items() if n in state}
        for name, array in arrays.items():
            tensors[name].data[...] = array
            mark_changed(tensors[name])
        return result

    def train(self, mode: bool = True) -> Module:
        """Set the training mode of all modules, which affects dropout and batch normalization; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def extra_repr(self) -> str:
        """The settings that `repr` shows; subclasses override it."""
        return ""

    @recursive_repr()
    def __repr__(self) -> str:
        settings, name = self.extra_repr(), type(self).__name__
        children = [f"({part}): {text}" for part, text in self._shown()]
        if not children:
            return f"{name}({settings})"
        lines = "\n".join([settings] * bool(settings) + children).replace("\n", "\n  ")
        return f"{name}(\n  {lines}\n)"

    def _shown(self) -> Iterator[tuple[str, str]]:
        """The lines of `repr`: the names and the texts of the modules in this one."""
        return ((name, repr(child)) for name, child in self._children())

    def _members(self) -> Iterator[tuple[str, Any]]:
        """The tensors and modules of this module itself, with their names."""
        return members.members(self)

    def _children(self) -> Iterator[tuple[str, Module]]:
        return ((name, child) for name, child in self._members() if isinstance(child, Module))

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over all tensors, also computed ones, with their names."""
        named: dict[str, Tensor] = {}
        for name, t in self._walk("", (), set()):
            if named.setdefault(name, t) is not t:
                raise ValueError(f"{type(self).__name__}: two tensors are named {name}; expected different names")
        return iter(named.items())

    def _walk(self, prefix: str, path: tuple[int, ...], cyclic: set[int]) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the tensors of this module itself, then over those of the modules in it.

        Args:
            prefix: the name of this module and a dot.
            path: the ids of the modules from the first one to this one. A reference to one of them is not followed.
            cyclic: the ids of modules that refer to each other in a circle, which are visited only once.
        """
        items, path = list(self._members()), (*path, id(self))
        yield from ((prefix + name, t) for name, t in items if isinstance(t, Tensor))
        for name, child in items:
            if isinstance(child, Tensor) or id(child) in cyclic:
                continue
            if id(child) in path:
                cyclic.update(path[path.index(id(child)) :])
            else:
                yield from child._walk(f"{prefix}{name}.", path, cyclic)
