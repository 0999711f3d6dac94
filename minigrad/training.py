"""The training loop: steps, epochs, the learning-rate schedule and early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import ops, optim
from .classifier import Classifier
from .datasets import shifted
from .recipes.schema import ONE_CYCLE, PLATEAU, EarlyStopping, Model
from .runs import weights
from .runs.weights import NetworkSpec
from .tensor import Tensor

if TYPE_CHECKING:
    from .parallel import DataParallel

# Called after each step with its number and its loss; the gradients are in the parameters.
StepCallback = Callable[[int, float], None]


def build_optimizer(parameters: Iterable[Tensor], model: Model) -> optim.Optimizer:
    """Return the optimizer that the recipe names."""
    lr, decay = model.learning_rate, model.weight_decay
    if model.optimizer == "sgd":
        return optim.SGD(parameters, lr, model.momentum, decay)
    kinds: dict[str, Any] = {"rmsprop": optim.RMSprop, "adam": optim.Adam, "adamw": optim.AdamW}
    return kinds[model.optimizer](parameters, lr, weight_decay=decay)  # type: ignore[no-any-return]


class Schedule:
    """The learning-rate schedule of a recipe: constant, updated after each step, or after each epoch.

    Args:
        name: the recipe's `model.schedule`.
        optimizer: the optimizer whose learning rate is updated.
        total_steps: the number of steps in the whole training.
    """

    def __init__(self, name: str, optimizer: optim.Optimizer, total_steps: int) -> None:
        self.name, steps = name, max(total_steps, 2)
        options: dict[str, Any] = PLATEAU
        self.plateau: optim.ReduceLROnPlateau | None = None
        self.each_step: optim.CosineAnnealingLR | optim.OneCycleLR | None = None
        if name == "cosine":
            self.each_step = optim.CosineAnnealingLR(optimizer, steps)
        elif name == "one_cycle":
            self.each_step = optim.OneCycleLR(optimizer, optimizer.lr, steps, cycle_momentum=False, **ONE_CYCLE)
        elif name == "reduce_on_plateau":
            self.plateau = optim.ReduceLROnPlateau(optimizer, threshold_mode="abs", **options)

    def after_step(self) -> None:
        if self.each_step is not None:
            self.each_step.step()

    def after_epoch(self, validation_loss: float) -> None:
        if self.plateau is not None:
            self.plateau.step(validation_loss)

    @property
    def progress(self) -> tuple[float, int]:
        """The best validation loss so far and the number of epochs since then, if the schedule depends on them."""
        return (math.inf, 0) if self.plateau is None else (self.plateau.best, self.plateau.bad_epochs)

    @progress.setter
    def progress(self, value: tuple[float, int]) -> None:
        best, bad_epochs = value
        if self.plateau is not None:
            self.plateau.best, self.plateau.bad_epochs = best, bad_epochs


def learning_rates(model: Model, steps: int) -> list[float]:
    """Return the learning rate of each of the first `steps` steps, except for a schedule that depends on the loss."""
    optimizer, rates = build_optimizer([Tensor([0.0], requires_grad=True)], model), []
    schedule = Schedule(model.schedule, optimizer, steps)
    for _ in range(steps):
        rates.append(optimizer.lr)
        optimizer.step()
        schedule.after_step()
    return rates


@dataclass
class BestEpoch:
    """The best value of the recipe's `early_stopping.monitor` so far, the weights of that epoch, and the number of epochs
    since then."""

    stopping: EarlyStopping
    value: float = field(init=False)
    waited: int = 0
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.value = -math.inf if self.stopping.mode == "max" else math.inf

    def update(self, value: float, net: Classifier) -> None:
        if self.stopping.is_better(value, self.value):
            self.value, self.waited, self.weights = value, 0, net.state_dict()
        else:
            self.waited += 1

    @property
    def is_over(self) -> bool:
        return self.stopping.patience is not None and self.waited >= self.stopping.patience


@dataclass
class TrainingState:
    """Everything that changes while a network is trained, and therefore the content of a checkpoint."""

    net: Classifier
    optimizer: optim.Optimizer
    schedule: Schedule
    best: BestEpoch | None

    @classmethod
    def start(cls, spec: NetworkSpec, total_steps: int) -> TrainingState:
        """Build the network of `spec`, with the recipe's weights or random ones, its optimizer and its schedule.

        Args:
            spec: the network and its recipe.
            total_steps: the number of steps in the whole training, over which a schedule is stretched.

        Raises:
            UserError: the weights do not fit the network.
        """
        recipe, model = spec.recipe, spec.recipe.model
        arrays = weights.load_for(model.weights, spec) if model.weights is not None else None
        net = Classifier(model, spec.input_shape, spec.classes, spec.input_scale, recipe.seed_everything)
        if arrays is not None:
            net.load_state_dict(arrays)
        optimizer = build_optimizer(net.parameters(), model)
        best = BestEpoch(recipe.early_stopping) if recipe.early_stopping.patience else None
        return cls(net, optimizer, Schedule(model.schedule, optimizer, total_steps), best)

    @property
    def is_over(self) -> bool:
        """Whether early stopping ends the training."""
        return self.best is not None and self.best.is_over

    def after_epoch(self, validation: Mapping[str, Any]) -> None:
        """Update the schedule and early stopping.

        Args:
            validation: the loss and the accuracy of the validation images in this epoch, as `metrics.score` returns them.
        """
        self.schedule.after_epoch(validation["loss"])
        if self.best is not None:
            self.best.update(validation[self.best.stopping.monitor.removeprefix("val_")], self.net)

    def load_best(self) -> None:
        """Load the weights of the best epoch, if early stopping keeps them."""
        if self.best is not None and self.best.weights:
            self.net.load_state_dict(self.best.weights)


def train_epoch(
    net: Classifier,
    optimizer: optim.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    batches: Iterable[np.ndarray],
    schedule: Schedule | None = None,
    on_step: StepCallback | None = None,
    shifts: np.ndarray | None = None,
    ranks: DataParallel | None = None,
) -> tuple[float, float]:
    """Train for one epoch.

    Args:
        net: the network.
        optimizer: updates its parameters.
        images: (n, *input_shape), uint8 or float32.
        labels: (n,) integers.
        batches: the indices of each batch.
        schedule: updated after each step.
        on_step: called after each step with its number, counted from 1 over all epochs, and its loss.
        shifts: (n, 2), by which the images are moved, as `datasets.epoch_shifts` returns them.
        ranks: the processes that compute the gradients of each batch together; None computes them here.

    Returns:
        The mean loss and the accuracy over the images of the epoch, each computed before the step on its batch.
    """
    net.train()
    total, correct, seen = 0.0, 0, 0
    for indices in batches:
        batch = images.take(indices, axis=0)  # faster than images[indices]
        moved = None if shifts is None else shifts[indices]
        optimizer.zero_grad()
        if ranks is None:
            value, hits = backward(net, batch, labels[indices], moved)
        else:
            value, hits = ranks.backward(batch, labels[indices], moved)
        optimizer.step()
        if schedule is not None:
            schedule.after_step()
        total += value * len(indices)
        correct += hits
        seen += len(indices)
        if on_step is not None:
            on_step(optimizer.steps, value)
    return total / seen, correct / seen


def backward(
    net: Classifier, images: np.ndarray, labels: np.ndarray, shifts: np.ndarray | None = None
) -> tuple[float, int]:
    """Compute the gradients of one batch.

    Args:
        net: the network, whose parameters get the gradients of the mean loss.
        images: (n, *input_shape).
        labels: (n,) integers.
        shifts: (n, 2), by which the images are moved; None does not move them.

    Returns:
        The mean loss, and the number of correct answers.
    """
    logits = net(images if shifts is None else shifted(images, shifts))
    loss = ops.cross_entropy(logits, labels)
    loss.backward()
    return loss.item(), int((logits.data.argmax(axis=1) == labels).sum())
