"""The files of the TensorBoard callback, read by TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import once
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_model.callbacks import TensorBoard
from keras_model.model import build_model, get_weights
from minigrad.recipes import Model
from minigrad.runs import Epoch

pytestmark = once


class Rows(keras.callbacks.Callback):
    """Collects an `Epoch` per epoch, as RunFolder does, and the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs, self.weights = list[Epoch](), list[dict[str, np.ndarray]]()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        loss, accuracy, *validation = (logs.get(name) for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
        self.epochs.append(Epoch(epoch + 1, loss, accuracy, *validation, learning_rate=0.1, seconds=1.0))
        self.weights.append(get_weights(self.model))


class Killed(keras.callbacks.Callback):
    """Ends training with an exception, as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture
def net() -> keras.Model:
    """A network with four inputs and three classes."""
    net = build_model(Model(hidden=[5]), (4,), 3, 1.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return net


def train(net: keras.Model, rows: Rows, until: int, *more: keras.callbacks.Callback, validation: bool = True) -> None:
    """Train the epochs that follow those in `rows`."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)).astype(np.float32), rng.integers(0, 3, 40)
    net.fit(
        x,
        y,
        epochs=until,
        initial_epoch=len(rows.epochs),
        verbose=0,
        validation_data=(x[:10], y[:10]) if validation else None,
        callbacks=[rows, TensorBoard(Path("out"), rows.epochs), *more],
    )


def read(part: str) -> EventAccumulator:
    events = EventAccumulator(str(Path("out/tensorboard", part)), {"histograms": 0})
    events.Reload()
    return events


def same_as(rows: Rows) -> None:
    """Check that each epoch is in the files once, with its metrics and weights."""
    for part, tag, column in (
        ("train", "loss", "train_loss"),
        ("train", "accuracy", "train_accuracy"),
        ("train", "learning_rate", "learning_rate"),
        ("validation", "loss", "val_loss"),
        ("validation", "accuracy", "val_accuracy"),
    ):
        found = [(point.step, point.value) for point in read(part).Scalars(f"epoch_{tag}")]
        assert found == [(e.epoch - 1, pytest.approx(getattr(e, column), rel=1e-6)) for e in rows.epochs], tag
    events = read("weights")
    assert set(events.Tags()["histograms"]) == set(rows.weights[0])
    for name in rows.weights[0]:
        found = [(h.step, sum(h.histogram_value.bucket), h.histogram_value.sum) for h in events.Histograms(name)]
        arrays = [arrays[name] for arrays in rows.weights]
        assert found == [(i, a.size, pytest.approx(a.sum(dtype=float))) for i, a in enumerate(arrays)], name


def test_it_writes_scalars_and_histograms(net: keras.Model) -> None:
    """The last histograms are those of the trained weights, in the layout of the weights file."""
    rows = Rows()
    train(net, rows, 3)
    same_as(rows)
    for name, array in get_weights(net).items():
        last = read("weights").Histograms(name)[-1].histogram_value
        assert (last.min, last.max) == (array.min(), array.max())
    assert {p.name for p in Path("out/tensorboard").iterdir()} == {"train", "validation", "weights"}


def test_without_validation_it_has_no_curve(net: keras.Model) -> None:
    train(net, Rows(), 1, validation=False)
    assert {p.name for p in Path("out/tensorboard").iterdir()} == {"train", "weights"}


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_after_a_kill_each_epoch_is_written_once(kept: int, net: keras.Model) -> None:
    """Three epochs were written, of which the checkpoint contains `kept`; no file stays open."""
    rows = Rows()
    with pytest.raises(KeyboardInterrupt):
        train(net, rows, 9, Killed(3))
    same_as(rows)
    del rows.epochs[kept:], rows.weights[kept:]
    train(net, rows, 5)
    assert len(rows.epochs) == 5
    same_as(rows)


def test_a_finished_run_is_unchanged(net: keras.Model) -> None:
    """It is resumed without further epochs."""
    rows = Rows()
    train(net, rows, 2)
    train(net, rows, 2)
    same_as(rows)
