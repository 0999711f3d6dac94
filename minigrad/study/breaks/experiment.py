"""A small training whose parts can be replaced, and the measures of each step.

The network is 64-32-10 and learns the 1,437 training digits of 8x8 pixels, in
batches of 32, with plain gradient descent. Each part is a function of a few
lines, so that a correct and a broken version can be compared line by line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import datasets, nn, no_grad, ops, symptoms
from ...tensor import Tensor

BATCH_SIZE = 32


class Network(nn.Module):
    """One hidden layer with ReLU."""

    def __init__(self, inputs: int, hidden: int, outputs: int, rng: np.random.Generator) -> None:
        self.hidden = nn.Linear(inputs, hidden, rng=rng)
        self.output = nn.Linear(hidden, outputs, rng=rng)

    def forward(self, x: Any) -> Any:
        return self.output(ops.relu(self.hidden(x)))


# The parts of the correct training.


def digits() -> tuple[np.ndarray, ...]:
    """Return the images and labels of the digits for training, then for testing."""
    data = datasets.load("digits")
    return (*data.train, *data.test)


def network(rng: np.random.Generator) -> Network:
    return Network(64, 32, 10, rng)


def prepare(images: np.ndarray) -> np.ndarray:
    return images.reshape(-1, 64).astype(np.float32) / 255


def order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(len(labels))


def loss_of(logits: Tensor, labels: np.ndarray) -> Tensor:
    return ops.cross_entropy(logits, labels)


def update(parameters: list[Tensor], loss: Tensor, lr: float) -> None:
    for p in parameters:
        p.grad = None
    loss.backward()
    for p in parameters:
        p.data -= lr * p.grad  # type: ignore[operator]


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose largest output is that of the label."""
    return float((outputs.argmax(axis=1) == labels).mean())


@dataclass(frozen=True)
class Training:
    """The parts of a training; the defaults are correct.

    Attributes:
        network: returns the initial network for a generator.
        prepare: turns images into the network's input.
        order: returns the indices of the training images in the order of an epoch.
        loss: computes the loss of outputs and labels.
        update: computes the gradients and changes the parameters.
        lr: the learning rate.
        epochs: the number of epochs.
        score: the quality of outputs for test data; the accuracy for a classifier.
        data: returns the data: training inputs and targets, then those for testing.
    """

    network: Callable[[np.random.Generator], Network] = network
    prepare: Callable[[np.ndarray], np.ndarray] = prepare
    order: Callable[[np.ndarray, np.random.Generator], np.ndarray] = order
    loss: Callable[[Tensor, np.ndarray], Tensor] = loss_of
    update: Callable[[list[Tensor], Tensor, float], None] = update
    lr: float = 0.2
    epochs: int = 8
    score: Callable[[np.ndarray, np.ndarray], float] = accuracy
    data: Callable[[], tuple[np.ndarray, ...]] = digits


CORRECT = Training()


@dataclass
class Step:
    """One step: its loss, and by layer the norm of the gradient and |change| / |weight|."""

    loss: float
    gradients: dict[str, float]
    ratios: dict[str, float]


@dataclass
class EpochRecord:
    """One epoch: its steps, and after it the score and the predicted classes of the test data, and the dead units."""

    steps: list[Step]
    score: float
    predictions: np.ndarray
    dead: int

    @property
    def loss(self) -> float:
        """The mean loss of the steps, each computed before its update."""
        return _mean([step.loss for step in self.steps])

    def gradient(self, layer: str) -> float:
        """The mean norm of a layer's gradient."""
        return _mean([step.gradients[layer] for step in self.steps])

    def ratio(self, layer: str) -> float:
        """The mean of |change| / |weight| of a layer."""
        return _mean([step.ratios[layer] for step in self.steps])


@dataclass
class Run:
    """A training that was run.

    Attributes:
        epochs: the record of each epoch.
        units: the number of hidden units.
        outputs: the trained network's outputs for the test data.
        labels: the test labels.
        loss_before: the loss of the training data before the first step.
    """

    epochs: list[EpochRecord]
    units: int
    outputs: np.ndarray
    labels: np.ndarray
    loss_before: float
    steps: list[Step] = field(init=False)

    def __post_init__(self) -> None:
        self.steps = [step for epoch in self.epochs for step in epoch.steps]

    @property
    def last(self) -> EpochRecord:
        return self.epochs[-1]

    @property
    def largest_loss(self) -> float:
        """The largest loss of a step; infinity if one is not finite."""
        losses = [step.loss for step in self.steps]
        return max(losses) if all(map(math.isfinite, losses)) else math.inf


def run(training: Training, seed: int = 0) -> Run:
    """Train, and measure each step.

    Args:
        training: the parts.
        seed: the seed of the initial weights and of the order of the images.
    """
    x, labels, x_test, test_labels = training.data()
    x, x_test = training.prepare(x), training.prepare(x_test)
    weights_rng, order_rng = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    net = training.network(weights_rng)
    epochs = []
    with np.errstate(all="ignore"):  # a broken training may overflow
        with no_grad():
            loss_before = training.loss(net(Tensor(x)), labels).item()
        for _ in range(training.epochs):
            indices, steps = training.order(labels, order_rng), []
            for start in range(0, len(indices), BATCH_SIZE):
                batch = indices[start : start + BATCH_SIZE]
                steps.append(_step(training, net, x[batch], labels[batch]))
            dead = symptoms.dead_units(lambda: net(x))[0]
            outputs = np.asarray(net(x_test).data)
            epochs.append(
                EpochRecord(steps, training.score(outputs, test_labels), outputs.argmax(axis=1), int(dead.sum()))
            )
    return Run(epochs, len(dead), outputs, test_labels, loss_before)


def _step(training: Training, net: Network, x: np.ndarray, labels: np.ndarray) -> Step:
    weights = symptoms.layers(net.named_parameters())
    before = symptoms.copy_of(weights)
    loss = training.loss(net(x), labels)
    training.update(net.parameters(), loss, training.lr)
    return Step(loss.item(), symptoms.gradient_norms(weights), symptoms.update_ratios(before, weights))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
