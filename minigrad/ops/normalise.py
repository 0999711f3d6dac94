"""Normalisation: torch.nn.functional's names and arguments.

Both subtract a mean and divide by a deviation that depend on the input
themselves. With x^ = (x - mean) / s, s = sqrt(var + eps), and d the gradient
at x^, the chain rule through mean and s gives

    dL/dx = (d - mean(d) - x^ mean(d x^)) / s

(Ioffe and Szegedy, 2015, section 3), the means over the normalised axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operation import Array, operation

__all__ = ["batch_norm", "layer_norm"]


def _statistics(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and (biased) variance, with axes kept."""
    mean = np.mean(x, axes, keepdims=True)
    d = x - mean
    return mean, np.mean(d * d, axes, keepdims=True)


def _through(d: np.ndarray, unit: np.ndarray, s: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The formula above."""
    out = d - np.mean(d, axes, keepdims=True)
    out -= unit * np.mean(d * unit, axes, keepdims=True)
    out /= s
    return out


@operation
def batch_norm(
    input: Array,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
):
    """y = weight x^ + bias, a channel at a time; x^ as above from the batch in training, else from the running values.

    dL/dweight = sum of g x^,  dL/dbias = sum of g,  dL/dx as above with d = g weight; at evaluation d / s.

    Args:
        input: (n, channels) or (n, channels, ...).
        running_mean, running_var: (channels,); in training both move by `momentum` towards the
            batch's (the variance's with n - 1), in place. None: the batch's are always used.
        weight, bias: (channels,).

    Raises:
        ValueError: there are no channels, a shape differs, or a batch of one value a channel is to be normalised.
    """
    if input.ndim < 2:
        raise ValueError("expected an input (n, channels, ...)")
    channels, shape = input.shape[1], (1, -1, *[1] * (input.ndim - 2))
    for name, x in (("weight", weight), ("bias", bias), ("running_mean", running_mean), ("running_var", running_var)):
        if x is not None and x.shape != (channels,):
            raise ValueError(f"{name} {x.shape}; expected ({channels},), a number a channel")
    axes = (0, *range(2, input.ndim))
    of_batch = training or running_mean is None or running_var is None
    if of_batch:
        n = input.size // max(channels, 1)
        if training and n < 2:
            raise ValueError("expected more than one value a channel in training")
        mean, var = _statistics(input, axes)
        if training and running_mean is not None and running_var is not None:
            running_mean += momentum * (mean.reshape(channels) - running_mean)
            running_var += momentum * (var.reshape(channels) * (n / (n - 1)) - running_var)
    else:
        mean, var = (np.reshape(np.asarray(x, input.dtype), shape) for x in (running_mean, running_var))  # type: ignore[arg-type]
    s = np.sqrt(var + eps)
    unit = (input - mean) / s
    y = unit if weight is None else unit * weight.reshape(shape)
    if bias is not None:
        y = y + bias.reshape(shape)

    def dx(g: np.ndarray) -> np.ndarray:
        d = g if weight is None else g * weight.reshape(shape)
        return _through(d, unit, s, axes) if of_batch else d / s

    return y, dx, lambda g: np.sum(g * unit, axes), lambda g: np.sum(g, axes)


@operation
def layer_norm(
    input: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
):
    """y = weight x^ + bias, x^ as above over the last axes, which have `normalized_shape` (Ba et al., 2016).

    dL/dweight = sum of g x^,  dL/dbias = sum of g, over the other axes; dL/dx as above with d = g weight.

    Raises:
        ValueError: the last axes, the weight or the bias have another shape.
    """
    shape: Any = (normalized_shape,) if np.ndim(normalized_shape) == 0 else tuple(normalized_shape)  # type: ignore[arg-type]
    leading = input.ndim - len(shape)
    for name, found in (
        ("input's last axes", input.shape[max(leading, 0) :]),
        *((name, x.shape) for name, x in (("weight", weight), ("bias", bias)) if x is not None),
    ):
        if found != shape:
            raise ValueError(f"{name} {found}; expected {shape}, the normalized_shape")
    axes = tuple(range(leading, input.ndim))
    mean, var = _statistics(input, axes)
    s = np.sqrt(var + eps)
    unit = (input - mean) / s
    y = unit if weight is None else unit * weight
    if bias is not None:
        y = y + bias
    others = tuple(range(leading))
    return (
        y,
        lambda g: _through(g if weight is None else g * weight, unit, s, axes),
        lambda g: np.sum(g * unit, others),
        lambda g: np.sum(g, others),
    )
