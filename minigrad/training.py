"""The training loop: steps, epochs, the learning rate, and knowing when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import ops, optim
from .classifier import Classifier
from .datasets import shifted
from .recipes.schema import ONE_CYCLE, PLATEAU, Model
from .tensor import Tensor

# What a step tells whoever watches: its number and its loss. The gradients are in the parameters.
Watch = Callable[[int, float], None]


def build_optimizer(parameters: Iterable[Tensor], model: Model) -> optim.Optimizer:
    """The optimiser that the recipe names."""
    lr, decay = model.learning_rate, model.weight_decay
    if model.optimizer == "sgd":
        return optim.SGD(parameters, lr, model.momentum, decay)
    kinds: dict[str, Any] = {"rmsprop": optim.RMSprop, "adam": optim.Adam, "adamw": optim.AdamW}
    return kinds[model.optimizer](parameters, lr, weight_decay=decay)  # type: ignore[no-any-return]


class Schedule:
    """The recipe's schedule: nothing, a move after each step, or a look at the validation loss after each epoch."""

    def __init__(self, name: str, optimizer: optim.Optimizer, total_steps: int) -> None:
        self.name, steps = name, max(total_steps, 2)
        options: dict[str, Any] = PLATEAU
        self.plateau = optim.ReduceLROnPlateau(optimizer, threshold_mode="abs", **options)
        self.each_step: optim.CosineAnnealingLR | optim.OneCycleLR | None = None
        if name == "cosine":
            self.each_step = optim.CosineAnnealingLR(optimizer, steps)
        elif name == "one_cycle":
            self.each_step = optim.OneCycleLR(optimizer, optimizer.lr, steps, cycle_momentum=False, **ONE_CYCLE)

    def after_step(self) -> None:
        if self.each_step is not None:
            self.each_step.step()

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
    shifts: np.ndarray | None = None,
) -> tuple[float, float]:
    """One pass over the batches of indices; returns the mean loss and accuracy over its images.

    `watch(step, loss)` is called after each step, with the step's number from
    1; `shifts` (see `datasets.epoch_shifts`) moves the images.
    """
    net.train()
    total, correct, seen = 0.0, 0, 0
    for indices in batches:
        expected = labels[indices]
        batch = images.take(indices, axis=0)  # which NumPy does more quickly than images[indices]
        if shifts is not None:
            batch = shifted(batch, shifts[indices])
        logits = net(batch)
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
