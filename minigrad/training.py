"""The training loop: steps, epochs, the learning rate, and knowing when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from . import ops, optim
from .classifier import Classifier
from .recipes.schema import PLATEAU, Model
from .tensor import Tensor

# What a step tells whoever watches: its number and its loss. The gradients are in the parameters.
Watch = Callable[[int, float], None]


def build_optimizer(parameters: Iterable[Tensor], model: Model) -> optim.Optimizer:
    """The optimiser that the recipe names."""
    lr, decay = model.learning_rate, model.weight_decay
    if model.optimizer == "sgd":
        return optim.SGD(parameters, lr, model.momentum, decay)
    return {"adam": optim.Adam, "adamw": optim.AdamW}[model.optimizer](parameters, lr, weight_decay=decay)


@dataclass
class Schedule:
    """The recipe's schedule: nothing, a step of a cosine, or a look at the validation loss."""

    name: str
    optimizer: optim.Optimizer
    total_steps: int
    cosine: optim.CosineAnnealingLR = field(init=False)
    plateau: optim.ReduceLROnPlateau = field(init=False)

    def __post_init__(self) -> None:
        self.cosine = optim.CosineAnnealingLR(self.optimizer, max(self.total_steps, 1))
        self.plateau = optim.ReduceLROnPlateau(self.optimizer, **PLATEAU)  # type: ignore[arg-type]

    def after_step(self) -> None:
        if self.name == "cosine":
            self.cosine.step()

    def after_epoch(self, validation_loss: float | None) -> None:
        if self.name == "reduce_on_plateau" and validation_loss is not None:
            self.plateau.step(validation_loss)


@dataclass
class BestEpoch:
    """The lowest validation loss so far, its weights, and how long ago that was."""

    patience: int
    loss: float = math.inf
    waited: int = 0
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def see(self, loss: float, net: Classifier) -> None:
        if loss < self.loss:
            self.loss, self.waited, self.weights = loss, 0, net.state_dict()
        else:
            self.waited += 1

    @property
    def is_over(self) -> bool:
        return self.waited >= self.patience


def train_epoch(
    net: Classifier,
    optimizer: optim.Optimizer,
    images: np.ndarray,
    labels: np.ndarray,
    batches: Iterable[np.ndarray],
    schedule: Schedule | None = None,
    watch: Watch | None = None,
) -> tuple[float, float]:
    """One pass over the batches of indices; returns the mean loss and accuracy over its images.

    `watch(step, loss)` is called after each step, with the step's number from 1.
    """
    net.train()
    total, correct, seen = 0.0, 0, 0
    for indices in batches:
        expected = labels[indices]
        logits = net(images[indices])
        loss = ops.cross_entropy(logits, expected)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.after_step()
        value = loss.item()
        total += value * len(indices)
        correct += int((logits.data.argmax(axis=1) == expected).sum())
        seen += len(indices)
        if watch is not None:
            watch(optimizer.steps, value)
    return total / seen, correct / seen
