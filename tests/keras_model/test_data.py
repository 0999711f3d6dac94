"""The batches of `fit` are those of minigrad, in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_helpers import (
    BACKEND,
    once,
)

from keras_model.data import CurrentEpoch, Gather, training_data
from keras_model.model import build_model, compile_model, get_weights, set_weights
from minigrad import datasets
from minigrad.classifier import Classifier
from minigrad.datasets import Split
from minigrad.recipes import Model
from minigrad.training import build_optimizer, train_epoch

SIZE, BATCH, SEED = 23, 5, 7  # the last batch holds 3


def split(dtype: str = "uint8") -> Split:
    """Images whose pixels are their index."""
    images = np.arange(SIZE, dtype=dtype)[:, None, None] * np.ones((1, 2, 3), dtype)
    return Split(images, np.arange(SIZE, dtype=np.int64) % 4)


def order(epoch: int) -> list[np.ndarray]:
    return list(datasets.batches(SIZE, BATCH, SEED, epoch))


def drawn(data: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """The batches of one epoch as arrays."""
    if isinstance(data, Gather):
        return [data[i] for i in range(len(data))]
    return [(x.numpy(), y.numpy()) for x, y in data]


# The kinds of data for `fit` on this backend; on TensorFlow, also that of the other backends, for comparison.
KINDS = {"tf.data": training_data, "Gather": Gather} if BACKEND == "tensorflow" else {"Gather": training_data}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_each_epoch_is_images_of_the_batches(kind: str, dtype: str) -> None:
    """In order, the incomplete batch last, in every epoch, and also when a resumed run begins with a later epoch."""
    data_split, current = split(dtype), CurrentEpoch()
    data = KINDS[kind](data_split, order, current)
    for epoch in (0, 1, 2, 7, 1):
        current.on_epoch_begin(epoch)
        found, expected = drawn(data), order(epoch)
        assert [len(y) for _, y in found] == [5, 5, 5, 5, 3]
        for (x, y), indices in zip(found, expected, strict=True):
            assert x.dtype == data_split.images.dtype
            np.testing.assert_array_equal(x, data_split.images[indices])
            np.testing.assert_array_equal(y, data_split.labels[indices])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2), (1, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_are_shifted_as_in_minigrad(kind: str, shape: tuple[int, ...], dtype: str) -> None:
    """Shifts depend on the seed, the epoch and the index, also when a resumed run begins with a later epoch."""
    images = np.random.default_rng(0).integers(1, 256, (SIZE, *shape)).astype(dtype)
    data_split, current = Split(images, np.arange(SIZE, dtype=np.int64)), CurrentEpoch()
    data = KINDS[kind](data_split, order, current, lambda epoch: datasets.epoch_shifts(SIZE, SEED, epoch))
    for epoch in (0, 1, 7, 1):
        current.on_epoch_begin(epoch)
        shifts = datasets.epoch_shifts(SIZE, SEED, epoch)
        for (x, y), indices in zip(drawn(data), order(epoch), strict=True):
            assert x.dtype == images.dtype
            np.testing.assert_array_equal(x, datasets.shifted(images[indices], shifts[indices]))
            np.testing.assert_array_equal(y, indices)


@pytest.mark.parametrize("kind", KINDS)
def test_each_epoch_has_another_order_and_contains_each_image_once(kind: str) -> None:
    """The order is a permutation."""
    current = CurrentEpoch()
    data = KINDS[kind](split(), order, current)
    seen = []
    for epoch in (0, 1):
        current.on_epoch_begin(epoch)
        seen.append(np.concatenate([x[:, 0, 0] for x, _ in drawn(data)]))
        assert sorted(seen[-1]) == list(range(SIZE))
    assert not np.array_equal(*seen)


@pytest.mark.parametrize("kind", KINDS)
def test_the_length_is_the_number_of_batches(kind: str) -> None:
    """Keras reads the length before the first epoch."""
    data = KINDS[kind](split(), order, CurrentEpoch())
    assert len(data) == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("begin", [pytest.param(0, marks=once), 2])
def test_fit_trains_on_these_batches(kind: str, begin: int) -> None:
    """`fit` from epoch `begin` results in the weights of a NumPy loop over the same batches."""
    rng = np.random.default_rng(0)
    data_split = Split(rng.normal(0, 1, (SIZE, 4)).astype(np.float32), rng.integers(0, 3, SIZE))
    model, current = Model(hidden=[6], momentum=0.9), CurrentEpoch()
    ours, net = Classifier(model, (4,), 3, 1.0), build_model(model, (4,), 3, 1.0)
    set_weights(net, {name: p.data for name, p in ours.named_parameters()})
    compile_model(net, model, 15)
    data = KINDS[kind](data_split, order, current)
    net.fit(data, epochs=begin + 3, initial_epoch=begin, shuffle=False, verbose=0, callbacks=[current])
    optimizer = build_optimizer(ours.parameters(), model)
    for epoch in range(begin, begin + 3):
        train_epoch(ours, optimizer, *data_split, order(epoch))
    for name, p in ours.named_parameters():
        np.testing.assert_allclose(get_weights(net)[name], p.data, atol=2e-5, err_msg=name)
