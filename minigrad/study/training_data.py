"""The part `training` of the page: everything that its tab "Train" needs to repeat a training of minigrad in JavaScript.

The page trains a network with one hidden layer, ReLU and plain stochastic
gradient descent, in float64, on a subset of the data. `reference` trains the
same network with the same settings here. The page compares its own losses
and weights with those.

The starting weights are not in the page. It has the state of the random
generator, PCG64, from which the page draws the same weights for any width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import datasets
from ..classifier import Classifier, initial_generator
from ..datasets import Dataset, Split
from ..recipes import Recipe
from ..recipes.schema import Model
from ..training import build_optimizer, train_epoch

TRAIN, TEST = 2000, 500  # images in the page
BUDGET = 2_000_000  # bytes of images in the page, before compression
FEWEST = 20  # training images; with fewer, the page has no training
EPOCHS = 20
MAX_WIDTH = 128  # hidden units that the page allows
WIDTH, LEARNING_RATE = 10, 0.1  # if the recipe's do not apply


@dataclass(frozen=True)
class Settings:
    """What the page allows a learner to change: the learning rate, the number of hidden units and the batch size."""

    learning_rate: float = LEARNING_RATE
    width: int = WIDTH
    batch_size: int = 128


def training(recipe: Recipe, data: Dataset) -> dict[str, Any] | None:
    """Build the part `training` of the page's header.

    Args:
        recipe: its seed, batch size, learning rate and width are the page's default settings, if they apply.
        data: the data set; the page gets a subset of its training and test images.

    Returns:
        A dict of plain values and arrays; None if the inputs are so large that too few fit into the page.
    """
    train, test = subset(data, recipe.seed_everything)
    if len(train.labels) < FEWEST or not len(test.labels):
        return None
    seed, settings = recipe.seed_everything, defaults(recipe, len(train.labels))
    losses, weights = reference(train, data.classes, data.input_scale, seed, settings)
    shape = data.input_shape
    return {
        "data": {"mnist": "MNIST"}.get(data.path, Path(data.path).name),
        "seed": seed,
        "inputs": math.prod(shape),
        "image": [*shape, 1][:3] if len(shape) > 1 else None,  # height, width, channels
        "classes": data.classes,
        "scale": data.input_scale,
        "train": _flat(train),
        "test": _flat(test),
        "orders": orders(len(train.labels), seed).astype(np.uint16),
        "random": generator_state(seed),
        "defaults": vars(settings),
        "max_width": MAX_WIDTH,
        "reference": {"losses": losses, "weights": weights},
        "note": note(recipe),
    }


def subset(data: Dataset, seed: int) -> tuple[Split, Split]:
    """Select the training and test images of the page, at random: the images of a data set may be sorted by class."""
    size = math.prod(data.input_shape) * data.train.images.itemsize
    share = min(1.0, BUDGET / (size * (TRAIN + TEST)))
    parts = []
    for part, most in ((data.train, TRAIN), (data.test, TEST)):
        chosen = np.sort(datasets.epoch_order(len(part.labels), seed, 0)[: int(most * share)])
        parts.append(Split(part.images[chosen], part.labels[chosen]))
    return parts[0], parts[1]


def orders(size: int, seed: int) -> np.ndarray:
    """Return the order in which each epoch visits the training images, (EPOCHS, size) int64."""
    return np.stack([datasets.epoch_order(size, seed, epoch) for epoch in range(EPOCHS)])


def generator_state(seed: int) -> dict[str, str]:
    """Return the state and the increment of the generator that draws a network's starting weights, as hexadecimal."""
    state: Any = initial_generator(seed).bit_generator.state["state"]
    return {"state": hex(state["state"]), "increment": hex(state["inc"])}


def defaults(recipe: Recipe, images: int) -> Settings:
    """Return the page's default settings: those of the recipe, as far as they apply to such a network."""
    model, batch_size = recipe.model, min(recipe.data.batch_size, images)
    rate = model.learning_rate if model.optimizer == "sgd" and not model.momentum else LEARNING_RATE
    width = model.hidden[0] if model.architecture == "mlp" and len(model.hidden) == 1 else WIDTH
    return Settings(rate, width if width <= MAX_WIDTH else WIDTH, batch_size)


def note(recipe: Recipe) -> str | None:
    """Return two sentences that say which parts of the recipe the page replaces; None if it replaces none."""
    model, plain, shifted = recipe.model, Model(), recipe.data.augment == "shift"
    replaced = [
        text
        for text, applies in (
            ("convolutions", model.architecture == "cnn"),
            ("no hidden layer", not model.hidden and model.architecture == "mlp"),
            (f"hidden layers {model.hidden}", len(model.hidden) > 1),
            (f"{max(model.hidden, default=0):,} units in a hidden layer", max(model.hidden, default=0) > MAX_WIDTH),
            (f"activation {model.activation}", model.activation != plain.activation),
            ("batch normalization", model.batch_norm),
            ("dropout", model.dropout > 0),
            (f"optimizer {model.optimizer}", model.optimizer != plain.optimizer),
            ("momentum", model.momentum > 0),
            ("weight decay", model.weight_decay > 0),
            (f"schedule {model.schedule}", model.schedule != plain.schedule),
            ("starting weights from a file", model.weights is not None),
            ("shifted training images", shifted),
        )
        if applies
    ]
    if not replaced:
        return None
    return (
        f"The recipe has {', '.join(replaced)}. This tab trains a network with one hidden layer, ReLU and plain"
        f" stochastic gradient descent{' on images that are not shifted' if shifted else ''} instead."
    )


def reference(
    train: Split, classes: int, scale: float, seed: int, settings: Settings, epochs: int = EPOCHS
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Train the page's network with minigrad in float64.

    Args:
        train: the training images.
        classes: the number of classes.
        scale: the factor for the input.
        seed: the seed of the starting weights and of the order of the images.
        settings: the settings.
        epochs: the number of epochs.

    Returns:
        The loss of each step, float64, and the weights at the end, by their names.
    """
    model = Model(hidden=[settings.width], learning_rate=settings.learning_rate)
    net = Classifier(model, train.images.shape[1:], classes, scale, seed, np.float64)
    optimizer = build_optimizer(net.parameters(), model)
    losses: list[float] = []
    with np.errstate(over="ignore", invalid="ignore"):  # the page reports a loss that is not finite
        for epoch in range(epochs):
            batches = datasets.batches(len(train.labels), settings.batch_size, seed, epoch)
            train_epoch(net, optimizer, *train, batches, on_step=lambda _, loss: losses.append(loss))
    return np.array(losses), {name: np.ascontiguousarray(w) for name, w in net.state_dict().items()}


def _flat(part: Split) -> dict[str, np.ndarray]:
    return {"images": part.images.reshape(len(part.labels), -1), "labels": part.labels.astype(np.int32)}
