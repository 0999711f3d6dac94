"""Gradients of functions instead of tensors: `grad(f)(x)` in place of `f(x).backward(); x.grad`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tape import Node, unwrap
from .tensor import Tensor


def value_and_grad(fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., tuple[Any, Any]]:
    """A function that returns `(fn(*args), d fn / d args[argnums])`, as arrays.

    Args:
        fn: from tensors to a tensor of one element.
        argnums: which arguments to differentiate by: one, or a tuple of them,
            for which the gradients come as a tuple. Each may be an array, a
            float, or a list, tuple or dict of such; its gradient is of the same
            form, with zeros where the value does not depend on it.

    Raises:
        TypeError: an argument is itself being differentiated (minigrad is of
            the first order only), or holds integers.

    >>> value, d = value_and_grad(lambda w: (w * w).sum())(np.array([1.0, 2.0]))
    >>> float(value), d.tolist()
    (5.0, [2.0, 4.0])
    """

    def call(*args: Any, **options: Any) -> tuple[Any, Any]:
        numbers = (argnums,) if isinstance(argnums, int) else argnums
        tensors = list(args)
        for i in numbers:
            tensors[i] = _each(_leaf, args[i])
        value = fn(*tensors, **options)
        if isinstance(value, (list, tuple, dict)):
            raise TypeError(f"grad: the function gave a {type(value).__name__}; expected a tensor of one element")
        if isinstance(value, Node) and value.requires_grad:
            Tensor.backward(value)  # type: ignore[arg-type]
        gradients = tuple(_each(_gradient, tensors[i]) for i in numbers)
        return unwrap(value), gradients[0] if isinstance(argnums, int) else gradients

    return call


def grad(fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns d fn / d args[argnums]; see `value_and_grad`."""
    both = value_and_grad(fn, argnums)
    return lambda *args, **options: both(*args, **options)[1]


def _each(fn: Callable[[Any], Any], x: Any) -> Any:
    """`fn` of each array in a list, tuple or dict, in the same form."""
    if isinstance(x, dict):
        return {key: _each(fn, value) for key, value in x.items()}
    return type(x)([_each(fn, value) for value in x]) if type(x) in (list, tuple) else fn(x)


def _leaf(x: Any) -> Tensor:
    if isinstance(x, Node) and x.requires_grad:
        raise TypeError("grad: a gradient can't be differentiated again; minigrad is of the first order only")
    return Tensor(x, requires_grad=True)


def _gradient(x: Tensor) -> np.ndarray:
    return np.zeros_like(x.data) if x.grad is None else x.grad
