"""Compare gradients with finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .memory import arrays_in
from .modes import no_grad
from .tape import Node, clock, propagate, unwrap
from .tensor import Tensor


def numerical_gradient(
    fn: Callable[..., Any], inputs: tuple[Any, ...], i: int, weights: Any = 1.0, step: float = 1e-6
) -> np.ndarray:
    """Compute d sum(weights * fn(*inputs)) / d inputs[i] by central differences, element by element, in float64.

    (f(x + h) - f(x - h)) / 2h has an error of O(h^2) from the third-order
    Taylor term and of O(eps / h) from rounding; h = 1e-6 is close to the
    optimum for float64.

    Args:
        fn: a function of `inputs` that returns a tensor of any shape.
        inputs: the arguments of `fn`.
        i: the position of the input to differentiate with respect to, a tensor.
        weights: an array of the shape of the output, or a number; by default 1.
        step: h.

    Returns:
        An array of the shape of inputs[i], float64.
    """
    x = np.array(inputs[i].data, np.float64)
    out = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        sides = []
        for h in (step, -step):
            shifted = x.copy()
            shifted[index] += h
            with no_grad():
                y = fn(*inputs[:i], Tensor(shifted), *inputs[i + 1 :])
            sides.append(np.sum(weights * y.data))
        out[index] = (sides[0] - sides[1]) / (2 * step)
    return out


def gradcheck(fn: Callable[..., Any], *inputs: Any, rtol: float = 1e-5, atol: float = 1e-7, step: float = 1e-6) -> bool:
    """Check the backward pass of `fn` against finite differences, in float64.

    The outputs are summed with fixed, unequal weights, because errors may
    cancel in a plain sum; for softmax they always do.

    Args:
        fn: gets one tensor per floating input and returns a tensor of any
            shape. Other inputs are passed unchanged.
        inputs: arrays, without points at which `fn` has a kink, such as 0 for relu.
        rtol: relative tolerance; |gradient - expected| <= atol + rtol |expected| is required.
        atol: absolute tolerance.
        step: the step of the finite differences.

    Returns:
        True.

    Raises:
        AssertionError: a gradient differs; the message names the input and the element that differs most.
        TypeError: `fn` returned something else than a tensor.
        ValueError: no input is floating, or the result does not depend on one,
            or `fn` changed an input or returned two results for the same inputs,
            or a gradient is an array that a pullback keeps.

    Example:
        >>> gradcheck(lambda x: (x * x).sum(), np.array([1.0, 2.0]))
        True
    """
    start = next(clock)
    tensors = [_as_float64(x) for x in inputs]
    floating = [i for i, x in enumerate(tensors) if isinstance(x, Tensor)]
    if not floating:
        raise ValueError("gradcheck: no input is an array of floats; nothing to check")
    before = [tensors[i].data.copy() for i in floating]
    out = fn(*tensors)
    if not isinstance(out, Tensor):
        raise TypeError(f"gradcheck: the function returned a {type(out).__name__}; expected a tensor")
    if not out.requires_grad:
        raise ValueError("gradcheck: the result does not require a gradient; nothing was recorded")
    with no_grad():
        again = fn(*tensors)
    if not np.array_equal(out.data, again.data, equal_nan=True):
        raise ValueError("gradcheck: the function returned two results for the same inputs; expected equal results")
    for i, x in zip(floating, before, strict=True):
        if not np.array_equal(tensors[i].data, x, equal_nan=True):
            raise ValueError(f"gradcheck: the function changed input {i}")
    weights = np.random.default_rng(0).uniform(0.5, 1.5, out.shape)
    leaves = propagate(out, weights, retain_graph=True, since=start)
    gradients = {id(leaf): g for leaf, g, _ in leaves}
    kept = _kept(out) if leaves else set()
    for i in floating:
        if id(gradients.get(id(tensors[i]))) in kept:
            raise ValueError(
                f"gradcheck: the gradient of input {i} is an array that the pullback keeps, and `backward` may change it;"
                " expected a new array, such as a copy"
            )
        expected = numerical_gradient(fn, tuple(tensors), i, weights, step)
        _compare(i, gradients.get(id(tensors[i]), np.zeros_like(expected)), expected, rtol, atol)
    return True


def _kept(out: Tensor) -> set[int]:
    """The ids of the arrays that the pullbacks behind `out` keep."""
    kept: set[int] = set()
    stack: list[Node] = [out]
    seen: set[int] = set()
    while stack:
        node = stack.pop()
        for operand, pullback, _ in node._edges if id(node) not in seen else ():
            kept.update(map(id, arrays_in(pullback)))
            stack.append(operand)
        seen.add(id(node))
    return kept


def _as_float64(x: Any) -> Any:
    """Return `x` as a tensor that requires a gradient if it is an array of floats, otherwise unchanged."""
    array = unwrap(x)
    if not isinstance(array, (np.ndarray, np.generic, float, list)) or np.asarray(array).dtype.kind != "f":
        return x
    return Tensor(np.array(array, np.float64), requires_grad=True)


def _compare(i: int, gradient: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> None:
    """Raise AssertionError unless the gradient of the i-th input is close to `expected`."""
    wrong = ~np.isclose(gradient, expected, rtol, atol)
    if wrong.any():
        distance = np.where(wrong, np.nan_to_num(np.abs(gradient - expected), nan=np.inf), -1)
        index = tuple(int(k) for k in np.unravel_index(distance.argmax(), distance.shape))
        raise AssertionError(
            f"gradcheck: input {i}: {wrong.sum()} of {wrong.size} elements differ; at {index}, backward computed"
            f" {gradient[index]:.6g} and finite differences {expected[index]:.6g}"
        )
