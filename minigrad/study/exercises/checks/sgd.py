"""The check of 09 sgd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..outcome import Wrong
from .core import Case, Mistake, Outputs, Part


class Parameter:
    """A value and its gradient."""

    def __init__(self, value: Any, grad: Any = None) -> None:
        self.value, self.grad = value, grad


class Base:
    """What the optimizers of this file share."""

    def __init__(self, parameters: list[Parameter], lr: float) -> None:
        self.parameters, self.lr = parameters, lr

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None


Update = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def sgd(update: Update) -> SimpleNamespace:
    """Return a module whose SGD computes the new value by `update`, from the value, the gradient and the learning rate."""

    class SGD(Base):
        def step(self) -> None:
            for p in self.parameters:
                if p.grad is not None:
                    p.value = update(p.value, p.grad, self.lr)

    return SimpleNamespace(SGD=SGD)


def run_steps(optimizer: Any, parameters: list[Parameter], gradients: list[list[Any]]) -> Outputs:
    """Take one step per list of gradients, and return all values."""
    outputs: Outputs = {}
    for step, row in enumerate(gradients, 1):
        for p, g in zip(parameters, row, strict=True):
            p.grad = None if g is None else g.copy()
        optimizer.step()
        for i, (p, g) in enumerate(zip(parameters, row, strict=True)):
            outputs[f"The value of parameter {i} after step {step}"] = np.array(p.value)
            if g is not None and (p.grad is None or not np.array_equal(p.grad, g)):
                raise Wrong(
                    f"step() changes the grad of parameter {i}.",
                    hint="step only reads the gradients. zero_grad removes them. Compute without -=, += or *= on grad.",
                )
    return outputs


def call_sgd(module: Any, values: list[Any], gradients: list[list[Any]], lr: float) -> Outputs:
    parameters = [Parameter(value) for value in values]
    optimizer = module.SGD(parameters, lr)
    outputs = run_steps(optimizer, parameters, gradients)
    optimizer.zero_grad()
    return outputs | {f"The grad of parameter {i} after zero_grad()": p.grad for i, p in enumerate(parameters)}


def sgd_cases(rng: np.random.Generator) -> Iterator[Case]:
    for shapes, lr in (([(3,)], 0.5), ([(2, 3), (1,), ()], 0.1)):
        values = [rng.normal(size=shape) for shape in shapes]
        gradients = [[np.asarray(rng.normal(size=shape)) for shape in shapes] for _ in range(2)]
        yield Case({"values": values, "gradients": gradients, "lr": lr}, shown=len(shapes) == 1)
    value = np.array([1.0, 2.0])
    yield Case({"values": [value, value + 1], "gradients": [[None, value]], "lr": 0.1})


class Recorder(Base):
    """An optimizer of its own for `train_step`: plain gradient descent."""

    def step(self) -> None:
        for p in self.parameters:
            if p.grad is not None:
                p.value = p.value - self.lr * p.grad


def call_train_step(module: Any, start: np.ndarray, lr: float) -> Outputs:
    """Minimise the sum of p^2 / 2, whose gradient is p, for three steps."""
    p = Parameter(start)
    optimizer, outputs = Recorder([p], lr), {}

    def backward() -> None:
        p.grad = p.value.copy() if p.grad is None else p.grad + p.value

    for step in (1, 2, 3):
        module.train_step(optimizer, backward)
        outputs[f"The value after train_step number {step}"] = np.array(p.value)
    return outputs


def order(*names: str) -> SimpleNamespace:
    """Return a module whose train_step calls these methods."""

    def train_step(optimizer: Any, backward: Callable[[], None]) -> None:
        for name in names:
            backward() if name == "backward" else getattr(optimizer, name)()

    return SimpleNamespace(train_step=train_step)


ZERO = "The gradients of the step before are still there, so that backward adds to them. Call zero_grad() first."
UNMOVED = (
    "The value has not changed: there is no gradient when step() is called, or it is not called."
    " The order is: zero_grad(), backward(), step()."
)
SGD = (
    Part(
        ("SGD",),
        call_sgd,
        sgd(lambda w, g, lr: w - lr * g),
        sgd_cases,
        [
            Mistake(sgd(lambda w, g, lr: w + lr * g), "The sign is wrong: subtract, because the gradient points uphill."),
            Mistake(sgd(lambda w, g, lr: w - g), "The learning rate is missing: multiply grad by lr."),
            Mistake(sgd(lambda w, g, lr: w), "The value has not changed. Assign to p.value, not to a variable of its own."),
            Mistake(sgd(lambda w, g, lr: -lr * g), "Subtract lr * grad from the old value."),
            Mistake(sgd(lambda w, g, lr: (1 - lr) * w), "lr is multiplied by the value. Multiply it by grad."),
            Mistake(sgd(lambda w, g, lr: w - lr * g / max(len(g), 1) if g.ndim else w), "Do not divide by the length."),
        ],
        {"TypeError": "A parameter whose grad is None keeps its value: `if p.grad is not None`."},
    ),
    Part(
        ("train_step",),
        call_train_step,
        order("zero_grad", "backward", "step"),
        lambda rng: [Case({"start": rng.normal(size=3), "lr": 0.25})],
        [
            Mistake(order("backward", "step"), ZERO),
            Mistake(order("zero_grad", "step", "backward"), UNMOVED),
            Mistake(order("step", "zero_grad", "backward"), "step() uses the gradients of the step before: call it after backward()."),
            Mistake(order("step", "backward"), "step() needs the gradients of backward(). And zero_grad() must be called first."),
            Mistake(order("zero_grad", "backward", "backward", "step"), "backward() is called twice, which adds the gradient twice."),
        ],
    ),
)  # fmt: skip
