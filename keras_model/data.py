"""The batches of an epoch in the order that all packages share, in the form that is fastest on each backend.

Keras's layers for random augmentation draw from a generator that differs
between frameworks. Here `datasets.epoch_shifts` draws the recipe's
`augment: shift` from the seed, the epoch and the image's index only, so that
all frameworks, and a resumed run, train on the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from minigrad import datasets
from minigrad.datasets import MAX_SHIFT, Dataset, Split, shifted
from minigrad.recipes import Recipe

from .devices import DeviceGroup

VALIDATION_BATCH = 1000
# From an epoch, counted from 0, to its index batches.
Order = Callable[[int], list[np.ndarray]]
# From an epoch to the shift of each image in pixels, (n, 2).
Shifts = Callable[[int], np.ndarray]


class CurrentEpoch(keras.callbacks.Callback):
    """Stores the number of the current epoch, on which the order of the training data depends."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch


class Gather(keras.utils.PyDataset):
    """A data set that indexes NumPy arrays with the batches of the current epoch, for JAX and torch.

    Args:
        split: images (n, ...) and labels (n,).
        order: the index batches of an epoch.
        current: the callback that stores the current epoch.
        shifts: the shift of each image in an epoch; None (the default) moves no image.
    """

    def __init__(self, split: Split, order: Order, current: CurrentEpoch, shifts: Shifts | None = None) -> None:
        super().__init__()
        self.images, self.labels = split
        self.order, self.current, self.shifts = order, current, shifts
        self._draw(0)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self.drawn_epoch != self.current.epoch:
            self._draw(self.current.epoch)
        indices = self.batches[index]
        images = self.images[indices]
        return images if self.moves is None else shifted(images, self.moves[indices]), self.labels[indices]

    def _draw(self, epoch: int) -> None:
        self.drawn_epoch, self.batches = epoch, self.order(epoch)
        self.moves = None if self.shifts is None else self.shifts(epoch)


def batch_order(recipe: Recipe, data: Dataset, group: DeviceGroup) -> Order:
    """Return the function from an epoch to its index batches: this process's share of the batches of all packages."""
    size, batch_size, seed = len(data.train.labels), recipe.data.batch_size, recipe.seed_everything

    def order(epoch: int) -> list[np.ndarray]:
        shares = (group.share(batch) for batch in datasets.batches(size, batch_size, seed, epoch))
        return [share for share in shares if len(share)]

    return order


def epoch_shifts(recipe: Recipe, data: Dataset) -> Shifts | None:
    """Return the function that draws the shifts of an epoch, or None if the recipe has no `augment: shift`."""
    size, seed = len(data.train.labels), recipe.seed_everything
    return (lambda epoch: datasets.epoch_shifts(size, seed, epoch)) if recipe.data.augment == "shift" else None


def training_data(split: Split, order: Order, current: CurrentEpoch, shifts: Shifts | None = None) -> Any:
    """Return the training data for `fit`: a `tf.data.Dataset` on TensorFlow, a `PyDataset` on other backends.

    Args:
        split: images (n, height, width, ...) or vectors (n, features), and labels (n,).
        order: the index batches of an epoch.
        current: the callback that stores the current epoch; it must be among the callbacks of `fit`.
        shifts: the shift of each image in an epoch; None (the default) moves no image.
    """
    if keras.backend.backend() != "tensorflow":
        return Gather(split, order, current, shifts)
    import tensorflow as tf

    first = order(0)
    images, labels = tf.constant(split.images), tf.constant(split.labels)
    sizes = tf.constant([len(batch) for batch in first], tf.int64)
    starts = tf.cumsum(sizes, exclusive=True)

    def epoch_batches(_: Any) -> Any:
        # Called again whenever the iterator of an epoch is created.
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

    data = tf.data.Dataset.range(1).flat_map(epoch_batches).map(gather).prefetch(8)
    return data.apply(tf.data.experimental.assert_cardinality(len(first)))


def validation_data(split: Split, current: CurrentEpoch, group: DeviceGroup) -> Any:
    """Return the validation data for `fit`: the same batches in each epoch.

    Args:
        split: images and labels; may be empty.
        current: the callback that stores the current epoch.
        group: the devices, each of which gets an equal share of each batch.

    Returns:
        A `tf.data.Dataset` on TensorFlow, a `PyDataset` on other backends, or None if `split` is empty.
    """
    if not len(split.labels):
        return None
    size = VALIDATION_BATCH - VALIDATION_BATCH % group.devices
    batches = [np.arange(len(split.labels))[start : start + size] for start in range(0, len(split.labels), size)]
    if keras.backend.backend() != "tensorflow":
        return Gather(split, lambda epoch: [group.share(batch) for batch in batches], current)
    import tensorflow as tf

    # The batches are sliced in advance, since a gather would take longer than the network.
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
    """Return `datasets.shifted(images, shifts)`, computed by TensorFlow, so that tf.data needs no Python call."""
    import tensorflow as tf

    height, width, m = images.shape[1], images.shape[2], MAX_SHIFT
    padded = tf.pad(images, [[0, 0], [m, m], [m, m], *[[0, 0]] * (images.shape.rank - 3)])
    rows, columns = (
        m - shifts[:, i : i + 1] + tf.range(size, dtype=shifts.dtype) for i, size in ((0, height), (1, width))
    )
    return tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
