"""One epoch: what it averages, in which mode, and what it tells."""

from __future__ import annotations

import numpy as np

from minigrad import optim
from minigrad.classifier import Classifier
from minigrad.recipes import Model
from minigrad.runs import metrics
from minigrad.training import train_epoch

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(10, 4)), RNG.integers(0, 3, 10)
BATCHES = [np.arange(4), np.arange(4, 8), np.arange(8, 10)]


def network(dropout: float = 0.0) -> Classifier:
    return Classifier(Model(hidden=[5], dropout=dropout), (4,), 3, scale=1.0, dtype=np.float64)


def test_its_figures_are_means_over_images_and_not_over_batches() -> None:
    net = network()
    loss, accuracy = train_epoch(net, optim.SGD(net.parameters(), 0.0), IMAGES, LABELS, BATCHES)
    expected = metrics.score(net.predict(IMAGES), LABELS)
    np.testing.assert_allclose(loss, expected["loss"], rtol=1e-12)
    assert accuracy == expected["accuracy"]


def test_it_trains_whatever_the_mode_was() -> None:
    losses = []
    for dropout in (0.0, 0.5):
        net = network(dropout)
        net.eval()
        losses.append(train_epoch(net, optim.SGD(net.parameters(), 0.0), IMAGES, LABELS, BATCHES)[0])
    assert losses[0] != losses[1], "in evaluation nothing would be dropped"


def test_gradients_of_one_batch_do_not_reach_the_next() -> None:
    net, other = network(), network()
    train_epoch(net, optim.SGD(net.parameters(), 0.1), IMAGES, LABELS, BATCHES)
    for batch in BATCHES:
        train_epoch(other, optim.SGD(other.parameters(), 0.1), IMAGES, LABELS, [batch])
    for name, w in net.state_dict().items():
        np.testing.assert_array_equal(w, other.state_dict()[name])


def test_whoever_watches_hears_of_each_step_and_sees_its_gradients() -> None:
    net, heard = network(), []

    def watch(step: int, loss: float) -> None:
        assert all(p.grad is not None for p in net.parameters())
        heard.append((step, loss))

    optimizer = optim.SGD(net.parameters(), 0.0)
    for _ in range(2):
        train_epoch(net, optimizer, IMAGES, LABELS, BATCHES, on_step=watch)
    assert [step for step, _ in heard] == [1, 2, 3, 4, 5, 6]
    first = metrics.score(net.predict(IMAGES[:4]), LABELS[:4])["loss"]
    np.testing.assert_allclose(heard[0][1], first, rtol=1e-12)
