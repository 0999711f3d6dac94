"""Known mistakes of the optimiser: its momentum, weight decay and learning rate.

Each is replayed from the other's own starting weights and gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from minigrad import Tensor, optim
from minigrad.recipes import Model
from minigrad.training import Schedule, build_optimizer

from .case import Case, Numbers, ratio

Make = Callable[[list[Tensor]], optim.Optimizer]
DECAYS = (0.0, 1e-4, 5e-4, 1e-3, 4e-3, 0.01, 0.1)  # what people and libraries set


def replay(case: Case, make: Make, rates: list[float] | None = None) -> dict[str, np.ndarray]:
    """The weights after each of the first steps, by their keys, had `make` made the optimiser; None takes the recipe's rates."""
    start = case.other.at("weight", 0)
    moved: dict[str, np.ndarray] = {}
    names = list(case.other.at("gradient", 1))
    parameters = [Tensor(start[name].copy(), requires_grad=True) for name in names]
    optimizer, rates = make(parameters), rates or learning_rates(case.recipe.model, len(case.reference.losses))
    for step in range(1, case.step + 2):
        gradients = case.other.at("gradient", step)
        if not gradients or step > len(rates):
            break
        for name, p in zip(names, parameters, strict=True):
            p.grad = gradients[name]
        optimizer.lr = rates[step - 1]
        optimizer.step()
        moved |= {f"weight {name} {step}": p.data.copy() for name, p in zip(names, parameters, strict=True)}
    if f"weight {case.name} {case.step}" not in moved:  # later than gradients were kept
        raise KeyError(case.step)
    return moved


def learning_rates(model: Model, steps: int) -> list[float]:
    """The recipe's learning rate at each step."""
    optimizer, rates = optim.SGD([], model.learning_rate), []
    schedule = Schedule(model.schedule, optimizer, steps)
    for _ in range(steps):
        rates.append(optimizer.lr)
        optimizer.step()
        schedule.after_step()
    return rates


def moments(case: Case) -> Iterator[tuple[str, Numbers]]:
    """SGD with another momentum."""
    model = case.recipe.model
    if model.optimizer != "sgd":
        return
    lr, mu = model.learning_rate, model.momentum
    if mu:
        nesterov: Make = lambda p: optim.SGD(p, lr, mu, model.weight_decay, nesterov=True)  # noqa: E731
        yield "The momentum is Nesterov's.", replay(case, nesterov)
        for first, said in ((True, "from the first step on"), (False, "from the second step on, as by dampening")):
            damped = replay(case, lambda p, f=first: Damped(p, model, f))  # type: ignore[misc]
            yield f"The gradient enters the momentum times 1 - {mu:g}, {said}.", damped
    for other in dict.fromkeys((0.0, 0.5, 0.9, 0.95, 0.99)):
        if other != mu:
            said = f"The momentum is {other:g} where the recipe has {mu:g}."
            yield said, replay(case, lambda p, m=other: optim.SGD(p, lr, m, model.weight_decay))  # type: ignore[misc]


class Damped(optim.SGD):
    """v <- momentum v + (1 - momentum) g; torch's dampening leaves the first step as it is."""

    def __init__(self, parameters: list[Tensor], model: Model, first: bool) -> None:
        super().__init__(parameters, model.learning_rate, model.momentum, model.weight_decay)
        self.first = first

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        super().update(i, w, g if self.steps == 1 and not self.first else (1 - self.momentum) * g)


def decays(case: Case) -> Iterator[tuple[str, Numbers]]:
    """Weight decay in the other place, or of another size."""
    model = case.recipe.model
    has, adaptive = model.weight_decay, model.optimizer in ("adam", "adamw")
    other = replace(model, optimizer="adam" if model.optimizer == "adamw" else "adamw")
    if has and adaptive:
        places = (
            "the gradient, as in Adam with an L2 penalty, where AdamW shrinks the weights themselves",
            "the weights themselves, as in AdamW, where the recipe has it in the gradient",
        )
        where = places[0] if model.optimizer == "adamw" else places[1]
        yield f"Weight decay is in {where}.", replay(case, lambda p: build_optimizer(p, other))
    for decay in DECAYS:
        for kind in (model, other) if adaptive else (model,):
            changed = replace(kind, weight_decay=decay)
            if decay != has:
                said = f"Weight decay is {decay:g} where the recipe has {has:g}."
                yield said, replay(case, lambda p, m=changed: build_optimizer(p, m))  # type: ignore[misc]


def rate(case: Case) -> Iterator[tuple[str, Numbers]]:
    """Another schedule, or another rate: every optimiser's step grows with it, so that one step tells it."""
    model, key = case.recipe.model, f"weight {case.name} {case.step}"
    rates = learning_rates(model, len(case.reference.losses))
    if model.schedule != "constant":
        said = f"{model.schedule} schedule"
        yield (
            f"The {said} is not followed: the learning rate stays.",
            _replayed(case, [model.learning_rate] * len(rates)),
        )
        yield f"The learning rate is a step ahead of the {said}.", _replayed(case, [*rates[1:], 0.0])
        yield f"The learning rate is a step behind the {said}.", _replayed(case, [rates[0], *rates[:-1]])
    before = case.other.at("weight", case.step - 1)[case.name]
    factor = ratio(before - case.other.arrays[key], before - _replayed(case, rates)[key])
    now = rates[case.step - 1]
    sentence = f"The learning rate is {factor * now:.4g} where the recipe's is {now:.4g}."
    yield sentence, _replayed(case, [factor * r for r in rates])
    yield sentence, {key: _replayed(case, [*rates[: case.step - 1], factor * now])[key]}


def _replayed(case: Case, rates: list[float]) -> dict[str, np.ndarray]:
    return replay(case, lambda p: build_optimizer(p, case.recipe.model), rates)


def not_moved(case: Case) -> Iterator[tuple[str, Numbers]]:
    before = case.other.at("weight", case.step - 1)[case.name]
    yield "It was not moved at all.", {f"weight {case.name} {case.step}": before}
