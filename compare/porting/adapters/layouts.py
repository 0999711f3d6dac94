"""The order of axes and the padding of images and sequences, converted to PyTorch's conventions.

Images are (n, c, h, w), sequences of convolutions and pools (n, c, length), and
sequences of linear, embedding and attention layers (n, length, d).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import Layout

# Layers whose features are on the last axis in both frameworks.
FEATURES_LAST = ("linear", "layer_norm", "embedding", "attention", "LSTM", "GRU", "SimpleRNN", "EinsumDense")
Padding = list[list[int]]


@dataclass(frozen=True)
class Form:
    """How the arrays of one layer differ from PyTorch's layout.

    Attributes:
        channels_last: numbers of dimensions of the arrays whose channels are on the last axis instead of axis 1.
        batch_axis: the axis of the batch: 0, or 1 in the sequences (length, n, d) of PyTorch.
    """

    channels_last: frozenset[int] = frozenset()
    batch_axis: int = 0

    def canonical(self, array: np.ndarray) -> np.ndarray:
        """Return an array of the layer in PyTorch's layout, with the batch on axis 0."""
        if array.ndim in self.channels_last:
            array = np.moveaxis(array, -1, 1)
        return array.swapaxes(0, 1) if self.batch_axis and array.ndim > 1 else array

    def native(self, array: np.ndarray) -> np.ndarray:
        """Return an array in PyTorch's layout as the layer takes it."""
        if self.batch_axis and array.ndim > 1:
            array = array.swapaxes(0, 1)
        return np.moveaxis(array, 1, -1) if array.ndim in self.channels_last else array

    def canonical_axis(self, axis: int, dimensions: int) -> int:
        """Return the index in PyTorch's layout, from 0, of an axis of an array with this number of dimensions."""
        axes = self.canonical(np.empty(tuple(range(1, dimensions + 1)))).shape
        return axes.index(axis % dimensions + 1)


class FormTracker:
    """Follows the layers of a model in the order in which they run, and returns the form of their arrays.

    A layer without a data format of its own, such as an activation, passes on
    the form of the layer before it.

    Args:
        images: the layout of the model's images.
        sequences: the layout of the model's sequences; "channels_first" also for (n, length, d).
    """

    def __init__(self, images: Layout, sequences: Layout) -> None:
        self.channels_last = {
            3: sequences == "channels_last",
            4: images == "channels_last",
            5: images == "channels_last",
        }

    def form(self, kind: str = "", dimensions: Iterable[int] = (), data_format: Layout | None = None) -> Form:
        """Return the form of the arrays of the next layer; without arguments, that of the last one.

        Args:
            kind: of the layer; see `model.KINDS`.
            dimensions: the number of dimensions of its inputs and its output.
            data_format: the setting of a layer for images or for sequences with channels; None for other layers.
        """
        for n in dimensions:
            if data_format is not None:
                self.channels_last[n] = data_format == "channels_last"
            elif kind in FEATURES_LAST:
                self.channels_last[n] = False
        return Form(frozenset(n for n, last in self.channels_last.items() if last and n > 2))


def per_dimension(value: int | Sequence[int], dimensions: int) -> list[int]:
    """Return a setting such as a stride for each dimension."""
    return [value] * dimensions if isinstance(value, int) else [int(v) for v in value]


def same_padding(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Padding:
    """Return the padding "same" of TensorFlow: the output has size ceil(size / stride), and an odd pixel is added behind.

    Args:
        sizes: the size of the input in each dimension.
        kernel, stride, dilation: in each dimension.

    Returns:
        The padding before and after, for each dimension.
    """
    padding = []
    for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        padding.append([total // 2, total - total // 2])
    return padding


def tensors_in(structure: Any, is_tensor: Any) -> list[Any]:
    """Return the tensors in nested lists, tuples and dictionaries, in order."""
    if is_tensor(structure):
        return [structure]
    if isinstance(structure, dict):
        structure = list(structure.values())
    if isinstance(structure, (list, tuple)):
        return [tensor for part in structure for tensor in tensors_in(part, is_tensor)]
    return []


def without_pixels(kind: str, output: np.ndarray) -> np.ndarray:
    """Return the output of a global pool as (n, c), with or without axes of size 1; that of other layers as it is."""
    return output.reshape(output.shape[:2]) if kind in ("global_avg_pool", "global_max_pool") else output
