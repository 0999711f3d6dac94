"""The package's one batch order, and how its images are moved, as each backend takes them best.

Keras has layers that move images at random, and each framework would draw
other numbers from them. Here the recipe's `augment: shift` is drawn by
`datasets.epoch_shifts`, from the seed, the epoch and the image's index
alone: so all frameworks train on the same pixels, and a resumed run too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from minigrad.datasets import MAX_SHIFT, Split, shifted

from .devices import Place

EVALUATED = 1000  # images at once
# The index batches of an epoch, counted from 0.
Order = Callable[[int], list[np.ndarray]]
# How far each image is moved in an epoch, (n, 2).
Shifts = Callable[[int], np.ndarray]


class CurrentEpoch(keras.callbacks.Callback):
    """Tell the data which epoch begins: the order is a function of the epoch, so a resumed run sees the same."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch


class Gather(keras.utils.PyDataset):
    """Batches by indexing arrays, for the backends that take NumPy."""

    def __init__(self, split: Split, order: Order, current: CurrentEpoch, shifts: Shifts | None = None) -> None:
        super().__init__()
        self.images, self.labels = split
        self.order, self.current, self.shifts = order, current, shifts
        self._draw(0)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self.drawn != self.current.epoch:
            self._draw(self.current.epoch)
        indices = self.batches[index]
        images = self.images[indices]
        return images if self.moves is None else shifted(images, self.moves[indices]), self.labels[indices]

    def _draw(self, epoch: int) -> None:
        self.drawn, self.batches = epoch, self.order(epoch)
        self.moves = None if self.shifts is None else self.shifts(epoch)


def training_data(split: Split, order: Order, current: CurrentEpoch, shifts: Shifts | None = None) -> Any:
    """What `fit` takes as x: a tf.data gather on TensorFlow, a PyDataset elsewhere.

    Args:
        split: images (n, height, width, ...) or vectors, and labels.
        order: which images each step of an epoch sees.
        current: knows the epoch.
        shifts: how far they are moved; None leaves them where they are.
    """
    if keras.backend.backend() != "tensorflow":
        return Gather(split, order, current, shifts)
    import tensorflow as tf

    first = order(0)
    images, labels = tf.constant(split.images), tf.constant(split.labels)
    sizes = tf.constant([len(batch) for batch in first], tf.int64)
    starts = tf.cumsum(sizes, exclusive=True)

    def epoch_of(_: Any) -> Any:
        # Runs anew whenever an epoch's iterator begins.
        flat = tf.numpy_function(lambda: np.concatenate(order(current.epoch)), [], tf.int64)
        flat.set_shape([None])
        batches = tf.data.Dataset.from_tensor_slices((starts, sizes)).map(
            lambda start, size: flat[start : start + size]
        )
        if shifts is None:
            return batches
        moves = tf.numpy_function(lambda: shifts(current.epoch), [], tf.int64)
        moves.set_shape([None, 2])
        return batches.map(lambda indices: (indices, tf.gather(moves, indices)))

    def gather(indices: Any, moves: Any = None) -> Any:
        batch = tf.gather(images, indices)
        return batch if moves is None else shifted_in_tensorflow(batch, moves), tf.gather(labels, indices)

    data = tf.data.Dataset.range(1).flat_map(epoch_of).map(gather).prefetch(8)
    return data.apply(tf.data.experimental.assert_cardinality(len(first)))


def validation_data(split: Split, current: CurrentEpoch, place: Place) -> Any:
    """What `fit` takes to validate on: the same batches in each epoch; None where nothing is held out."""
    if not len(split.labels):
        return None
    size = EVALUATED - EVALUATED % place.devices
    batches = [np.arange(len(split.labels))[start : start + size] for start in range(0, len(split.labels), size)]
    if keras.backend.backend() != "tensorflow":
        return Gather(split, lambda epoch: [place.share(batch) for batch in batches], current)
    import tensorflow as tf

    # Cut beforehand, since a gather would cost more than the network does.
    full = len(split.labels) // size * size
    parts = []
    if full:
        stacked = (array[:full].reshape(-1, size, *array.shape[1:]) for array in split)
        parts.append(tf.data.Dataset.from_tensor_slices(tuple(stacked)))
    if full < len(split.labels):
        parts.append(tf.data.Dataset.from_tensors(tuple(array[full:] for array in split)))
    data = parts[0] if len(parts) == 1 else parts[0].concatenate(parts[1])
    return data.apply(tf.data.experimental.assert_cardinality(len(batches)))


def shifted_in_tensorflow(images: Any, shifts: Any) -> Any:
    """`datasets.shifted` in TensorFlow's operations, so that tf.data moves images without waiting for Python."""
    import tensorflow as tf

    height, width, m = images.shape[1], images.shape[2], MAX_SHIFT
    padded = tf.pad(images, [[0, 0], [m, m], [m, m], *[[0, 0]] * (images.shape.rank - 3)])
    rows, columns = (
        m - shifts[:, i : i + 1] + tf.range(size, dtype=shifts.dtype) for i, size in ((0, height), (1, width))
    )
    return tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
