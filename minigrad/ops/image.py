"""Convolution and pooling: torch.nn.functional's names and arguments, images as (n, channels, height, width).

A convolution is a matrix product once each patch of the image is a column
(Chellapilla, Puri and Simard, 2006). In NumPy it is quick if the batch is
the innermost axis in memory: then a patch's row is one long run to copy, and
the whole layer one product. So these rules keep their images in the order
(channels, height, width, n) and hand out views that are (n, channels,
height, width) to the reader; elementwise operations keep that order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operation import Array, operation

__all__ = ["avg_pool2d", "conv2d", "max_pool2d"]

Pair = int | tuple[int, int]
BLOCK = 4 << 20  # bytes of patches at a time, so that they are still in the cache when they are multiplied


def _pair(x: Any) -> tuple[int, int]:
    height, width = (x, x) if np.ndim(x) == 0 else x
    return int(height), int(width)


def _batch_last(x: np.ndarray, padding: tuple[int, int] = (0, 0), value: float = 0.0) -> np.ndarray:
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


def _windows(
    shape: tuple[int, ...], window: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation=(1, 1)
) -> tuple[list[int], list[tuple[slice, ...]]]:
    """How often the window fits each way, and an index for each place in it, row by row.

    The size is floor((n + 2 padding - dilation (window - 1) - 1) / stride) + 1.
    With x padded and in the order (c, h, w, n), x[index] is what stands at
    that place of every window, (c, *size, n).

    Raises:
        ValueError: the window fits nowhere, or a setting makes no sense.
    """
    if len(shape) != 4:
        raise ValueError("expected an input (n, channels, height, width)")
    settings = f"window {window}, stride {stride}, dilation {dilation}, padding {padding}"
    if min(*window, *stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(f"{settings}; expected 1 or more, padding 0 or more")
    sides = list(zip(shape[2:], window, stride, padding, dilation, strict=True))
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides]
    if min(size) < 1:
        raise ValueError(f"{settings}; expected a window that fits into {shape[2:]}, padded")
    rows, columns = (
        [slice(o * d, o * d + (m - 1) * s + 1, s) for o in range(k)]
        for m, (_, k, s, _, d) in zip(size, sides, strict=True)
    )
    return size, [(slice(None), row, column) for row in rows for column in columns]


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
    padding = _pair(padding)
    if weight.ndim != 4 or input.ndim != 4 or input.shape[1] != weight.shape[1] * groups or len(weight) % groups:
        raise ValueError(f"expected (n, c, height, width) and (o, c / groups, height, width) with groups = {groups}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"expected a bias of {weight.shape[:1]}")
    (o, _, *window), n = weight.shape, len(input)
    size, places = _windows(input.shape, tuple(window), _pair(stride), padding, _pair(dilation))
    x = _batch_last(input, padding)
    matrix = weight.reshape(groups, o // groups, -1)
    step = max(1, BLOCK // max(1, len(x) * len(places) * size[1] * n * x.itemsize))
    blocks = [slice(r, min(r + step, size[0])) for r in range(0, size[0], step)]  # of output rows

    def patches(block: slice) -> np.ndarray:
        # Made anew on the way back: copying is quick, and kept they would be as many images as the window has places.
        out = np.empty((len(x), len(places), block.stop - block.start, size[1], n), x.dtype)
        for k, at in enumerate(places):
            out[:, k] = x[at][:, block]
        return out.reshape(groups, matrix.shape[2], -1)

    def rows(g: np.ndarray, block: slice) -> np.ndarray:
        return g.transpose(1, 2, 3, 0)[:, block].reshape(groups, o // groups, -1)

    y = np.empty((o, *size, n), np.result_type(x, weight))
    for block in blocks:
        y[:, block] = (matrix @ patches(block)).reshape(y[:, block].shape)
    if bias is not None:
        y += bias[:, None, None, None]

    def dx(g: np.ndarray) -> np.ndarray:
        out = np.zeros_like(x)
        for block in blocks:
            d = (matrix.swapaxes(1, 2) @ rows(g, block)).reshape(
                len(x), len(places), block.stop - block.start, size[1], n
            )
            for k, at in enumerate(places):
                out[at][:, block] += d[:, k]
        return _batch_first(out, padding)

    def dw(g: np.ndarray) -> np.ndarray:
        out = sum(patches(block) @ rows(g, block).swapaxes(1, 2) for block in blocks)
        return out.swapaxes(1, 2).reshape(weight.shape)

    return _batch_first(y), dx, dw, lambda g: g.transpose(1, 2, 3, 0).reshape(o, -1).sum(axis=1)


def _pool_windows(
    input: np.ndarray, kernel_size: Pair, stride: Pair | None, padding: Pair, value: float
) -> tuple[np.ndarray, list[tuple[slice, ...]], tuple[int, int]]:
    """(x in the order (c, h, w, n), padded with `value`; an index for each place in the window; the padding)."""
    window, padding = _pair(kernel_size), _pair(padding)
    _, places = _windows(input.shape, window, window if stride is None else _pair(stride), padding)
    if 2 * padding[0] > window[0] or 2 * padding[1] > window[1]:
        raise ValueError(f"padding {padding}; expected at most half of the window {window}")
    return _batch_last(input, padding, value), places, padding


@operation
def max_pool2d(input: Array, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0):
    """y = the largest in each window.   dL/da = g at the place where the window's largest stands first, else 0.

    Args:
        input: (n, c, height, width).
        kernel_size, stride, padding: a number, or one for each direction; the stride is the kernel's size by default.

    Raises:
        ValueError: no window fits.
    """
    x, places, padding = _pool_windows(input, kernel_size, stride, padding, -np.inf)
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
    x, places, padding = _pool_windows(input, kernel_size, stride, padding, 0.0)
    area = len(places)
    y = x[places[0]] / area
    for at in places[1:]:
        y += x[at] / area

    def back(g: np.ndarray) -> np.ndarray:
        g, out = g.transpose(1, 2, 3, 0) / area, np.zeros_like(x)
        for at in places:
            out[at] += g
        return _batch_first(out, padding)

    return _batch_first(y), back
