"""Contenders with one common mistake each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare import contenders
from compare.contenders.base import Batches, Observer
from minigrad import Tensor, nn, ops, optim
from minigrad.training import Schedule, build_optimizer

Right: Any = contenders.find("minigrad")
Torch: Any = contenders.find("torch")


class Loop(Right):
    """minigrad with a plain training loop, which is correct. Each mistake overrides one method."""

    def fit(self, batches: Batches, observer: Observer) -> None:
        optimizer = self.optimizer(self.net.parameters())
        schedule = Schedule(self.recipe.model.schedule, optimizer, batches.steps)
        self.net.train()
        for images, labels in self.given(batches):
            loss = self.loss(self.net(images), labels)
            self.zero_grad(optimizer)
            loss.backward()
            self.change(self.net.parameters())
            self.step(optimizer, schedule)
            gradients = {name: p.grad.copy() for name, p in self.net.named_parameters()}
            observer.after_steps(1, lambda v=loss: v.item() / self.told(), self.net.state_dict, lambda v=gradients: v)

    def given(self, batches: Batches) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for indices in self.order(batches):
            yield batches.train.images[indices], batches.train.labels[indices]

    def order(self, batches: Batches) -> list[np.ndarray]:
        return batches.order(0)

    def loss(self, logits: Tensor, labels: np.ndarray) -> Tensor:
        return ops.cross_entropy(logits, labels)

    def told(self) -> float:
        return 1.0

    def optimizer(self, parameters: list[Tensor]) -> optim.Optimizer:
        return build_optimizer(parameters, self.recipe.model)

    def zero_grad(self, optimizer: optim.Optimizer) -> None:
        optimizer.zero_grad()

    def change(self, parameters: list[Tensor]) -> None:
        """Change the gradients."""

    def step(self, optimizer: optim.Optimizer, schedule: Schedule) -> None:
        optimizer.step()
        schedule.after_step()


class WithOptimizer(Loop):
    """Another optimizer than the recipe's, by name and options of minigrad.optim."""

    kind, options = "SGD", {}

    def optimizer(self, parameters: list[Tensor]) -> optim.Optimizer:
        return getattr(optim, self.kind)(parameters, self.recipe.model.learning_rate, **self.options)


def optimizer(kind: str, **options: Any) -> Any:
    return type(kind, (WithOptimizer,), {"kind": kind, "options": options})


# Loading.


def read_as(change: Any) -> Any:
    """Return a contender that changes a hidden layer's weight when it loads it."""

    class Misread(Right):
        def build(self, recipe: Any, data: Any, weights: Any, dtype: str) -> None:
            name = "hidden.1.weight" if "hidden.1.weight" in weights else "hidden.0.weight"
            super().build(recipe, data, {**weights, name: change(weights[name])}, dtype)

    return Misread


transposed = read_as(np.transpose)
other_order = read_as(lambda w: np.ascontiguousarray(w).reshape(w.shape[::-1]).T)


# Forward.


class Unscaled(Right):
    def build(self, *args: Any) -> None:
        super().build(*args)
        self.net.scale = 1.0


class OtherActivation(Right):
    def build(self, *args: Any) -> None:
        super().build(*args)
        self.net.activation = nn.LeakyReLU()


class FlattenedChannelsLast(Right):
    def build(self, *args: Any) -> None:
        super().build(*args)
        right, self.net.output = self.net.output, ChannelsLast.__new__(ChannelsLast)
        vars(self.net.output).update(vars(right))


class ChannelsLast(nn.Linear):
    """The output layer of a network whose last convolution has 4 channels."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(len(x), 4, -1).transpose(0, 2, 1).reshape(len(x), -1))


class SoftmaxInTheNetwork(Torch):
    def build(self, *args: Any) -> None:
        import torch

        super().build(*args)
        self.net.append(torch.nn.Softmax(1))


# The loss.


class SoftmaxInTheLoss(Loop):
    def loss(self, logits: Tensor, labels: np.ndarray) -> Tensor:
        return ops.cross_entropy(ops.softmax(logits, 1), labels)


class Summed(Loop):
    def loss(self, logits: Tensor, labels: np.ndarray) -> Tensor:
        return ops.cross_entropy(logits, labels, reduction="sum")


class Halved(Loop):
    def loss(self, logits: Tensor, labels: np.ndarray) -> Tensor:
        return 0.5 * ops.cross_entropy(logits, labels)


class SummedButToldAsMean(Summed):
    def told(self) -> float:
        return self.recipe.data.batch_size


class Smoothed(Loop):
    def loss(self, logits: Tensor, labels: np.ndarray) -> Tensor:
        return ops.cross_entropy(logits, labels, label_smoothing=0.1)


class Penalised(Loop):
    def loss(self, logits: Tensor, labels: np.ndarray) -> Tensor:
        squares = sum((p * p).sum() for p in self.net.parameters())
        return ops.cross_entropy(logits, labels) + self.recipe.model.weight_decay / 2 * squares


# The batches.


class DroppedLastBatch(Torch):
    def fit(self, batches: Batches, observer: Observer) -> None:
        super().fit(Shorter(**vars(batches)), observer)


class Shorter(Batches):
    def order(self, epoch: int) -> list[np.ndarray]:
        return super().order(epoch)[:-1]


class SmallerBatches(Loop):
    def order(self, batches: Batches) -> list[np.ndarray]:
        indices = np.concatenate(batches.order(0))
        return [indices[i : i + 20] for i in range(0, len(indices), 20)]


class PaddedLastBatch(Loop):
    def order(self, batches: Batches) -> list[np.ndarray]:
        first, *_, last = order = batches.order(0)
        return [*order[:-1], np.concatenate([last, first[: len(first) - len(last)]])]


class SwappedBatches(Loop):
    def order(self, batches: Batches) -> list[np.ndarray]:
        order = batches.order(0)
        return [order[0], order[2], order[1], *order[3:]]


class Unshuffled(Loop):
    def order(self, batches: Batches) -> list[np.ndarray]:
        return np.split(np.arange(len(batches.train.labels)), np.cumsum([len(b) for b in batches.order(0)])[:-1])


class OthersLabels(Loop):
    """Images are shuffled, labels are not."""

    def given(self, batches: Batches) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        start = 0
        for indices in batches.order(0):
            yield batches.train.images[indices], batches.train.labels[start : start + len(indices)]
            start += len(indices)


# The gradient.


class NeverZeroed(Loop):
    def zero_grad(self, optimizer: optim.Optimizer) -> None:
        pass


class Clipped(Loop):
    def change(self, parameters: list[Tensor]) -> None:
        optim.clip_grad_norm_(parameters, 0.1)


# The update.


class TorchAdamWithKerasEpsilon(Torch):
    def _optimizer(self) -> Any:
        from torch import optim

        return optim.Adam(self.net.parameters(), self.recipe.model.learning_rate, eps=1e-7)


class TorchDampened(Torch):
    def _optimizer(self) -> Any:
        from torch import optim

        return optim.SGD(self.net.parameters(), self.recipe.model.learning_rate, momentum=0.9, dampening=0.9)


class WrongRate(Loop):
    def optimizer(self, parameters: list[Tensor]) -> optim.Optimizer:
        found = super().optimizer(parameters)
        found.lr *= 0.3
        return found


class ScheduleAhead(Loop):
    def step(self, optimizer: optim.Optimizer, schedule: Schedule) -> None:
        rate = optimizer.lr
        optimizer.steps += 1
        schedule.after_step()
        optimizer.steps -= 1
        optimizer.step()
        assert rate != optimizer.lr


class NoSchedule(Loop):
    def step(self, optimizer: optim.Optimizer, schedule: Schedule) -> None:
        optimizer.lr = self.recipe.model.learning_rate
        optimizer.step()


class OwnAdam(Loop):
    """Adam with another denominator."""

    def optimizer(self, parameters: list[Tensor]) -> optim.Optimizer:
        return Denominator(parameters, self.recipe.model.learning_rate, self.root)


class Denominator(optim.Adam):
    def __init__(self, parameters: list[Tensor], lr: float, root: Any) -> None:
        super().__init__(parameters, lr)
        self.root = root

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        t, m, v = self.steps, self.first[i], self.second[i]
        m[...], v[...] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= self.lr * self.root(m, v, 1 - 0.9**t, 1 - 0.999**t)


class EpsilonInside(OwnAdam):
    root = staticmethod(lambda m, v, c1, c2: m / c1 / np.sqrt(v / c2 + 1e-8))


class KerasAdam(OwnAdam):
    root = staticmethod(lambda m, v, c1, c2: m * np.sqrt(c2) / c1 / (np.sqrt(v) + 1e-7))


class Uncorrected(OwnAdam):
    root = staticmethod(lambda m, v, c1, c2: m / (np.sqrt(v) + 1e-8))


class KerasRMSprop(Loop):
    """The square root is taken after epsilon is added."""

    def optimizer(self, parameters: list[Tensor]) -> optim.Optimizer:
        return Inside(parameters, self.recipe.model.learning_rate)


class Inside(optim.RMSprop):
    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        v = self.second[i]
        v[...] = 0.9 * v + 0.1 * g * g
        w -= self.lr * g / np.sqrt(v + 1e-7)
