"""Mistakes in the optimizer, and in the running statistics of batch norm.

Each is replayed from the starting weights and the gradients of the side that it is searched for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from minigrad import Tensor, optim

from ...parity.mistakes.adaptive import AdamOf
from ...parity.mistakes.updates import DECAYS
from ..case import Case
from ..model import Framework
from .candidate import Candidate, Mistake, is_left, left, ratio, right
from .words import choice, setting

EPSILONS = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-10, 0.0)
MOMENTA = (0.9, 0.5, 0.95, 0.99)
SAMPLE = 1000  # elements that are replayed to select an optimizer


@dataclass(frozen=True)
class Update:
    """The settings of an optimizer.

    Attributes:
        kind: "sgd" or "adam".
        rate: the learning rate.
        weight_decay: its factor.
        decoupled: whether the decay is applied to the weights, as in AdamW and Keras, instead of to the gradient.
        momentum, nesterov: of SGD.
        eps: epsilon of Adam.
        early: whether epsilon is added before the bias correction, as in Keras.
    """

    kind: str
    rate: float
    weight_decay: float = 0.0
    decoupled: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    eps: float = 1e-8
    early: bool = False

    def weights(self, start: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
        """Return the weight after one step per gradient."""
        p = Tensor(start.copy(), requires_grad=True)
        optimizer = self._optimizer(p)
        for gradient in gradients:
            p.grad = gradient
            optimizer.step()
        return p.data

    def _optimizer(self, p: Tensor) -> optim.Optimizer:
        if self.kind == "adam":
            return AdamOf(
                self.rate, self.weight_decay, self.decoupled, True, _early if self.early else _late, self.eps, [p]
            )
        optimizer = optim.SGD([p], self.rate, self.momentum, self.weight_decay, self.nesterov)
        optimizer.decoupled = self.decoupled
        return optimizer


def _early(v: Any, c: float, eps: float) -> Any:
    return (np.sqrt(v) + eps) / math.sqrt(c)


def _late(v: Any, c: float, eps: float) -> Any:
    return np.sqrt(v / c) + eps


def updates(case: Case) -> tuple[Mistake, ...]:
    """Return the mistakes of a weight or buffer after a step."""
    if case.tensor.startswith("running_"):
        return (running_statistics,)
    return (not_updated, other_optimizer, other_rate)


def not_updated(case: Case) -> Iterator[Candidate]:
    """A weight stays as it was."""
    name = _name(case)
    for on_left, arrays in ((False, case.other), (True, case.reference)):
        owner, framework = (left(case), case.left_framework) if on_left else (right(case), case.right_framework)
        yield Candidate(
            "weight not updated",
            f"The {case.tensor.split()[0]} of {owner} is not updated",
            f"Set `{choice(framework, ('requires_grad = True', 'trainable = True'))}` for {owner}.",
            arrays[f"weight {name} {case.step - 1}"],
            on_left=on_left,
        )


def other_optimizer(case: Case) -> Iterator[Candidate]:
    """The optimizer has another epsilon, weight decay or momentum. The settings of both sides are searched for."""
    if case.training is None:
        return
    name, training = _name(case), case.training
    forms = list(dict.fromkeys(_forms(training.optimizer, training.learning_rate, case.left_framework)))
    first = next((u for u in forms if is_left(case, _replayed(case, u, case.reference, name))), None)
    if first is None:
        return
    flat = replace(case, expected=case.expected.ravel()[:SAMPLE], actual=case.actual.ravel()[:SAMPLE])
    for second in sorted(forms, key=lambda update: len(_changes(first, update))):
        difference = _changes(first, second)
        if difference and flat.matches(_replayed(flat, second, case.other, name, SAMPLE)):
            yield Candidate(
                _mistake(difference),
                f"The right optimizer {_words(second, difference)} and the left one {_words(first, difference)}",
                _change(case.right_framework, first, difference),
                partial(_replayed, case, second, case.other, name),
            )


def other_rate(case: Case) -> Iterator[Candidate]:
    """The learning rate differs. A step is proportional to it."""
    if case.training is None or case.actual.size < 4:
        return
    name, rate = _name(case), case.training.learning_rate
    before = case.other[f"weight {name} {case.step - 1}"]
    update = next(iter(_forms(case.training.optimizer, rate, case.right_framework)))
    step = _replayed(case, update, case.other, name) - before if case.step == 1 else case.expected - before
    factor = ratio(case.actual - before, step)
    yield Candidate(
        "learning rate",
        f"The learning rate of the right optimizer is {factor * rate:.4g} and that of the left one {rate:.4g}",
        f"Use `{choice(case.right_framework, ('lr', 'learning_rate'))}={rate:g}` on the right.",
        before + factor * step,
    )


def _replayed(
    case: Case, update: Update, arrays: Mapping[str, np.ndarray], name: str, count: int | None = None
) -> np.ndarray:
    """Return a weight after the step, or its first `count` elements, from the recorded gradients of one side."""
    start = arrays[f"weight {name} 0"]
    gradients = [arrays[f"gradient {name} {step}"] for step in range(1, case.step + 1)]
    if count is not None:
        start, gradients = start.ravel()[:count], [g.ravel()[:count] for g in gradients]
    return update.weights(start, gradients)


def _forms(kind: str, rate: float, framework: Framework) -> Iterator[Update]:
    """Yield optimizers: the defaults of the framework, then those with one other setting, then with weight decay."""
    default = Update("sgd" if kind == "sgd" else "adam", rate)
    if default.kind == "adam":
        defaults = [default, replace(default, eps=1e-7, early=True)]
        bases = defaults if framework == "torch" else defaults[::-1]
        bases += [replace(default, eps=eps, early=early) for eps in EPSILONS for early in (False, True)]
    else:
        bases = [default]
        bases += [replace(default, momentum=m, nesterov=nesterov) for m in MOMENTA for nesterov in (False, True)]
    yield from bases
    for base in bases:
        for decay in DECAYS:
            yield from (replace(base, weight_decay=decay, decoupled=decoupled) for decoupled in (False, True))


def _changes(first: Update, second: Update) -> list[str]:
    """Return the settings that differ."""
    a, b = asdict(first), asdict(second)
    if not first.weight_decay or not second.weight_decay:
        a.pop("decoupled")
    return [key for key in a if a[key] != b[key]]


def _mistake(changes: list[str]) -> str:
    names = {"weight_decay": "weight decay", "decoupled": "coupled or decoupled weight decay", "eps": "adam epsilon"}
    names |= {"early": "adam epsilon", "momentum": "momentum", "nesterov": "nesterov momentum"}
    return names[changes[0]]


def _words(update: Update, changes: list[str]) -> str:
    phrases = {
        "weight_decay": f"has weight decay {update.weight_decay:g}",
        "decoupled": "applies weight decay to the weights, as AdamW"
        if update.decoupled
        else "adds weight decay to the gradient, as an L2 penalty",
        "momentum": f"has momentum {update.momentum:g}",
        "nesterov": f"has {'' if update.nesterov else 'no '}Nesterov momentum",
        "eps": f"has epsilon {update.eps:g}",
        "early": f"adds epsilon {'before' if update.early else 'after'} the bias correction",
    }
    if "weight_decay" in changes and update.weight_decay and "decoupled" not in changes:
        phrases["weight_decay"] += " on the weights" if update.decoupled else " in the gradient"
    return " and ".join(phrases[key] for key in changes)


def _change(framework: Framework, first: Update, changes: list[str]) -> str:
    """Return the change of the right optimizer that makes both equal."""
    if "decoupled" in changes or "weight_decay" in changes:
        if not first.weight_decay:
            return "Use no `weight_decay` and no `kernel_regularizer` on the right."
        if first.decoupled:
            name = choice(framework, ("torch.optim.AdamW", "keras.optimizers.AdamW"))
            name = name if first.kind == "adam" else choice(framework, ("torch.optim.SGD", "keras.optimizers.SGD"))
            return f"Use `{name}(..., weight_decay={first.weight_decay:g})` on the right."
        torch = f"`torch.optim.{'Adam' if first.kind == 'adam' else 'SGD'}(..., weight_decay={first.weight_decay:g})`"
        keras = f"`kernel_regularizer=keras.regularizers.L2({first.weight_decay / 2:g})` instead of `weight_decay`"
        return f"Use {choice(framework, (torch, keras))} on the right."
    if "momentum" in changes or "nesterov" in changes:
        return f"Use `SGD(..., momentum={first.momentum:g}, nesterov={first.nesterov})` on the right."
    argument = choice(framework, ("eps", "epsilon"))
    text = f"Use `Adam(..., {argument}={first.eps:g})` on the right"
    return f"{text}; where epsilon is added is fixed in each framework." if "early" in changes else f"{text}."


def _name(case: Case) -> str:
    """Return the name of the weight in the recordings."""
    return case.names[case.tensor.split()[0]]


def running_statistics(case: Case) -> Iterator[Candidate]:
    """The running statistics of batch norm have another momentum, or another variance.

    The statistics of the batch follow from the left ones: s = (r_k - (1 - m) r_(k-1)) / m.
    """
    if case.left is None or case.right is None or case.training is None:
        return
    first, second = (layer.config for layer in (case.left, case.right))
    name, is_var = _name(case), case.tensor.startswith("running_var")
    m, n = first["momentum"], len(case.training.targets) * math.prod(case.left.inputs[0][1:]) // case.expected.size
    unbiased = first.get("unbiased", case.left_framework == "torch")
    start = case.reference[f"weight {name} {case.step - 1}"]
    batch = (case.expected - (1 - m) * start) / m
    before = case.other[f"weight {name} {case.step - 1}"]
    momenta = dict.fromkeys((m, second.get("momentum", m), 1 - m, 0.1, 0.01, 0.001, 0.9, 0.99, 0.999, 0.03))
    for other in momenta:
        for is_other in (False, True) if is_var else (False,):
            factor = ((n - 1) / n if unbiased else n / (n - 1)) if is_other else 1.0
            words = [] if other == m else [_momentum(case, m, other)]
            words += [_variance(case, not unbiased)] if is_other else []
            yield Candidate(
                "batch norm momentum" if other != m else "running variance",
                " and ".join(words),
                _running_change(case, m, other, is_other),
                (1 - other) * before + other * factor * batch,
            )


def _momentum(case: Case, m: float, other: float) -> str:
    return (
        f"{right(case)} gives the statistics of a batch the weight {other:g} and {left(case)} the weight {m:g},"
        " which Keras writes as momentum 1 - weight"
    )


def _variance(case: Case, unbiased: bool) -> str:
    sides = ("n - 1", "n") if unbiased else ("n", "n - 1")
    return f"{right(case)} divides the running variance by {sides[0]} and {left(case)} by {sides[1]}"


def _running_change(case: Case, m: float, other: float, is_variance: bool) -> str:
    assert case.right is not None
    changes = []
    if other != m:
        changes.append(
            f"Write {setting(case.right_framework, case.right, 'batch_norm', {'momentum': m}, ['momentum'])} on the right."
        )
    if is_variance:
        changes.append(
            "PyTorch divides by n - 1 and Keras by n; there is no setting for it, and it has no effect on training."
        )
    return " ".join(changes)
