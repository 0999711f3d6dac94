"""The search for the tensors and modules that belong to a module.

They are the module's attributes, and the items of lists, tuples and dicts
among them, nested in any way. The contents of other objects do not belong to
the module. What could be meant as a part of the module, but has no stable
name, is refused: the items of sets, and attributes of the class.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterator, Mapping, Sequence, Set, ValuesView
from types import FunctionType, MemberDescriptorType
from typing import Any, NoReturn, cast

import numpy as np

from ..tensor import Tensor

# Classes whose objects are skipped at once. A weak reference is how a module refers to its parent.
_PLAIN = {
    *(bool, int, float, str, bytes, bytearray, memoryview, range, type(None), type),
    *(FunctionType, classmethod, staticmethod, property, np.dtype, *weakref.ProxyTypes),
}


class Member:
    """The base class of modules, which the search recognizes."""


def attributes(module: Member) -> dict[str, Any]:
    """The attributes of `module` itself by name, those in `__slots__` after the others.

    Raises:
        TypeError: a tensor or a module is an attribute of the class.
    """
    own, module_class = dict(vars(module)), cast(Any, type(module))
    for cls, name, slot in _class_attributes(module_class):
        if name in own:
            continue
        if slot:
            if hasattr(module, name):
                own[name] = getattr(module, name)
        elif _any(cls, name, [vars(cls).get(name)]):
            raise TypeError(
                f"{cls.__name__}: {name} is an attribute of the class, which all instances would share;"
                f" expected self.{name} = ... in __init__"
            )
    return own


@functools.cache
def _class_attributes(cls: type) -> list[tuple[type, str, bool]]:
    """The slots of a class, and the attributes that could hold a tensor or a module."""
    return [
        (base, name, isinstance(value, MemberDescriptorType))
        for base in cls.__mro__
        for name, value in vars(base).items()
        if type(value) not in _PLAIN and not name.startswith("__")
    ]


def members(module: Member) -> Iterator[tuple[str, Any]]:
    """Iterate over the tensors and modules of `module` itself, with their names."""
    for name, value in attributes(module).items():
        if type(value) not in _PLAIN:
            yield from search(type(module), name, value)


def search(owner: type, name: str, value: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Iterate over the tensors and modules in the attribute `name`, with their dotted names.

    Args:
        owner: the class of the module, for messages.
        name: the attribute's name.
        value: the attribute.
        path: the ids of the containers around it, for those that contain themselves.

    Raises:
        TypeError: a tensor or a module is in a set, in an array of objects, or in a dict under a key that is neither
            a string nor an integer.
    """
    if type(value) in _PLAIN or id(value) in path:
        return
    if isinstance(value, (Tensor, Member)):
        yield name, value
    elif isinstance(value, np.ndarray):
        if value.dtype.hasobject and _any(owner, name, value.ravel()):
            _refuse(owner, name, "an array that holds a tensor or a module", "a list, a tuple or a dict")
    elif isinstance(value, Mapping):
        if _any(owner, name, value):
            _refuse(owner, name, "a dict whose keys are tensors or modules", "them as values")
        for key, item in list(value.items()):
            for found in search(owner, f"{name}.{key}", item, (*path, id(value))):
                if isinstance(key, bool) or not isinstance(key, (str, int, np.integer)):
                    _refuse(owner, name, f"a dict with a key of class {type(key).__name__}", "strings as keys")
                yield found
    elif isinstance(value, (Sequence, ValuesView)):
        for i, item in enumerate(list(value)):
            yield from search(owner, f"{name}.{i}", item, (*path, id(value)))
    elif isinstance(value, Set) and _any(owner, name, value):
        _refuse(owner, name, f"a {type(value).__name__} that holds a tensor or a module", "a list, a tuple or a dict")


def _any(owner: type, name: str, items: Any) -> bool:
    return next(search(owner, name, list(items)), None) is not None


def _refuse(owner: type, name: str, value: str, expected: str) -> NoReturn:
    raise TypeError(f"{owner.__name__}: {name} is {value}; expected {expected}")
