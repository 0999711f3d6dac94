"""Convolution and pooling: torch.nn.functional's names and arguments, images as (n, channels, height, width).

A convolution is a matrix product once each patch of the image is a column
(Chellapilla, Puri and Simard, 2006). In NumPy it is quick if the batch is
the innermost axis in memory: then a patch's row is one long run to copy, and
the whole layer one product. So these rules keep their images in the order
(channels, height, width, n) and hand out views that are (n, channels,
height, width) to the reader; elementwise operations keep that order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..tape import Array, operation

__all__ = ["avg_pool2d", "conv2d", "max_pool2d"]

Pair = int | tuple[int, int]


def _pair(x: Any) -> tuple[int, int]:
    height, width = (x, x) if np.ndim(x) == 0 else x
    return int(height), int(width)


def _batch_last(x: np.ndarray, padding: tuple[int, int], value: float = 0.0) -> np.ndarray:
    """(n, c, h, w) as contiguous (c, h, w, n), padded; without padding no copy of what lies so already."""
    x = x.transpose(1, 2, 3, 0)
    if padding == (0, 0):
        return np.ascontiguousarray(x)
    (c, h, w, n), (top, left) = x.shape, padding
    out = np.full((c, h + 2 * top, w + 2 * left, n), value, x.dtype)
    out[:, top : top + h, left : left + w] = x
    return out


def _batch_first(x: np.ndarray, padding: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The inverse: a view of (c, h, w, n) as (n, c, h, w), without the padding."""
    (top, left), (_, h, w, _) = padding, x.shape
    return x[:, top : h - top, left : w - left].transpose(3, 0, 1, 2)


def _output_size(
    name: str,
    shape: tuple[int, ...],
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    """How often the window fits: floor((size + 2 padding - dilation (window - 1) - 1) / stride) + 1.

    Raises:
        ValueError: not once, or a setting makes no sense.
    """
    if len(shape) != 4:
        raise ValueError(f"{name}: input {shape}; expected (n, channels, height, width)")
    if min(*window, *stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"{name}: window {window}, stride {stride}, dilation {dilation}, padding {padding}; expected 1 or more,"
            " padding 0 or more"
        )
    sizes = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[2:], window, stride, padding, dilation, strict=True)
    ]
    if min(sizes) < 1:
        raise ValueError(
            f"{name}: a window of {window}, dilation {dilation}, does not fit {shape[2:]} padded by {padding}"
        )
    return sizes[0], sizes[1]


def _offsets(
    window: tuple[int, int], size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """(i, j, index) for each place in the window: x[index] is what stands there, for every output, as (c, h, w, n)."""
    for i in range(window[0]):
        for j in range(window[1]):
            starts = i * dilation[0], j * dilation[1]
            rows, columns = (slice(o, o + (n - 1) * s + 1, s) for o, n, s in zip(starts, size, stride, strict=True))
            yield i, j, (slice(None), rows, columns)


@operation
def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
):
    """y_nohw = b_o + sum over c, i, j of W_ocij x_n,c,(h stride + i dilation),(w stride + j dilation), x padded with zeros.

    With the patches as columns X, y = W X, so dL/dW = g X^T; dL/dX = W^T g,
    each element added at the pixel it was copied from; dL/db = sum of g over all but o.

    Args:
        input: (n, c, height, width).
        weight: (o, c / groups, kernel height, kernel width).
        bias: (o,).
        stride, padding, dilation: a number, or one for the height and one for the width.
        groups: so many blocks of channels, each seen by its own o / groups outputs.

    Raises:
        ValueError: the shapes don't fit each other.
    """
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    if weight.ndim != 4:
        raise ValueError(f"conv2d: weight {weight.shape}; expected (out, in / groups, height, width)")
    o, c, *kernel = weight.shape
    window = kernel[0], kernel[1]
    size = _output_size("conv2d", input.shape, window, stride, padding, dilation)
    if input.shape[1] != c * groups or o % groups:
        raise ValueError(
            f"conv2d: input {input.shape} and weight {weight.shape} in {groups} groups: expected {c * groups} channels"
            f" and a multiple of {groups} outputs"
        )
    if bias is not None and bias.shape != (o,):
        raise ValueError(f"conv2d: bias {bias.shape}; expected ({o},)")
    n, x = len(input), _batch_last(input, padding)
    matrix = weight.reshape(groups, o // groups, -1)

    def columns() -> np.ndarray:
        # Made anew on the way back: copying is cheaper than keeping kernel-size copies of every image.
        spans = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
        patches = sliding_window_view(x, spans, axis=(1, 2))
        patches = patches[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
        return np.ascontiguousarray(patches.transpose(0, 4, 5, 1, 2, 3)).reshape(groups, matrix.shape[2], -1)

    y = (matrix @ columns()).reshape(o, *size, n)
    if bias is not None:
        y += bias[:, None, None, None]

    def rows(g: np.ndarray) -> np.ndarray:
        return _batch_last(g, (0, 0)).reshape(groups, o // groups, -1)

    def dx(g: np.ndarray) -> np.ndarray:
        d = (matrix.swapaxes(1, 2) @ rows(g)).reshape(len(x), *window, *size, n)
        out = np.zeros_like(x)
        for i, j, at in _offsets(window, size, stride, dilation):
            out[at] += d[:, i, j]
        return _batch_first(out, padding)

    def dw(g: np.ndarray) -> np.ndarray:
        return (rows(g) @ columns().swapaxes(1, 2)).reshape(weight.shape)

    return _batch_first(y), dx, dw, lambda g: rows(g).reshape(o, -1).sum(axis=1)


@operation
def max_pool2d(input: Array, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0):
    """y = the largest in each window.   dL/da = g at the place where the window's largest stands first, else 0.

    Args:
        input: (n, c, height, width).
        kernel_size, stride, padding: a number, or one for each direction; the stride is the kernel's size by default.

    Raises:
        ValueError: no window fits.
    """
    window, padding = _pair(kernel_size), _pair(padding)
    stride = window if stride is None else _pair(stride)
    size = _output_size("max_pool2d", input.shape, window, stride, padding)
    if 2 * padding[0] > window[0] or 2 * padding[1] > window[1]:
        raise ValueError(f"max_pool2d: padding {padding}; expected at most half of the window {window}")
    x = _batch_last(input, padding, -np.inf)
    places = [at for _, _, at in _offsets(window, size, stride)]
    y = x[places[0]].copy()
    first = np.zeros(y.shape, np.min_scalar_type(len(places)))  # which place won; later winners have larger numbers
    for k, at in enumerate(places[1:], 1):
        np.maximum(first, (x[at] > y) * first.dtype.type(k), out=first)
        np.maximum(y, x[at], out=y)

    def back(g: np.ndarray) -> np.ndarray:
        g, out = g.transpose(1, 2, 3, 0), np.zeros_like(x)
        for k, at in enumerate(places):
            out[at] += g * (first == k)
        return _batch_first(out, padding)

    return _batch_first(y), back


@operation
def avg_pool2d(input: Array, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0):
    """y = the mean of each window, padded zeros included.   dL/da = g / (window's size), summed over a's windows.

    Args:
        input: (n, c, height, width).
        kernel_size, stride, padding: a number, or one for each direction; the stride is the kernel's size by default.

    Raises:
        ValueError: no window fits.
    """
    window, padding = _pair(kernel_size), _pair(padding)
    stride = window if stride is None else _pair(stride)
    size = _output_size("avg_pool2d", input.shape, window, stride, padding)
    x = _batch_last(input, padding)
    area = math.prod(window)
    places = [at for _, _, at in _offsets(window, size, stride)]
    y = x[places[0]] / area
    for at in places[1:]:
        y += x[at] / area

    def back(g: np.ndarray) -> np.ndarray:
        g, out = g.transpose(1, 2, 3, 0) / area, np.zeros_like(x)
        for at in places:
            out[at] += g
        return _batch_first(out, padding)

    return _batch_first(y), back
