"""Known mistakes in the optimizer: momentum, weight decay and learning rate.

Each is replayed from the contender's own starting weights and gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from minigrad import Tensor, optim
from minigrad.recipes import Model
from minigrad.training import build_optimizer, learning_rates

from .case import Case, Numbers, ratio

MakeOptimizer = Callable[[list[Tensor]], optim.Optimizer]
DECAYS = (0.0, 1e-4, 5e-4, 1e-3, 4e-3, 0.01, 0.1)  # common values, and defaults of libraries


def replay(case: Case, make: MakeOptimizer, rates: list[float] | None = None) -> dict[str, np.ndarray]:
    """Return the weights after each of the first steps, by their keys, with the optimizer that `make` creates.

    Args:
        case: the recordings.
        make: creates an optimizer for a list of parameters.
        rates: the learning rate of each step; None means the recipe's.
    """
    start = case.other.at("weight", 0)
    updated: dict[str, np.ndarray] = {}
    names = list(case.other.at("gradient", 1))
    if not names:  # the gradients are not recorded
        raise KeyError(case.step)
    parameters = [Tensor(start[name].copy(), requires_grad=True) for name in names]
    optimizer, rates = make(parameters), rates or learning_rates(case.recipe.model, len(case.reference.losses))
    for step in range(1, case.step + 2):
        gradients = case.other.at("gradient", step)
        if not gradients or step > len(rates):
            break
        for name, p in zip(names, parameters, strict=True):
            p.grad = gradients[name]
        optimizer.param_groups[0]["lr"] = rates[step - 1]  # also a negative one, which a contender may have
        optimizer.step()
        updated |= {f"weight {name} {step}": p.data.copy() for name, p in zip(names, parameters, strict=True)}
    if f"weight {case.name} {case.step}" not in updated:  # the gradients of this step are not recorded
        raise KeyError(case.step)
    return updated


def moments(case: Case) -> Iterator[tuple[str, Numbers]]:
    """SGD with another momentum."""
    model = case.recipe.model
    if model.optimizer != "sgd":
        return
    lr, mu = model.learning_rate, model.momentum
    if mu:
        nesterov: MakeOptimizer = lambda p: optim.SGD(p, lr, mu, model.weight_decay, nesterov=True)  # noqa: E731
        yield "The momentum is Nesterov momentum.", replay(case, nesterov)
        for first, start in ((True, "from the first step on"), (False, "from the second step on, as with dampening")):
            damped = replay(case, lambda p, f=first: Damped(p, model, f))  # type: ignore[misc]
            yield f"The gradient is multiplied by 1 - {mu:g} in the momentum, {start}.", damped
    for other in dict.fromkeys((0.0, 0.5, 0.9, 0.95, 0.99)):
        if other != mu:
            sentence = f"The momentum is {other:g} where the recipe has {mu:g}."
            yield sentence, replay(case, lambda p, m=other: optim.SGD(p, lr, m, model.weight_decay))  # type: ignore[misc]


class Damped(optim.SGD):
    """v <- momentum v + (1 - momentum) g. torch's dampening does not change the first step (`first` is false)."""

    def __init__(self, parameters: list[Tensor], model: Model, first: bool) -> None:
        super().__init__(parameters, model.learning_rate, model.momentum, model.weight_decay)
        self.first = first

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        super().update(i, w, g if self.steps == 1 and not self.first else (1 - self.momentum) * g)


def decays(case: Case) -> Iterator[tuple[str, Numbers]]:
    """Weight decay applied in another way, or with another factor."""
    model = case.recipe.model
    own, adaptive = model.weight_decay, model.optimizer in ("adam", "adamw")
    other = replace(model, optimizer="adam" if model.optimizer == "adamw" else "adamw")
    if own and adaptive:
        coupled = "Weight decay is added to the gradient, as in Adam with an L2 penalty, instead of to the weights."
        decoupled = "Weight decay is applied to the weights, as in AdamW, instead of to the gradient."
        yield coupled if model.optimizer == "adamw" else decoupled, replay(case, lambda p: build_optimizer(p, other))
    for decay in DECAYS:
        for kind in (model, other) if adaptive else (model,):
            changed = replace(kind, weight_decay=decay)
            if decay != own:
                sentence = f"Weight decay is {decay:g} where the recipe has {own:g}."
                yield sentence, replay(case, lambda p, m=changed: build_optimizer(p, m))  # type: ignore[misc]


def rate(case: Case) -> Iterator[tuple[str, Numbers]]:
    """Another schedule or learning rate. One step determines the rate, since every optimizer's step is proportional to it."""
    model, key = case.recipe.model, f"weight {case.name} {case.step}"
    rates = learning_rates(model, len(case.reference.losses))
    if model.schedule != "constant":
        schedule = f"{model.schedule} schedule"
        yield (
            f"The {schedule} is not applied: the learning rate is constant.",
            _replayed(case, [model.learning_rate] * len(rates)),
        )
        yield f"The learning rate is one step ahead of the {schedule}.", _replayed(case, [*rates[1:], 0.0])
        yield f"The learning rate is one step behind the {schedule}.", _replayed(case, [rates[0], *rates[:-1]])
    before = case.other.at("weight", case.step - 1)[case.name]
    factor = ratio(before - case.other.arrays[key], before - _replayed(case, rates)[key])
    own = rates[case.step - 1]
    sentence = f"The learning rate is {factor * own:.4g} where the recipe has {own:.4g}."
    yield sentence, _replayed(case, [factor * r for r in rates])
    yield sentence, {key: _replayed(case, [*rates[: case.step - 1], factor * own])[key]}


def _replayed(case: Case, rates: list[float]) -> dict[str, np.ndarray]:
    """Replay the recipe's optimizer with other learning rates."""
    return replay(case, lambda p: build_optimizer(p, case.recipe.model), rates)


def not_updated(case: Case) -> Iterator[tuple[str, Numbers]]:
    """A weight stays as it was."""
    before = case.other.at("weight", case.step - 1)[case.name]
    yield "It is not updated.", {f"weight {case.name} {case.step}": before}
