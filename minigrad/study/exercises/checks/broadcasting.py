"""The check of 05 broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from ....gradcheck import numerical_gradient
from ....tensor import Tensor
from .core import Case, Mistake, Outputs, Part
from .rules import NO_G, Rule, rule_part


def call_unbroadcast(module: Any, g: np.ndarray, shape: tuple[int, ...]) -> Outputs:
    return {"unbroadcast(g, shape)": module.unbroadcast(g, shape)}


def adjoint(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the gradient of sum(g * broadcast(x)) for x of a shape, by finite differences; it is linear in x."""
    inputs = (Tensor(np.zeros(shape)),)
    return numerical_gradient(lambda x: Tensor(np.broadcast_to(x.data, g.shape)), inputs, 0, g)


def unbroadcast_cases(rng: np.random.Generator) -> Iterator[Case]:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]]
    shapes = [((4, 3), (3,)), ((4, 3), (4, 1)), ((4, 3), (1, 3)), ((3, 3), (3,)), ((2, 3), ()), ((2, 3), (1, 1))]
    shapes += [
        ((2, 3), (2, 3)),
        ((2, 4, 3), (4, 1)),
        ((2, 4, 3), (2, 1, 3)),
        ((1, 3), (3,)),
        ((1, 3), (1, 3)),
        ((), ()),
    ]
    for before, shape in shapes:
        yield Case({"g": rng.normal(size=before), "shape": shape})


def added_axes_only(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(g.sum(axis=tuple(range(g.ndim - len(shape)))))


def repeated_axes(g: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of g that come from an axis of length 1."""
    added = g.ndim - len(shape)
    return tuple(added + axis for axis, length in enumerate(shape) if length == 1)


def all_axes(g: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*range(g.ndim - len(shape)), *repeated_axes(g, shape))


def adjoint_of_shape(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the same as `adjoint`, from sums."""
    return np.asarray(g.sum(axis=all_axes(g, shape)).reshape(shape))


KEEP = "An axis of length 1 keeps this length: pass keepdims=True to sum over these axes."
NOT_SUMMED = "g is not summed. Each use of an element has a gradient; add them, over the axes that are new or repeated."
ADDED_ONLY = "Only the axes that were added at the front are summed. Sum over the axes of length 1 in `shape`, too."
MEAN = "The gradients of all uses are added, and not averaged: use sum instead of mean."
FIRST = "This is the gradient of one use. Add the gradients of all uses: sum over the axis."

UNBROADCAST = [
    (lambda g, shape: g, NOT_SUMMED),
    (lambda g, shape: g.mean(axis=all_axes(g, shape)).reshape(shape), MEAN),
    (added_axes_only, ADDED_ONLY),
    (lambda g, shape: g.sum(axis=all_axes(g, shape)), KEEP),
    (
        lambda g, shape: g.sum(axis=repeated_axes(g, shape), keepdims=True),
        "Sum over the axes that were added at the front.",
    ),
    (lambda g, shape: g[(0,) * (g.ndim - len(shape))], FIRST),
    (
        lambda g, shape: np.full(shape, g.sum()),
        "This is the sum of all elements. Sum over some axes only: sum(axis=...).",
    ),
    (lambda g, shape: g.sum(axis=-1), "The wrong axis is summed: new axes are at the front, with numbers from 0."),
]


def add_cases(rng: np.random.Generator) -> Iterator[Case]:
    for a, b in (((4, 3), (3,)), ((3,), (4, 3)), ((4, 1), (1, 3)), ((2, 2), (2, 2)), ((1, 2), (2,)), ((2, 3), ())):
        shape = np.broadcast_shapes(a, b)
        yield Case({"g": rng.normal(size=shape), "a": rng.normal(size=a), "b": rng.normal(size=b)})


def wrong_add(sum_of: Callable[[np.ndarray, tuple[int, ...]], Any]) -> Rule:
    """Return addition with another function in place of `unbroadcast`."""
    return lambda a, b: (a + b, lambda g: sum_of(g, a.shape), lambda g: sum_of(g, b.shape))


BROADCASTING = (
    Part(
        ("unbroadcast",),
        call_unbroadcast,
        SimpleNamespace(unbroadcast=adjoint),
        unbroadcast_cases,
        [Mistake(SimpleNamespace(unbroadcast=wrong), hint) for wrong, hint in UNBROADCAST],
        rtol=1e-5,
        atol=1e-7,
    ),
    rule_part(
        "add",
        lambda a, b: a + b,
        ("a", "b"),
        add_cases,
        [
            (wrong_add(lambda g, shape: g), "Sum g over the axes that broadcasting has added or repeated: use unbroadcast."),
            (wrong_add(lambda g, shape: np.ones(shape)), "This is 1, without g. " + NO_G),
            (lambda a, b: (a + b, lambda g: adjoint_of_shape(g, a.shape) * a, lambda g: adjoint_of_shape(g, b.shape) * b),
             "The derivative of a + b with respect to a is 1."),
        ],
    ),
)  # fmt: skip
