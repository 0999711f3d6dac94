"""Which arrays share memory, and which arrays a pullback reads."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np


def owner(array: Any) -> Any:
    """Return the object that owns the memory of `array`. All views of one array have the same owner."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return array


def arrays_in(x: Any) -> Iterator[np.ndarray]:
    """Iterate over the arrays that `x` holds.

    Args:
        x: usually a pullback, which holds the variables of its closure. Also
            searched: containers, functions, and objects with attributes. Of
            a tensor, only its array counts, not the graph behind it.
    """
    stack, seen = [x], set()
    while stack:
        x = stack.pop()
        if id(x) in seen or isinstance(x, (type, ModuleType, CodeType)):
            continue
        seen.add(id(x))
        array = x if isinstance(x, np.ndarray) else getattr(x, "data", None)
        if isinstance(array, np.ndarray):
            yield array
        elif isinstance(x, FunctionType):  # not its globals, which hold the whole module
            stack += [x.__closure__, x.__defaults__, x.__kwdefaults__]
        else:
            stack += gc.get_referents(x)
