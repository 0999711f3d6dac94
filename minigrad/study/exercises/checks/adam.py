"""The check of 10 adam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from .core import Case, Mistake, Outputs, Part
from .sgd import Base, Parameter, run_steps


@dataclass(frozen=True)
class Deviation:
    """What a wrong Adam does differently; by default nothing.

    Attributes:
        m_factor, v_factor: whether the gradient is multiplied by 1 - beta in m and v.
        m_correction, v_correction: whether m and v are divided by 1 - beta^t.
        kept: whether the corrected averages replace m and v.
        squared: whether v averages squares.
        inside: whether eps is added below the square root.
        root: whether the square root of v is taken.
        sign: of the update.
        swapped: whether beta1 and beta2 are exchanged.
        momentless: whether grad is used in place of m_hat.
        count: returns t for a step, the number of the parameter, and the number of parameters.
        shared: whether all parameters of a shape share m and v.
        stored: whether m and v are stored for the next step.
    """

    m_factor: bool = True
    v_factor: bool = True
    m_correction: bool = True
    v_correction: bool = True
    kept: bool = False
    squared: bool = True
    inside: bool = False
    root: bool = True
    sign: float = -1.0
    swapped: bool = False
    momentless: bool = False
    count: Callable[[int, int, int], int] = lambda step, i, n: step
    shared: bool = False
    stored: bool = True


def adam(**changes: Any) -> SimpleNamespace:
    """Return a module with an Adam that deviates in `changes`, see `Deviation`."""
    d = Deviation(**changes)

    class Adam(Base):
        def __init__(
            self,
            parameters: list[Parameter],
            lr: float = 0.001,
            beta1: float = 0.9,
            beta2: float = 0.999,
            eps: float = 1e-8,
        ) -> None:
            super().__init__(parameters, lr)
            self.betas, self.eps, self.steps = (beta2, beta1) if d.swapped else (beta1, beta2), eps, 0
            self.m: dict[Any, Any] = {}
            self.v: dict[Any, Any] = {}

        def step(self) -> None:
            self.steps += 1
            for i, p in enumerate(self.parameters):
                key, (b1, b2), g = p.value.shape if d.shared else i, self.betas, p.grad
                t = d.count(self.steps, i, len(self.parameters))
                m = b1 * self.m.get(key, 0) + (1 - b1 if d.m_factor else 1) * g
                v = b2 * self.v.get(key, 0) + (1 - b2 if d.v_factor else 1) * (g * g if d.squared else g)
                m_hat = m / (1 - b1**t) if d.m_correction else m
                v_hat = v / (1 - b2**t) if d.v_correction else v
                if d.stored:
                    self.m[key], self.v[key] = (m_hat, v_hat) if d.kept else (m, v)
                scale = np.sqrt(v_hat + self.eps) if d.inside else (np.sqrt(v_hat) if d.root else v_hat) + self.eps
                p.value = p.value + d.sign * self.lr * (g if d.momentless else m_hat) / scale

    return SimpleNamespace(Adam=Adam)


def call_adam(module: Any, values: list[Any], gradients: list[list[Any]], **options: float) -> Outputs:
    parameters = [Parameter(value) for value in values]
    return run_steps(module.Adam(parameters, **options), parameters, gradients)


def adam_cases(rng: np.random.Generator) -> Iterator[Case]:
    for shapes, options in (
        ([(2,)], {"lr": 0.1, "beta1": 0.75, "beta2": 0.5, "eps": 0.125}),
        ([(2, 3), (2, 3), (1,), ()], {"lr": 0.01}),
    ):
        values = [np.asarray(rng.normal(size=shape)) for shape in shapes]
        gradients = [[np.asarray(rng.normal(size=shape)) for shape in shapes] for _ in range(4)]
        yield Case({"values": values, "gradients": gradients, **options}, shown=len(shapes) == 1)


T = "t counts the steps: add 1 to self.t once per call of step(), before the loop over the parameters."
UNCORRECTED = "The bias correction is missing: divide m by 1 - beta1^t, and v by 1 - beta2^t."
ADAM = (
    Part(
        ("Adam",),
        call_adam,
        adam(),
        adam_cases,
        [
            Mistake(adam(m_correction=False, v_correction=False), UNCORRECTED),
            Mistake(adam(m_correction=False), "The bias correction of m is missing: divide it by 1 - beta1^t."),
            Mistake(adam(v_correction=False), "The bias correction of v is missing: divide it by 1 - beta2^t."),
            Mistake(adam(kept=True), "Keep m and v without the correction: use new variables for m_hat and v_hat."),
            Mistake(adam(squared=False), "v is the average of grad^2, and not of grad."),
            Mistake(adam(inside=True), "Add eps to the square root: sqrt(v_hat) + eps, and not sqrt(v_hat + eps)."),
            Mistake(adam(root=False), "Divide by the square root of v_hat, plus eps."),
            Mistake(adam(sign=1.0), "The sign is wrong: subtract the step from the value."),
            Mistake(adam(swapped=True), "beta1 belongs to m, and beta2 to v. They are exchanged."),
            Mistake(adam(momentless=True), "The step is lr m_hat / ..., with the average in place of grad."),
            Mistake(adam(m_factor=False), "In m, grad is multiplied by (1 - beta1)."),
            Mistake(adam(v_factor=False), "In v, grad^2 is multiplied by (1 - beta2)."),
            Mistake(adam(m_factor=False, v_factor=False), "grad is multiplied by (1 - beta1) in m, grad^2 by (1 - beta2) in v."),
            Mistake(adam(count=lambda step, i, n: step - 1), f"{T} It is 1 in the first step, and not 0."),
            Mistake(adam(count=lambda step, i, n: 1), T),
            Mistake(adam(count=lambda step, i, n: step + 1), f"{T} It is 1 in the first step."),
            Mistake(adam(count=lambda step, i, n: (step - 1) * n + i + 1), T),
            Mistake(adam(stored=False), "m and v start at 0 again in each step: assign the new ones to self.m[i] and self.v[i]."),
            Mistake(adam(shared=True), "Each parameter has averages of its own: self.m[i] and self.v[i]."),
        ],
        {"ZeroDivisionError": f"1 - beta^0 is 0. {T}"},
    ),
)  # fmt: skip
