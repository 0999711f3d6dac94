"""Operations that move elements without changing them; their pullbacks move the gradients back. Names as in NumPy."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..operation import Array, operation
from ..tape import Node, unwrap

__all__ = [
    "broadcast_to", "concatenate", "embedding", "expand_dims", "flatten", "flip", "getitem", "pad", "reshape", "roll", "split",
    "squeeze", "stack", "swapaxes", "take", "tile", "transpose", "tril", "triu",
]  # fmt: skip

Shape = int | tuple[int, ...]


def _check_axes(a: np.ndarray, n: int) -> None:
    if a.ndim < n:
        raise ValueError(f"expected at least {n} axis")


def _axis_index(name: str, axis: Any, ndim: int) -> int:
    """`axis` from 0 to ndim - 1."""
    try:
        return normalize_axis_index(axis, ndim, name)
    except TypeError:
        raise TypeError(f"{name}: axis {axis!r}; expected an int") from None


@operation
def reshape(a: Array, shape: Shape):
    """y = a, reshaped to `shape`.   dL/da = g in a's shape."""
    before = a.shape
    return np.reshape(a, shape), lambda g: g.reshape(before)


@operation
def flatten(a: Array, start_dim: int = 0, end_dim: int = -1):
    """y = a with the axes from start_dim to end_dim merged, as in torch.flatten.   dL/da = g in a's shape."""
    first, last = (normalize_axis_index(i, max(a.ndim, 1)) for i in (start_dim, end_dim))
    if first > last:
        raise ValueError(f"start_dim {start_dim} comes after end_dim {end_dim}; expected start_dim <= end_dim")
    before = a.shape
    shape = (*before[:first], math.prod(before[first : last + 1]), *before[last + 1 :])
    return np.reshape(a, shape), lambda g: g.reshape(before)


@operation
def squeeze(a: Array, axis: Shape | None = None):
    """y = a without its axes of size 1, or without those of `axis`.   dL/da = g in a's shape."""
    before = a.shape
    return np.squeeze(a, axis), lambda g: g.reshape(before)


@operation
def expand_dims(a: Array, axis: Shape):
    """y = a with new axes of size 1.   dL/da = g in a's shape."""
    before = a.shape
    return np.expand_dims(a, axis), lambda g: g.reshape(before)


@operation
def transpose(a: Array, axes: tuple[int, ...] | None = None):
    """y = a with its axes permuted, or reversed without `axes`.   dL/da = g with the inverse permutation."""
    back = None if axes is None else np.argsort([i % max(a.ndim, 1) for i in axes])
    return np.transpose(a, axes), lambda g: g.transpose(back)


@operation
def swapaxes(a: Array, axis1: int, axis2: int):
    """y = a with two axes exchanged.   dL/da = g with the same axes exchanged."""
    return np.swapaxes(a, axis1, axis2), lambda g: np.swapaxes(g, axis1, axis2)


@operation
def broadcast_to(a: Array, shape: Shape):
    """y = a repeated to `shape`.   dL/da = g summed over the copies, by `unbroadcast` in the tape."""
    return np.broadcast_to(a, shape), lambda g: g


@operation
def tile(a: Array, reps: Shape):
    """y = a repeated reps[i] times along axis i.   dL/da = g summed over the copies."""
    y = np.tile(a, reps)
    times: Any = (reps,) if np.ndim(reps) == 0 else tuple(reps)  # type: ignore[arg-type]
    times = (1,) * (y.ndim - len(times)) + times
    ndim, before = y.ndim, a.shape
    sizes = (1,) * (ndim - a.ndim) + before
    pairs = [n for pair in zip(times, sizes, strict=True) for n in pair]
    return y, lambda g: g.reshape(pairs).sum(axis=tuple(range(0, 2 * ndim, 2))).reshape(before)


@operation
def flip(a: Array, axis: Shape | None = None):
    """y = a with the order along `axis` reversed.   dL/da = g reversed."""
    return np.flip(a, axis), lambda g: np.flip(g, axis)


@operation
def roll(a: Array, shift: Shape, axis: Shape | None = None):
    """y = a with its elements shifted cyclically by `shift`.   dL/da = g shifted by -shift."""
    return np.roll(a, shift, axis), lambda g: np.roll(g, np.negative(shift), axis)


@operation
def tril(a: Array, k: int = 0):
    """y = a with zeros above the k-th diagonal of the last two axes.   dL/da = g with zeros there."""
    _check_axes(a, 1)
    return np.tril(a, k), lambda g: np.tril(g, k)


@operation
def triu(a: Array, k: int = 0):
    """y = a with zeros below the k-th diagonal of the last two axes.   dL/da = g with zeros there."""
    _check_axes(a, 1)
    return np.triu(a, k), lambda g: np.triu(g, k)


@operation
def pad(a: Array, pad_width: Any, constant_values: float = 0.0):
    """y = a with a border of `constant_values`; `pad_width` as in numpy.pad.   dL/da = g without the border."""
    widths = np.broadcast_to(pad_width, (a.ndim, 2))
    inside = tuple(slice(before, before + n) for (before, _), n in zip(widths, a.shape, strict=True))
    return np.pad(a, pad_width, constant_values=constant_values), lambda g: g[inside]


@operation
def _concatenate(*arrays: Array, axis: int):
    def part(start: int, stop: int) -> Any:
        return lambda g: g[(slice(None),) * (axis % g.ndim) + (slice(start, stop),)]

    y = np.concatenate(arrays, axis)
    ends = np.cumsum([0, *(np.shape(a)[axis] for a in arrays)])
    return y, *map(part, ends[:-1], ends[1:])


@operation
def _stack(*arrays: Array, axis: int):
    def part(i: int) -> Any:
        return lambda g: np.moveaxis(g, axis, 0)[i]

    dtype = np.result_type(*arrays) if arrays else None
    return np.stack(arrays, axis, dtype=dtype), *map(part, range(len(arrays)))


def _listed(name: str, arrays: Any) -> list[Any]:
    """The items of a sequence of arrays; also the rows of one array."""
    if np.ndim(unwrap(arrays)) == 0 if isinstance(arrays, (Node, np.ndarray)) else not hasattr(arrays, "__iter__"):
        raise TypeError(f"{name}: {arrays!r}; expected a sequence of arrays")
    return list(arrays)


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Any:
    """y = the arrays joined along `axis`, or flattened and joined if it is None.   dL/da = the part of g at a's position."""
    arrays = _listed("concatenate", arrays)
    if axis is None:
        return _concatenate(*(reshape(a, -1) for a in arrays), axis=0)
    return _concatenate(*arrays, axis=axis)


def stack(arrays: Sequence[Any], axis: int = 0) -> Any:
    """y = the arrays joined along a new axis.   dL/da = the part of g at a's position."""
    return _stack(*_listed("stack", arrays), axis=axis)


@operation
def getitem(a: Array, index: Any):
    """y = a[index].   dL/da = g added at each element that was read, once per read, and 0 elsewhere."""

    shape = a.shape

    def back(g: np.ndarray) -> np.ndarray:
        out = np.zeros(shape, g.dtype)
        parts = index if isinstance(index, tuple) else (index,)
        if all(part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)) for part in parts):
            out[index] = g  # basic indexing reads no element twice
        else:
            np.add.at(out, index, g)
        return out

    return a[index], back


def take(a: Any, indices: Any, axis: int | None = None) -> Any:
    """y = a at `indices` along `axis`, or of the flattened a if it is None.   dL/da = g added at each element that was read.

    This is a `getitem`.
    """
    index = np.asarray(unwrap(indices))
    if axis is None:
        return getitem(reshape(a, -1), index)
    return getitem(a, (slice(None),) * _axis_index("take", axis, np.ndim(unwrap(a))) + (index,))


def embedding(input: Any, weight: Any) -> Any:
    """y = weight[input], the rows of a table, as in torch.   dL/dweight = g added at each row that was read.

    This is a `getitem`.

    Args:
        input: integers from 0 to m - 1, of any shape.
        weight: (m, width).

    Raises:
        ValueError: `input` has another dtype or an index out of range, or weight is not a table.
    """
    index, shape = np.asarray(unwrap(input)), np.shape(unwrap(weight))
    if len(shape) < 2:
        raise ValueError(f"embedding: weight {shape}; expected (m, width)")
    rows = shape[0]
    if index.dtype.kind not in "iu":
        raise ValueError(f"embedding: input of dtype {index.dtype}; expected integers")
    if index.size and not 0 <= index.min() <= index.max() < rows:
        raise ValueError(f"embedding: indices from {index.min()} to {index.max()}; expected 0 to {rows - 1}")
    return getitem(weight, index)


def split(a: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Any]:
    """The list of the parts y of a along `axis`, as in numpy.split.   dL/da = g at the position of each part.

    Each part is a `getitem`.

    Args:
        a: an array of any shape.
        indices_or_sections: the number of equal parts, or the indices at which to split.
        axis: the axis to split.

    Raises:
        ValueError: the size of `axis` is not a multiple of the number of parts.
    """
    shape = np.shape(unwrap(a))
    axis = _axis_index("split", axis, len(shape))
    n = shape[axis]
    cuts: Any = indices_or_sections
    try:
        cuts = operator.index(cuts) if np.ndim(cuts) == 0 else [operator.index(i) for i in cuts]
    except TypeError:
        raise TypeError(f"split: {cuts!r}; expected the number of parts or a sequence of indices") from None
    if isinstance(cuts, int):
        if cuts < 1 or n % cuts:
            raise ValueError(f"split: axis {axis} of {shape} has size {n}; expected a multiple of {cuts}")
        cuts = range(n // cuts, n, n // cuts) if n else [0] * (cuts - 1)
    before = (slice(None),) * axis
    return [getitem(a, (*before, slice(i, j))) for i, j in zip([0, *cuts], [*cuts, n], strict=True)]
