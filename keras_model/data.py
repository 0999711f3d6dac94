"""The package's one batch order, as each backend takes it best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from minigrad.datasets import Split

# The index batches of an epoch, counted from 0.
Order = Callable[[int], list[np.ndarray]]


class CurrentEpoch(keras.callbacks.Callback):
    """Tell the data which epoch begins: the order is a function of the epoch, so a resumed run sees the same."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch


class Gather(keras.utils.PyDataset):
    """Batches by indexing arrays, for the backends that take NumPy."""

    def __init__(self, split: Split, order: Order, current: CurrentEpoch) -> None:
        super().__init__()
        self.images, self.labels = split
        self.order, self.current = order, current
        self.drawn, self.batches = 0, order(0)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self.drawn != self.current.epoch:
            self.drawn, self.batches = self.current.epoch, self.order(self.current.epoch)
        indices = self.batches[index]
        return self.images[indices], self.labels[indices]


def training_data(split: Split, order: Order, current: CurrentEpoch) -> Any:
    """What `fit` takes as x: a tf.data gather on TensorFlow, a PyDataset elsewhere."""
    if keras.backend.backend() != "tensorflow":
        return Gather(split, order, current)
    import tensorflow as tf

    first = order(0)
    images, labels = tf.constant(split.images), tf.constant(split.labels)
    sizes = tf.constant([len(batch) for batch in first], tf.int64)
    starts = tf.cumsum(sizes, exclusive=True)

    def epoch_of(_: Any) -> Any:
        # Runs anew whenever an epoch's iterator begins.
        flat = tf.numpy_function(lambda: np.concatenate(order(current.epoch)), [], tf.int64)
        flat.set_shape([None])
        return tf.data.Dataset.from_tensor_slices((starts, sizes)).map(lambda start, size: flat[start : start + size])

    def gather(indices: Any) -> Any:
        return tf.gather(images, indices), tf.gather(labels, indices)

    data = tf.data.Dataset.range(1).flat_map(epoch_of).map(gather).prefetch(8)
    return data.apply(tf.data.experimental.assert_cardinality(len(first)))
