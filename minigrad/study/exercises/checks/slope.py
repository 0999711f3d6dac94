"""The check of 01 slope."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .core import Case, Mistake, Outputs, Part


class Formula:
    """A function with the text that describes it."""

    def __init__(self, text: str, function: Callable[[Any], Any]) -> None:
        self.text, self.function = text, function

    def __call__(self, x: Any) -> Any:
        return self.function(x)

    def __str__(self) -> str:
        return self.text


def central(f: Any, x: Any, h: float = 1e-5) -> Any:
    return (f(x + h) - f(x - h)) / (2 * h)


def elementwise(f: Any, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Apply the central difference to each element."""
    out = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        shift = np.zeros(x.shape)
        shift[index] = h
        out[index] = (f(x + shift) - f(x - shift)) / (2 * h)
    return out


def accumulated(f: Any, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Shift each element and leave it shifted."""
    out, right, left = np.zeros(x.shape), x.copy(), x.copy()
    for index in np.ndindex(x.shape):
        right[index] += h
        left[index] -= h
        out[index] = (f(right) - f(left)) / (2 * h)
    return out


def one_sided(f: Any, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    out = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        shift = np.zeros(x.shape)
        shift[index] = h
        out[index] = (f(x + shift) - f(x)) / h
    return out


def along_rows(f: Any, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Shift all elements of a row together, as if x had one axis only, and return one slope per row."""
    return np.array([(f(_shifted(x, i, h)) - f(_shifted(x, i, -h))) / (2 * h) for i in range(len(x))])


def _shifted(x: np.ndarray, i: int, h: float) -> np.ndarray:
    x = x.copy()
    x[i] += h
    return x


def repeated_rows(f: Any, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Write the slope of a row to all its elements."""
    slopes = along_rows(f, x, h)
    return np.broadcast_to(slopes.reshape(-1, *[1] * (x.ndim - 1)), x.shape)


def call_slope(module: Any, f: Any, x: float, h: float) -> Outputs:
    return {"slope(f, x, h)": module.slope(f, x, h)}


def call_gradient(module: Any, f: Any, x: np.ndarray, h: float) -> Outputs:
    return {"gradient(f, x, h)": module.gradient(f, x, h)}


def slope_cases(rng: np.random.Generator) -> Iterator[Case]:
    cube, wave = Formula("x^3", lambda x: x**3), Formula("sin(x)", np.sin)
    for f, x, h in ((cube, 2.0, 0.1), (wave, 0.5, 1e-3), (cube, -1.0, 1e-4), (Formula("7", lambda x: 7.0), 1.0, 0.1)):
        yield Case({"f": f, "x": x, "h": h})


def gradient_cases(rng: np.random.Generator) -> Iterator[Case]:
    product = Formula("the product of all elements of x", lambda x: float(x.prod()))
    cubes = Formula("the sum of x^3", lambda x: float((x**3).sum()))
    for f, shape in ((product, (3,)), (cubes, (2, 3)), (product, (1,)), (cubes, (2, 1, 2)), (cubes, ())):
        yield Case({"f": f, "x": rng.uniform(0.5, 2, shape), "h": 0.01})


def target(**functions: Any) -> SimpleNamespace:
    return SimpleNamespace(**functions)


TWO_H = "Divide by 2 h: this is the distance from x - h to x + h."
BOTH_SIDES = "f(x) is not needed: take f(x + h) - f(x - h), one value on each side, and divide it by 2 h."
AXES = "x may have several axes, or none. Loop over np.ndindex(x.shape), and use each index as a whole: x[index]."
SIGN = "The sign is wrong: subtract the value at x - h from the value at x + h."

SLOPE = (
    Part(
        ("slope",),
        call_slope,
        target(slope=central),
        slope_cases,
        (
            Mistake(target(slope=lambda f, x, h: (f(x + h) - f(x)) / h), BOTH_SIDES),
            Mistake(target(slope=lambda f, x, h: (f(x) - f(x - h)) / h), BOTH_SIDES),
            Mistake(target(slope=lambda f, x, h: (f(x + h) - f(x - h)) / h), TWO_H),
            Mistake(target(slope=lambda f, x, h: (f(x + h) - f(x)) / (2 * h)), BOTH_SIDES),
            Mistake(
                target(slope=lambda f, x, h: (f(x + h) - f(x - h)) / 2 * h), "/ 2 * h multiplies by h: write / (2 * h)."
            ),
            Mistake(target(slope=lambda f, x, h: (f(x - h) - f(x + h)) / (2 * h)), SIGN),
        ),
        rtol=1e-8,
    ),
    Part(
        ("gradient",),
        call_gradient,
        target(gradient=elementwise),
        gradient_cases,
        (
            Mistake(
                target(gradient=central),
                "This is one number: the slope if all elements are shifted together. Shift one element at a time.",
            ),
            Mistake(
                target(gradient=lambda f, x, h: np.full(x.shape, central(f, x, h))),
                "All elements are shifted together. Shift one element at a time, in a copy of x.",
            ),
            Mistake(
                target(gradient=accumulated),
                "The elements before this one are still shifted. Start from a new copy of x for each element.",
            ),
            Mistake(target(gradient=lambda f, x, h: 2 * elementwise(f, x, h)), TWO_H),
            Mistake(target(gradient=one_sided), BOTH_SIDES),
            Mistake(target(gradient=lambda f, x, h: -elementwise(f, x, h)), SIGN),
            Mistake(target(gradient=along_rows), AXES),
            Mistake(target(gradient=repeated_rows), AXES),
        ),
        {"ValueError": AXES, "IndexError": AXES},
        rtol=1e-8,
    ),
)
