"""NumPy's functions called with tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import ops
from .tape import Node

SHAPES = ("ndim", "shape", "size")  # functions whose result does not depend on the numbers


def call(func: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """Call NumPy's `func` with the arrays of the tensors among its arguments.

    Raises:
        TypeError: a tensor requires a gradient, which would be lost.
    """
    name = func.__name__

    def plain(x: Any) -> Any:
        if isinstance(x, Node):
            if x._requires_grad and name not in SHAPES:
                instead = f"minigrad.{name}" if name in ops.__all__ else ".data or .detach() for the array"
                raise TypeError(f"numpy.{name} would lose the gradient of a tensor; use {instead}")
            return x._data
        return type(x)([plain(item) for item in x]) if type(x) in (list, tuple) else x

    return func(*map(plain, args), **{key: plain(x) for key, x in options.items()})
