"""Compare gradients with finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tape import no_grad
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
        AssertionError: a gradient differs; the message names the input and the largest difference.

    Example:
        >>> gradcheck(lambda x: (x * x).sum(), np.array([1.0, 2.0]))
        True
    """
    floating = [i for i, x in enumerate(inputs) if np.asarray(x).dtype.kind == "f"]
    tensors: list[Any] = list(inputs)
    for i in floating:
        tensors[i] = Tensor(np.array(inputs[i], np.float64), requires_grad=True)
    out = fn(*tensors)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, out.shape)
    out.backward(weights)
    for i in floating:
        expected = numerical_gradient(fn, tuple(tensors), i, weights, step)
        gradient = np.zeros_like(expected) if tensors[i].grad is None else tensors[i].grad
        if not np.allclose(gradient, expected, rtol, atol):
            worst = np.abs(gradient - expected).max()
            raise AssertionError(f"gradcheck: input {i}: backward and finite differences differ by up to {worst:.3g}")
    return True
