"""Normalization, with the names and arguments of torch.nn.functional.

Both operations subtract a mean and divide by a deviation s, which depend on
the input. With x^ = (x - mean) / s, s = sqrt(var + eps), and d = dL/dx^, the
chain rule through mean and s gives

    dL/dx = (d - mean(d) - x^ mean(d x^)) / s

with means over the normalized axes (Ioffe and Szegedy, 2015, section 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operation import Array, operation
from ..tape import mark_changed

__all__ = ["batch_norm", "layer_norm"]


def _statistics(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance over `axes`, which are kept with size 1."""
    mean = np.mean(x, axes, keepdims=True)
    d = x - mean
    return mean, np.mean(d * d, axes, keepdims=True)


def _input_gradient(d: np.ndarray, unit: np.ndarray, s: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """dL/dx by the formula above, for x^ = unit."""
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
    """y = weight x^ + bias per channel, with the statistics of the batch in training, else the running statistics.

    dL/dweight = sum of g x^,  dL/dbias = sum of g,  dL/dx as above with d = g weight; in evaluation d / s.

    Args:
        input: x, (n, channels) or (n, channels, ...).
        running_mean: an array (channels,), updated in place in training: running += momentum (batch - running).
            None: the statistics of the batch are always used.
        running_var: likewise, with the unbiased variance (n - 1).
        weight: (channels,); by default 1.
        bias: (channels,); by default 0.
        training: whether to use the statistics of the batch and update the running ones.
        momentum: see above.
        eps: added to the variance.

    Raises:
        ValueError: a shape doesn't match, or a training batch has only one value per channel.
    """
    if input.ndim < 2:
        raise ValueError("expected an input (n, channels, ...)")
    channels, shape = input.shape[1], (1, -1, *[1] * (input.ndim - 2))
    for name, x in (("weight", weight), ("bias", bias), ("running_mean", running_mean), ("running_var", running_var)):
        if x is not None and x.shape != (channels,):
            raise ValueError(f"{name} {x.shape}; expected ({channels},), one number per channel")
    axes = (0, *range(2, input.ndim))
    use_batch = training or running_mean is None or running_var is None
    if use_batch:
        n = input.size // max(channels, 1)
        if training and n < 2:
            raise ValueError("expected more than one value per channel in training")
        mean, var = _statistics(input, axes)
        if training and running_mean is not None and running_var is not None:
            running_mean += momentum * (mean.reshape(channels) - running_mean)
            running_var += momentum * (var.reshape(channels) * (n / (n - 1)) - running_var)
            mark_changed(running_mean, running_var)
    else:
        mean, var = (np.reshape(np.asarray(x, input.dtype), shape) for x in (running_mean, running_var))  # type: ignore[arg-type]
    s = np.sqrt(var + eps)
    unit = (input - mean) / s
    y = unit if weight is None else unit * weight.reshape(shape)
    if bias is not None:
        y = y + bias.reshape(shape)

    def dx(g: np.ndarray) -> np.ndarray:
        d = g if weight is None else g * weight.reshape(shape)
        return _input_gradient(d, unit, s, axes) if use_batch else d / s

    return y, dx, lambda g: np.sum(g * unit, axes), lambda g: np.sum(g, axes)


@operation
def layer_norm(
    input: Array,
    normalized_shape: int | tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
):
    """y = weight x^ + bias, normalized over the last axes, per sample (Ba et al., 2016).

    dL/dweight = sum of g x^,  dL/dbias = sum of g, over the other axes; dL/dx as above with d = g weight.

    Args:
        input: x, (..., *normalized_shape).
        normalized_shape: the shape of the last axes.
        weight: of normalized_shape; by default 1.
        bias: of normalized_shape; by default 0.
        eps: added to the variance.

    Raises:
        ValueError: a shape doesn't match.
    """
    shape: Any = (normalized_shape,) if np.ndim(normalized_shape) == 0 else tuple(normalized_shape)  # type: ignore[arg-type]
    if not shape:
        raise ValueError(f"normalized_shape {shape}; expected at least one axis")
    leading = input.ndim - len(shape)
    for name, actual in (
        ("input's last axes", input.shape[max(leading, 0) :]),
        *((name, x.shape) for name, x in (("weight", weight), ("bias", bias)) if x is not None),
    ):
        if actual != shape:
            raise ValueError(f"{name} {actual}; expected {shape}, the normalized_shape")
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
        lambda g: _input_gradient(g if weight is None else g * weight, unit, s, axes),
        lambda g: np.sum(g * unit, others),
        lambda g: np.sum(g, others),
    )
