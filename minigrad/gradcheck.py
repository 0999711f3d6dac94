"""Is a gradient right? Compare it with finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tape import no_grad
from .tensor import Tensor


def numerical_gradient(
    fn: Callable[..., Any], inputs: tuple[Any, ...], i: int, weights: Any = 1.0, step: float = 1e-6
) -> np.ndarray:
    """d sum(weights * fn(*inputs)) / d inputs[i] by central differences, one element at a time.

    (f(x + h) - f(x - h)) / 2h errs by O(h^2) from Taylor's third term and by
    O(eps / h) from rounding; h = 1e-6 is near the best for float64.
    """
    x = np.array(inputs[i].data, np.float64)
    out = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        sides = []
        for h in (step, -step):
            moved = x.copy()
            moved[at] += h
            with no_grad():
                y = fn(*inputs[:i], Tensor(moved), *inputs[i + 1 :])
            sides.append(np.sum(weights * y.data))
        out[at] = (sides[0] - sides[1]) / (2 * step)
    return out


def gradcheck(fn: Callable[..., Any], *inputs: Any, rtol: float = 1e-5, atol: float = 1e-7, step: float = 1e-6) -> bool:
    """True if backward through `fn` agrees with finite differences, in float64.

    The outputs are summed with fixed uneven weights, since a plain sum would
    hide an error that cancels, as all of softmax's would.

    Args:
        fn: takes tensors, one for each floating input, and returns a tensor
            of any shape; other inputs are passed as they are.
        inputs: arrays. Kinks (relu at 0) have no derivative to agree with.
        rtol, atol, step: |found - expected| <= atol + rtol |expected|, and the difference's step.

    Raises:
        AssertionError: naming the input and the largest difference.
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
        found = np.zeros_like(expected) if tensors[i].grad is None else tensors[i].grad
        if not np.allclose(found, expected, rtol, atol):
            worst = np.abs(found - expected).max()
            raise AssertionError(f"gradcheck: input {i}: backward and finite differences differ by up to {worst:.3g}")
    return True
