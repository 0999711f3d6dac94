"""The checks of 03 square and 06 matmul."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .core import Case
from .rules import NO_G, rule_part


def square_cases(rng: np.random.Generator) -> Iterator[Case]:
    for shape in ((3,), (2, 3), (1,), ()):
        yield Case({"g": rng.normal(size=shape), "x": rng.normal(size=shape)})


SQUARE = (
    rule_part(
        "square",
        lambda x: x * x,
        ("x",),
        square_cases,
        [
            (lambda x: (x * x, lambda g: g * x), "The factor 2 is missing: the derivative of x^2 is 2 x."),
            (lambda x: (x * x, lambda g: 2 * x), NO_G),
            (lambda x: (x * x, lambda g: 2 * g), "The derivative of x^2 depends on x: it is 2 x."),
            (lambda x: (x * x, lambda g: g * x * x), "This is g times the value. Multiply g by the derivative, 2 x."),
            (lambda x: (x * x, lambda g: 2 * g * g), "Multiply g by 2 x, with the x that square was called with."),
            (lambda x: (2 * x, lambda g: g), "The value is x^2; 2 x is its derivative."),
        ],
    ),
)


def matmul_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, k, m in ((2, 3, 4), (3, 3, 3), (1, 1, 1), (1, 5, 1), (4, 1, 2)):
        yield Case({"g": rng.normal(size=(n, m)), "a": rng.normal(size=(n, k)), "b": rng.normal(size=(k, m))})


PRODUCTS = "the gradient of a (n, k) is g (n, m) times b^T (m, k), that of b (k, m) is a^T (k, n) times g (n, m)."
MATMUL = (
    rule_part(
        "matmul",
        lambda a, b: a @ b,
        ("a", "b"),
        matmul_cases,
        [
            (lambda a, b: (a * b, lambda g: g @ b.T, lambda g: a.T @ g), "* multiplies element by element. The matrix product is @."),
            (lambda a, b: (b @ a, lambda g: g @ b.T, lambda g: a.T @ g), "The factors are in the wrong order: the value is a @ b."),
            (lambda a, b: (a @ b, lambda g: g @ b, lambda g: a @ g), f"A transpose is missing: {PRODUCTS}"),
            (lambda a, b: (a @ b, lambda g: b.T @ g, lambda g: g @ a.T), f"The order is wrong: {PRODUCTS}"),
            (lambda a, b: (a @ b, lambda g: a.T @ g, lambda g: g @ b.T), "The two pullbacks are exchanged: a's is the first."),
            (lambda a, b: (a @ b, lambda g: (g @ b.T).T, lambda g: (a.T @ g).T), "The result is transposed."),
            (lambda a, b: (a @ b, lambda g: b.T, lambda g: a.T), NO_G),
            (lambda a, b: (a @ b, lambda g: b @ g, lambda g: g @ a), f"The order and the transpose are wrong: {PRODUCTS}"),
            (lambda a, b: (a @ b, lambda g: g * b.T, lambda g: a.T * g), "* multiplies element by element. Use @."),
        ],
        {"ValueError": f"Write down the shapes: {PRODUCTS}"},
    ),
)  # fmt: skip
