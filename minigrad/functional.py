"""Gradients of functions: `grad(f)(x)` instead of `f(x).backward(); x.grad`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .modes import Switch
from .tape import Node, clock, propagate, unwrap
from .tensor import Tensor


def value_and_grad(fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., tuple[Any, Any]]:
    """Create a function that returns `(fn(*args), d fn / d args[argnums])`.

    Args:
        fn: a function of tensors whose value is a tensor of one element. Tensors that it captures
            count as constants: their `grad` and their graphs stay as they are.
        argnums: the position of the argument to differentiate with respect
            to, or a tuple of positions. An argument is an array, a float, or a
            list, tuple or dict of these.

    Returns:
        A function of the arguments of `fn`. It returns the value and the
        gradient, both as arrays. The gradient has the structure of the
        argument, with zeros where the value does not depend on it; for a tuple
        of positions, it is a tuple of gradients.

    Raises:
        TypeError: `argnums` is something else, or an argument already requires
            a gradient (only first-order gradients are supported) or contains
            integers, or the value is a Python number or a container.
        ValueError: there is no argument at such a position.
            All but the first are raised by the returned function.

    Example:
        >>> value, d = value_and_grad(lambda w: (w * w).sum())(np.array([1.0, 2.0]))
        >>> float(value), d.tolist()
        (5.0, [2.0, 4.0])
    """

    several = isinstance(argnums, (tuple, list))
    numbers: Any = argnums if several else (argnums,)
    try:
        positions = [operator.index(i) for i in numbers]
    except TypeError:
        raise TypeError(f"grad: argnums = {argnums!r}; expected an int or a tuple of ints") from None

    def call(*args: Any, **options: Any) -> tuple[Any, Any]:
        start, tensors = next(clock), list(args)
        for i in positions:
            if not -len(args) <= i < len(args):
                raise ValueError(f"grad: argnums = {argnums}, but the function got {len(args)} arguments by position")
            tensors[i] = _map_arrays(_leaf, args[i])
        with Switch("grad", "recording", lambda _: True):
            value = fn(*tensors, **options)
        if not isinstance(value, (Node, np.ndarray, np.generic)):  # such as a float, which lost its gradient
            raise TypeError(f"grad: the function returned a {type(value).__name__}; expected a tensor of one element")
        gradients: dict[int, np.ndarray] = {}
        if isinstance(value, Node) and value._requires_grad and value._order > start:
            for leaf, g, is_new in propagate(value, since=start):
                gradients[id(leaf)] = g if is_new else g.copy()
        results = tuple(_map_arrays(lambda x: _gradient(x, gradients), tensors[i]) for i in positions)
        return unwrap(value), results if several else results[0]

    return call


def grad(fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Create a function that returns d fn / d args[argnums]; see `value_and_grad`."""
    value_and_gradient = value_and_grad(fn, argnums)
    return lambda *args, **options: value_and_gradient(*args, **options)[1]


def _map_arrays(fn: Callable[[Any], Any], x: Any) -> Any:
    """Apply `fn` to each array in a list, tuple or dict, and keep the structure."""
    if isinstance(x, dict):
        return {key: _map_arrays(fn, value) for key, value in x.items()}
    if isinstance(x, tuple) and hasattr(x, "_fields"):  # a named tuple
        return type(x)(*[_map_arrays(fn, value) for value in x])
    return type(x)([_map_arrays(fn, value) for value in x]) if type(x) in (list, tuple) else fn(x)


def _leaf(x: Any) -> Tensor:
    if isinstance(x, Node) and x.requires_grad:
        raise TypeError("grad: an argument already requires a gradient; minigrad supports first order only")
    return Tensor(x, requires_grad=True)


def _gradient(x: Tensor, gradients: dict[int, np.ndarray]) -> np.ndarray:
    return gradients[id(x)] if id(x) in gradients else np.zeros_like(x.data)
