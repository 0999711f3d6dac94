"""Convolution and pooling of images (n, channels, height, width), with the names and arguments of torch.nn.functional.

A convolution is a matrix product if each patch of the image is one column
(Chellapilla, Puri and Simard, 2006). In NumPy this is fastest if the batch is
the innermost axis in memory: a row of a patch is then one long contiguous
copy, and the whole layer one product. These rules therefore store images in
the order (channels, height, width, n) and return views of shape (n, channels,
height, width). Elementwise operations keep that memory order.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from ..operation import Array, operation

__all__ = ["avg_pool2d", "conv2d", "max_pool2d"]

Pair = int | tuple[int, int]


def _pair(name: str, x: Any) -> tuple[int, int]:
    try:
        height, width = x if isinstance(x, (tuple, list)) else (x, x)
        return operator.index(height), operator.index(width)
    except (TypeError, ValueError):
        raise ValueError(f"{name} {x!r}; expected an int or two ints, for the height and the width") from None


def _batch_last(x: np.ndarray, padding: tuple[int, int] = (0, 0), value: float = 0.0) -> np.ndarray:
    """(n, c, h, w) as contiguous (c, h, w, n), padded with `value`; no copy if it is that already."""
    x = x.transpose(1, 2, 3, 0)
    if padding == (0, 0):
        return np.ascontiguousarray(x)
    (c, h, w, n), (top, left) = x.shape, padding
    out = np.full((c, h + 2 * top, w + 2 * left, n), value, x.dtype)
    out[:, top : top + h, left : left + w] = x
    return out


def _batch_first(x: np.ndarray, padding: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The inverse of `_batch_last`: a view of (c, h, w, n) as (n, c, h, w), without the padding."""
    (top, left), (_, h, w, _) = padding, x.shape
    return x[:, top : h - top, left : w - left].transpose(3, 0, 1, 2)


def _windows(
    shape: tuple[int, ...], window: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation=(1, 1)
) -> tuple[list[int], list[tuple[slice, ...]]]:
    """The output size (height, width), and one index per offset in the window, row by row.

    The size is floor((n + 2 padding - dilation (window - 1) - 1) / stride) + 1.
    For padded x in the order (c, h, w, n), x[index] contains the elements at
    that offset of every window, (c, *size, n).

    Raises:
        ValueError: the window is larger than the image, or a setting is out of range.
    """
    if len(shape) != 4:
        raise ValueError("expected an input (n, channels, height, width)")
    settings = f"window {window}, stride {stride}, dilation {dilation}, padding {padding}"
    if min(*window, *stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(f"{settings}; expected 1 or more, padding 0 or more")
    sides = list(zip(shape[2:], window, stride, padding, dilation, strict=True))
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides]
    if min(size) < 1:
        raise ValueError(f"{settings}; expected a window that fits into {shape[2:]} with padding")
    rows, columns = (
        [slice(o * d, o * d + (m - 1) * s + 1, s) for o in range(k)]
        for m, (_, k, s, _, d) in zip(size, sides, strict=True)
    )
    return size, [(slice(None), row, column) for row in rows for column in columns]


def _patches(x: np.ndarray, offsets: list[Any], rows: slice, width: int) -> np.ndarray:
    """Copy the patches of some output rows from padded x, (c, h, w, n), to (c, offsets, rows, width, n)."""
    out = np.empty((len(x), len(offsets), rows.stop - rows.start, width, x.shape[3]), x.dtype)
    for k, index in enumerate(offsets):
        out[:, k] = x[index][:, rows]
    return out


def _add_patches(x: np.ndarray, patches: np.ndarray, offsets: list[Any], rows: slice, width: int) -> None:
    """The adjoint of `_patches`: add each element of a patch in place to the pixel that it is a copy of."""
    patches = patches.reshape(len(x), len(offsets), rows.stop - rows.start, width, x.shape[3])
    for k, index in enumerate(offsets):
        x[index][:, rows] += patches[:, k]


def _row_blocks(rows: int, bytes_per_row: int, size: int = 4 << 20) -> list[slice]:
    """The output rows in blocks whose patches have about `size` bytes.

    The patches of a block are then still in the cache when they are multiplied: 1.06 times
    faster for 128 images of 28 x 28 and windows of 5 x 5.
    """
    step = max(1, size // max(1, bytes_per_row))
    return [slice(r, min(r + step, rows)) for r in range(0, rows, step)]


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
    padding, step, dilation = _pair("padding", padding), _pair("stride", stride), _pair("dilation", dilation)
    _check_shapes(input, weight, bias, groups)
    (o, _, *window), n = weight.shape, len(input)
    size, offsets = _windows(input.shape, tuple(window), step, padding, dilation)
    x = _batch_last(input, padding)
    x_shape, weight_shape, dtype = x.shape, weight.shape, x.dtype
    matrix = weight.reshape(groups, o // groups, -1)
    columns = matrix.shape[2]
    blocks = _row_blocks(size[0], len(x) * len(offsets) * size[1] * n * x.itemsize)

    def patches(block: slice) -> np.ndarray:
        # Also computed in the backward pass: caching patches would multiply memory by the kernel area.
        return _patches(x, offsets, block, size[1]).reshape(groups, columns, -1)

    def rows(g: np.ndarray, block: slice) -> np.ndarray:
        return g.transpose(1, 2, 3, 0)[:, block].reshape(groups, o // groups, -1)

    y = np.empty((o, *size, n), np.result_type(x, weight))
    for block in blocks:
        y[:, block] = (matrix @ patches(block)).reshape(y[:, block].shape)
    if bias is not None:
        y += bias[:, None, None, None]

    def dx(g: np.ndarray) -> np.ndarray:
        out = np.zeros(x_shape, dtype)
        for block in blocks:
            _add_patches(out, matrix.swapaxes(1, 2) @ rows(g, block), offsets, block, size[1])
        return _batch_first(out, padding)

    def dw(g: np.ndarray) -> np.ndarray:
        out = sum(patches(block) @ rows(g, block).swapaxes(1, 2) for block in blocks)
        return out.swapaxes(1, 2).reshape(weight_shape)

    return _batch_first(y), dx, dw, lambda g: g.transpose(1, 2, 3, 0).reshape(o, -1).sum(axis=1)


class _Windows(NamedTuple):
    """The windows of a pooling operation."""

    size: list[int]  # of the output, (height, width)
    offsets: list[tuple[slice, ...]]  # one index per offset in the window, row by row
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


def _first_pixel(windows: _Windows) -> np.ndarray:
    """The number of the first offset of each window that is not in the padding, (height, width, 1)."""
    rows, columns = (
        np.maximum(padding - stride * np.arange(size), 0)
        for size, stride, padding in zip(windows.size, windows.stride, windows.padding, strict=True)
    )
    return (rows[:, None] * windows.shape[1] + columns)[:, :, None]


def _first_maximum(x: np.ndarray, windows: _Windows) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each window of padded x, (c, h, w, n), and the number of the offset at which it is first.

    As in torch, the last NaN of a window counts as its maximum, and padding
    is never a maximum, even if all pixels are -inf.
    """
    offsets = windows.offsets
    y = x[offsets[0]].copy()
    first = np.empty(y.shape, np.min_scalar_type(len(offsets)))
    first[...] = _first_pixel(windows)
    for k, index in enumerate(offsets[1:], 1):
        np.maximum(first, (x[index] > y) * first.dtype.type(k), out=first)
        np.maximum(y, x[index], out=y)
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
    x = _batch_last(input, windows.padding, -np.inf)
    y, first = _first_maximum(x, windows)
    shape, dtype = x.shape, x.dtype

    def back(g: np.ndarray) -> np.ndarray:
        g, out = g.transpose(1, 2, 3, 0), np.zeros(shape, dtype)
        for k, index in enumerate(windows.offsets):
            out[index] += g * (first == k)
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
    x = _batch_last(input, windows.padding)
    area = len(windows.offsets)
    shape, dtype = x.shape, x.dtype
    y = x[windows.offsets[0]] / area
    for index in windows.offsets[1:]:
        y += x[index] / area

    def back(g: np.ndarray) -> np.ndarray:
        g, out = g.transpose(1, 2, 3, 0) / area, np.zeros(shape, dtype)
        for index in windows.offsets:
            out[index] += g
        return _batch_first(out, windows.padding)

    return _batch_first(y), back
