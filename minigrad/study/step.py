"""python -m minigrad.study step: one training step, recorded and written as a page that plays it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .. import datasets, ops, recipes
from ..classifier import Classifier
from ..datasets import Dataset
from ..optim import Optimizer
from ..recipes import Recipe
from ..runs import UserError, folder, metrics
from ..runs.class_order import in_order_of
from ..runs.files import write_text
from ..runs.weights import NetworkSpec
from ..training import Schedule, TrainingState, build_optimizer

PROG = "python -m minigrad.study step"
FILE = Path("step.html")
LARGEST = 300_000  # weights of a network; a page has about 35 bytes for each


def main(argv: Sequence[str]) -> None:
    """Write the page."""
    parser = recipes.recipe_parser(
        PROG, "Record one training step of a recipe, and write one HTML file that plays it and trains a network."
    )
    parser.add_argument("--step", type=int, default=1, help="the training step to record, counted from 1")
    parser.add_argument("--image", type=int, default=0, help="the image of the batch to show, counted from 0")
    parser.add_argument(
        "--out", type=str | None, default=None, metavar="FILE", help="the page; null writes step.html into this folder"
    )
    parser.add_flag("--overwrite", "replace the file")
    options = parser.parse_args(recipes.resolve(argv))
    recipe = recipes.to_recipe(options)
    with folder.claim_file(options.out, FILE, overwrite=options.overwrite) as path:
        text = page_of(recipe, step=options.step, image=options.image)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    print(f"{path} plays step {options.step} of recipe {recipe_name(argv)}; open it in a browser")


def recipe_name(argv: Sequence[str]) -> str:
    """Return the name of the recipe for people: that of its file, or "simple" if none is given."""
    named = [b for a, b in pairwise(argv) if a in ("--config", "-c")]
    named += [a.removeprefix("--config=") for a in argv if a.startswith("--config=")]
    return Path(named[-1]).stem if named else "simple"


def page_of(recipe: Recipe, data: Dataset | None = None, *, step: int = 1, image: int = 0) -> str:
    """Return the page for one training step as HTML text.

    Args:
        recipe: the network, the data and the training.
        data: the data; None loads those that the recipe names.
        step: the training step to record, counted from 1.
        image: the image of the batch to show, counted from 0.

    Raises:
        UserError: recipe and data do not fit together, `step` or `image` is out of range, the network is too large for a
            page, or the loss is not finite.
    """
    from . import page, training_data
    from .subjects import recordings

    data = data or datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
    data = in_order_of(data, recipe.model.weights)
    recipes.refuse_misfit(recipe, data)
    parameters = sum(math.prod(shape) for shape in NetworkSpec.of(recipe, data).shapes().values())
    if parameters > LARGEST:
        raise UserError(f"model.hidden: a network of {parameters:,} weights; expected at most {LARGEST:,} for a page")
    with np.errstate(over="ignore", invalid="ignore"):  # the losses are checked
        state = state_at(recipe, data, step)
        if not 0 <= image < len(state.labels):
            raise UserError(f"--image {image}: expected 0 to {len(state.labels) - 1}, an image of the batch")
        recorded, unavailable = recordings(state, image)
    for recording in recorded:
        _check_loss(recording["loss"], step)
    sizes = "-".join(map(str, [math.prod(data.input_shape), *recipe.model.hidden, data.classes]))
    return page.render(
        {
            "title": f"{'Convolutions and ' if recipe.model.architecture == 'cnn' else ''}{sizes} on {data_name(recipe)}",
            "batch": {
                "size": len(state.labels), "images": state.images, "labels": state.labels.astype(np.int32),
                "classes": data.classes, "class_names": list(data.class_names) or None, "shown": image,
            },
            "step": step,
            "recordings": recorded,
            "unavailable": unavailable,
            "training": training_data.training(recipe, data),
        }
    )  # fmt: skip


def data_name(recipe: Recipe) -> str:
    """Return the name of the data for people: MNIST, digits, or that of the file or folder."""
    return {"mnist": "MNIST"}.get(recipe.data.path, Path(recipe.data.path).name)


@dataclass
class State:
    """A training just before the step that is recorded, in float64.

    Attributes:
        spec: the network's specification, with its recipe.
        weights: the state of the network.
        moments: the state of the optimizer, including the learning rate.
        dropout: the state of the generator of the dropout.
        images: the raw images of the batch, (n, *input_shape).
        labels: (n,) integers.
        other: the images and labels of another batch; of the same one if the epoch has only one.
    """

    spec: NetworkSpec
    weights: dict[str, np.ndarray]
    moments: dict[str, Any]
    dropout: Any
    images: np.ndarray
    labels: np.ndarray
    other: tuple[np.ndarray, np.ndarray]

    def build(self) -> tuple[Classifier, Optimizer]:
        """Return a new network and a new optimizer in this state."""
        net, optimizer = _build(self.spec, self.weights)
        optimizer.load_state_dict(self.moments)
        self.restore_dropout(net)
        return net, optimizer

    def restore_dropout(self, net: Classifier) -> None:
        """Make the next forward pass of `net` drop the units that the recorded step drops."""
        net.begin_epoch(0)
        net.dropout.rng.bit_generator.state = self.dropout


def _build(spec: NetworkSpec, weights: dict[str, np.ndarray]) -> tuple[Classifier, Optimizer]:
    model, seed = spec.recipe.model, spec.recipe.seed_everything
    net = Classifier(model, spec.input_shape, spec.classes, spec.input_scale, seed, np.float64)
    net.load_state_dict(weights)
    return net, build_optimizer(net.parameters(), model)


def state_at(recipe: Recipe, data: Dataset, step: int) -> State:
    """Train up to the step before `step`, in float64, and return the state there.

    Raises:
        UserError: the training has fewer steps, or its loss is not finite.
    """
    per_epoch = datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size)
    total = per_epoch * recipe.trainer.max_epochs
    if not 1 <= step <= total:
        expected = f"1 to {total}, a step of the training" if total else "a training: trainer.max_epochs is 0"
        raise UserError(f"--step {step}: expected {expected}")
    spec = NetworkSpec.of(recipe, data)
    start = TrainingState.start(spec, total)
    net, optimizer = _build(spec, start.net.state_dict())
    training = TrainingState(net, optimizer, Schedule(recipe.model.schedule, optimizer, total), start.best)
    number = 0
    for epoch in range(recipe.trainer.max_epochs):
        if training.is_over:
            break
        net.begin_epoch(epoch)
        for images, labels in _batches(recipe, data, epoch):
            number += 1
            if number == step:
                other = next(
                    (b for b in _batches(recipe, data, epoch) if not np.array_equal(b[0], images)), (images, labels)
                )
                dropout = net.dropout.rng.bit_generator.state
                return State(spec, net.state_dict(), optimizer.state_dict(), dropout, images, labels, other)
            loss = ops.cross_entropy(net(images), labels)
            _check_loss(loss.item(), number)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            training.schedule.after_step()
        if len(data.validation.labels):
            training.after_epoch(metrics.score(net.predict(data.validation.images), data.validation.labels))
    raise UserError(f"--step {step}: early stopping ends the training after step {number}; expected at most that")


def _batches(recipe: Recipe, data: Dataset, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images and labels of each batch of an epoch."""
    size, seed = len(data.train.labels), recipe.seed_everything
    shifts = datasets.epoch_shifts(size, seed, epoch) if recipe.data.augment == "shift" else None
    for indices in datasets.batches(size, recipe.data.batch_size, seed, epoch):
        images = data.train.images.take(indices, axis=0)
        yield images if shifts is None else datasets.shifted(images, shifts[indices]), data.train.labels[indices]


def _check_loss(loss: float, step: int) -> None:
    """Raise UserError unless the loss of a step is finite."""
    if not math.isfinite(loss):
        raise UserError(
            f"--step {step}: the loss is {loss}; expected a smaller model.learning_rate, or an earlier step"
        )
