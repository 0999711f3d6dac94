"""Convolution and pooling of images (n, channels, height, width), with the names and arguments of torch.nn.functional.

A convolution is a matrix product if each patch of the image is one column
(Chellapilla, Puri and Simard, 2006). A pixel lies in as many patches as the
kernel has elements, so copying the patches takes longer than the product.
These rules copy each pixel only once per column of the kernel, so that a patch
becomes (kernel height) consecutive rows (MEC; Cho and Brand, 2017). They store
images in the order (height, channels, width, n): the patches of one output row
are then one contiguous matrix, which needs no further copy. The results are
views of shape (n, channels, height, width); elementwise operations keep their
memory order.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..operation import Array, operation

__all__ = ["avg_pool2d", "conv2d", "max_pool2d"]

Pair = int | tuple[int, int]


def _pair(name: str, x: Any) -> tuple[int, int]:
    try:
        height, width = x if isinstance(x, (tuple, list)) else (x, x)
        return operator.index(height), operator.index(width)
    except (TypeError, ValueError):
        raise ValueError(f"{name} {x!r}; expected an int or two ints, for the height and the width") from None


def _rows_first(x: np.ndarray, padding: tuple[int, int] = (0, 0), value: float = 0.0) -> np.ndarray:
    """(n, c, h, w) as contiguous (h, c, w, n), padded with `value`; no copy if it is that already."""
    x = x.transpose(2, 1, 3, 0)
    if padding == (0, 0):
        return np.ascontiguousarray(x)
    (h, c, w, n), (top, left) = x.shape, padding
    out = np.full((h + 2 * top, c, w + 2 * left, n), value, x.dtype)
    out[top : top + h, :, left : left + w] = x
    return out


def _batch_first(x: np.ndarray, padding: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The inverse of `_rows_first`: a view of (h, c, w, n) as (n, c, h, w), without the padding."""
    (top, left), (h, _, w, _) = padding, x.shape
    return x[top : h - top, :, left : w - left].transpose(3, 1, 0, 2)


@functools.lru_cache  # a training repeats the same few calls, which take 20 us each
def _windows(
    shape: tuple[int, ...], window: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation=(1, 1)
) -> tuple[tuple[int, ...], tuple[tuple[slice, ...], ...]]:
    """The output size (height, width), and one index per offset in the window, row by row.

    The size is floor((n + 2 padding - dilation (window - 1) - 1) / stride) + 1.
    For padded x in the order (h, c, w, n), x[index] contains the elements at
    that offset of every window, (height, c, width, n).

    Raises:
        ValueError: the window is larger than the image, or a setting is out of range.
    """
    if len(shape) != 4:
        raise ValueError("expected an input (n, channels, height, width)")
    settings = f"window {window}, stride {stride}, dilation {dilation}, padding {padding}"
    if min(*window, *stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(f"{settings}; expected 1 or more, padding 0 or more")
    sides = list(zip(shape[2:], window, stride, padding, dilation, strict=True))
    size = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides)
    if min(size) < 1:
        raise ValueError(f"{settings}; expected a window that fits into {shape[2:]} with padding")
    rows, columns = (
        [slice(o * d, o * d + (m - 1) * s + 1, s) for o in range(k)]
        for m, (_, k, s, _, d) in zip(size, sides, strict=True)
    )
    return size, tuple((row, slice(None), column) for row in rows for column in columns)


def _grouped(x: np.ndarray, groups: int) -> np.ndarray:
    """(h, c, w, n) as (groups, h, c / groups, w, n); a view."""
    h, c, w, n = x.shape
    return x.reshape(h, groups, c // groups, w, n).swapaxes(0, 1)


def _copied_columns(x: np.ndarray, columns: list[slice]) -> np.ndarray:
    """(groups, h, c, w, n) as contiguous (groups, h, c, columns of the kernel, width of the output, n)."""
    if len(columns) == 1:
        return np.ascontiguousarray(x[:, :, :, None, columns[0]])
    return np.stack([x[:, :, :, column] for column in columns], axis=3)


def _stacked_rows(x: np.ndarray, rows: int, window: int, stride: int = 1, dilation: int = 1) -> np.ndarray:
    """The rows of each window, one below the other: (groups, h, ..., w, n) as (groups, rows, window ..., w n).

    A view of a contiguous array, unless the rows of a window have gaps (dilation > 1).
    """
    group, row, *inner = x.strides
    shape = len(x), rows, window, *x.shape[2:]
    windows = as_strided(x, shape, (group, row * stride, row * dilation, *inner), writeable=False)
    return windows.reshape(len(x), rows, math.prod(shape[2:-2]), math.prod(shape[-2:]))


def _check_shapes(input: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, groups: int) -> None:
    if weight.ndim != 4 or input.ndim != 4 or input.shape[1] != weight.shape[1] * groups or len(weight) % groups:
        raise ValueError(f"expected (n, c, height, width) and (o, c / groups, height, width) with groups = {groups}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"expected a bias of {weight.shape[:1]}")


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
    """y_nohw = b_o + sum over c, i, j of W_ocij x_n,c,(h stride + i dilation),(w stride + j dilation), x zero-padded.

    With the patches as columns of X, y = W X, so dL/dW = g X^T; dL/dX = W^T g,
    added at the pixels that were copied; dL/db = sum of g over all axes but o.

    Args:
        input: x, (n, c, height, width).
        weight: W, (o, c / groups, kernel height, kernel width).
        bias: b, (o,); by default none.
        stride: an int, or one for the height and one for the width.
        padding: likewise.
        dilation: likewise.
        groups: the number of channel groups; each is the input of o / groups outputs.

    Raises:
        ValueError: the shapes don't match.
    """
    padding, stride, dilation = _pair("padding", padding), _pair("stride", stride), _pair("dilation", dilation)
    _check_shapes(input, weight, bias, groups)
    n, _, h, _ = input.shape
    o, c, *window = weight.shape
    (height, width), offsets = _windows(input.shape, tuple(window), stride, padding, dilation)
    columns = [column for _, _, column in offsets[: window[1]]]
    x = _grouped(_rows_first(input, padding), groups)
    x_shape, weight_shape, dtype = x.shape, weight.shape, x.dtype
    kernels = weight.reshape(groups, 1, o // groups, c, *window)  # 1 is for the rows of the output

    def by_row(g: np.ndarray) -> np.ndarray:
        return _grouped(g.transpose(2, 1, 3, 0), groups)

    # Per output row a matrix (kernel height c kernel width, width n). It is kept for the backward pass, which takes (kernel
    # width) times the memory of x; to copy it again would take 5 % of a training step.
    patches = _stacked_rows(_copied_columns(x, columns), height, window[0], stride[0], dilation[0])
    matrices = kernels.transpose(0, 1, 2, 4, 3, 5).reshape(groups, 1, o // groups, -1)
    y = (matrices @ patches).swapaxes(0, 1).reshape(height, o, width, n)
    if bias is not None:
        y += bias[:, None, None]

    def dx(g: np.ndarray) -> np.ndarray:
        # Row r of x was multiplied by row i of the kernel for the output row r - i, so the kernel's rows are reversed.
        # With a dilation it is r - i dilation; with a stride there are rows of zeros between those of g.
        above = (window[0] - 1) * dilation[0]
        rows = np.zeros((groups, above + x_shape[1], o // groups, width, n), dtype)
        rows[:, above :: stride[0]][:, :height] = by_row(g)
        rows = _stacked_rows(rows[:, padding[0] :], h, window[0], 1, dilation[0])
        copies = kernels[:, :, :, :, ::-1].transpose(0, 1, 3, 5, 4, 2).reshape(groups, 1, c * window[1], -1) @ rows
        copies = copies.reshape(groups, h, c, window[1], width, n)
        out = np.zeros((h, groups * c, x_shape[3], n), dtype)
        for j, column in enumerate(columns):
            _grouped(out, groups)[:, :, :, column] += copies[:, :, :, j]
        return _batch_first(out, (0, padding[1]))

    def dw(g: np.ndarray) -> np.ndarray:
        rows = by_row(g).reshape(groups, height, o // groups, width * n)
        out = (patches @ rows.swapaxes(2, 3)).sum(axis=1)
        return out.reshape(groups, window[0], c, window[1], -1).transpose(0, 4, 2, 1, 3).reshape(weight_shape)

    return _batch_first(y), dx, dw, lambda g: by_row(g).sum(axis=(1, 3, 4)).reshape(o)


class _Windows(NamedTuple):
    """The windows of a pooling operation."""

    size: tuple[int, ...]  # of the output, (height, width)
    offsets: tuple[tuple[slice, ...], ...]  # one index per offset in the window, row by row
    shape: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


def _pool_windows(input: np.ndarray, kernel_size: Pair, stride: Pair | None, padding: Pair) -> _Windows:
    window, padding = _pair("kernel_size", kernel_size), _pair("padding", padding)
    step = window if stride is None else _pair("stride", stride)
    size, offsets = _windows(input.shape, window, step, padding)
    if 2 * padding[0] > window[0] or 2 * padding[1] > window[1]:
        raise ValueError(f"padding {padding}; expected at most half of the window {window}")
    return _Windows(size, offsets, window, step, padding)


def _first_pixel(windows: _Windows) -> np.ndarray | int:
    """The number of the first offset of each window that is not in the padding, (height, 1, width, 1)."""
    if windows.padding == (0, 0):
        return 0
    rows, columns = (
        np.maximum(padding - stride * np.arange(size), 0)
        for size, stride, padding in zip(windows.size, windows.stride, windows.padding, strict=True)
    )
    return rows[:, None, None, None] * windows.shape[1] + columns[:, None]


def _first_maximum(x: np.ndarray, windows: _Windows) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each window of padded x, (h, c, w, n), and the number of the offset at which it is first.

    As in torch, the last NaN of a window counts as its maximum, and padding
    is never a maximum, even if all pixels are -inf.
    """
    offsets = windows.offsets
    y = x[offsets[0]].copy()
    first = np.empty(y.shape, np.min_scalar_type(len(offsets)))
    first[...] = _first_pixel(windows)
    for k, index in enumerate(offsets[1:], 1):
        pixels = x[index].copy()  # contiguous, and used twice
        np.maximum(first, (pixels > y) * first.dtype.type(k), out=first)
        np.maximum(y, pixels, out=y)
    if np.isnan(y).any():
        for k, index in enumerate(offsets):
            first[np.isnan(x[index])] = k
    return y, first


@operation
def max_pool2d(input: Array, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0):
    """y = the maximum of each window.   dL/da = g at the first maximum of each window (the last NaN), else 0.

    Args:
        input: (n, c, height, width).
        kernel_size: an int, or one for the height and one for the width.
        stride: likewise; by default kernel_size.
        padding: likewise.

    Raises:
        ValueError: the window is larger than the padded image, or a setting is out of range.
    """
    windows = _pool_windows(input, kernel_size, stride, padding)
    x = _rows_first(input, windows.padding, -np.inf)
    y, first = _first_maximum(x, windows)
    shape, dtype, overlap = (
        x.shape,
        x.dtype,
        windows.stride[0] < windows.shape[0] or windows.stride[1] < windows.shape[1],
    )

    def back(g: np.ndarray) -> np.ndarray:
        g, out = g.transpose(2, 1, 3, 0), np.zeros(shape, dtype)
        for k, index in enumerate(windows.offsets):
            if overlap:
                out[index] += g * (first == k)
            else:  # takes half the time
                np.multiply(g, first == k, out=out[index])
        return _batch_first(out, windows.padding)

    return _batch_first(y), back


@operation
def avg_pool2d(input: Array, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0):
    """y = the mean of each window, including padded zeros.   dL/da = g / (window area), summed over a's windows.

    Args:
        input: (n, c, height, width).
        kernel_size: an int, or one for the height and one for the width.
        stride: likewise; by default kernel_size.
        padding: likewise.

    Raises:
        ValueError: the window is larger than the padded image, or a setting is out of range.
    """
    windows = _pool_windows(input, kernel_size, stride, padding)
    x = _rows_first(input, windows.padding)
    area = len(windows.offsets)
    shape, dtype = x.shape, x.dtype
    y = x[windows.offsets[0]] / area
    for index in windows.offsets[1:]:
        y += x[index] / area

    def back(g: np.ndarray) -> np.ndarray:
        g, out = g.transpose(2, 1, 3, 0) / area, np.zeros(shape, dtype)
        for index in windows.offsets:
            out[index] += g
        return _batch_first(out, windows.padding)

    return _batch_first(y), back
