"""The check of 07 softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .core import Case
from .rules import NO_G, Rule, rule_part


def softmax_of(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def softmax_cases(rng: np.random.Generator) -> Iterator[Case]:
    for shape in ((2, 3), (4, 2), (3, 3), (1, 3), (2, 1)):
        yield Case({"g": rng.normal(size=shape), "z": rng.normal(size=shape)})
    yield Case({"g": rng.normal(size=(2, 3)), "z": np.array([[1000.0, 0.0, -1000.0], [-999.0, -1000.0, -1001.0]])})


def softmax_rule(
    value: Callable[[np.ndarray], Any] = softmax_of, pullback: Callable[[Any, Any], Any] | None = None
) -> Rule:
    """Return a rule; the pullback gets p and g. What is not passed is right."""

    def rule(z: np.ndarray) -> tuple[Any, ...]:
        p = value(z)
        return p, lambda g: pullback(p, g) if pullback else p * (g - row_sum(g * p))

    return rule


def row_sum(x: np.ndarray) -> Any:
    return x.sum(axis=1, keepdims=True)


def shifted_exp(z: np.ndarray) -> Any:
    return np.exp(z - z.max(axis=1, keepdims=True))


def unshifted(z: np.ndarray) -> Any:
    return np.exp(z) / row_sum(np.exp(z))


SOFTMAX = (
    rule_part(
        "softmax",
        softmax_of,
        ("z",),
        softmax_cases,
        [
            (softmax_rule(lambda z: softmax_of(z, None)), "Each row has its own sum: sum(axis=1, keepdims=True)."),
            (softmax_rule(lambda z: shifted_exp(z) / shifted_exp(z).sum()), "Each row has its own sum: sum(axis=1, keepdims=True)."),
            (softmax_rule(lambda z: softmax_of(z, 0)), "The columns add up to 1; the rows must. Sum over axis 1."),
            (softmax_rule(shifted_exp), "Divide e^z by its sum over each row."),
            (softmax_rule(lambda z: z / row_sum(z)), "This is z divided by its sum. Take e^z first."),
            (softmax_rule(unshifted), "e^1000 is infinite, and inf / inf is not a number. Subtract each row's largest element."),
            (softmax_rule(pullback=lambda p, g: g * p * (1 - p)),
             "These are only the diagonal elements of the Jacobian, dp_c/dz_c. Each z_k changes all p of its row:"
             " p_c (g_c - sum of g_k p_k)."),
            (softmax_rule(pullback=lambda p, g: p * g), "The sum is missing: p_c (g_c - sum over the row of g_k p_k)."),
            (softmax_rule(pullback=lambda p, g: p * (g - row_sum(g))), "Weight the sum by p: sum over the row of g_k p_k."),
            (softmax_rule(pullback=lambda p, g: g - row_sum(g * p)), "The factor p_c before the bracket is missing."),
            (softmax_rule(pullback=lambda p, g: p * (g - (g * p).sum())), "Each row has its own sum of g p: axis=1."),
            (softmax_rule(pullback=lambda p, g: p * (row_sum(g * p) - g)), "The sign is wrong: g minus the sum."),
            (softmax_rule(pullback=lambda p, g: p * (1 - p)), NO_G),
        ],
        {"ValueError": "Do the shapes agree? keepdims=True keeps the sum of each row as an array of shape (n, 1)."},
    ),
)  # fmt: skip
