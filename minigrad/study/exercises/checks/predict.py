"""The check of 02 predict: each answer is compared with the slope of its expression."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

from .core import Case, Mistake, Part
from .slope import central

# The name of each answer, the expression, the function whose slope it is, where, and the known mistakes.

Question = tuple[str, str, Callable[[float], float], float, dict[float, str]]
ALL_USES = "x is used several times: add the contributions of all uses."
VALUE = "This is y itself. The slope says how much y grows per unit of the variable."
QUESTIONS: list[Question] = [
    (
        "dy_dx_1",
        "y = 5 * (x + 2), at x = 1",
        lambda x: 5 * (x + 2),
        1.0,
        {
            15: VALUE,
            7: "(x + 2)' is 1, and 5 multiplies it.",
        },
    ),
    (
        "dy_da_2",
        "y = a * b, at a = 2, b = 7",
        lambda a: a * 7,
        2.0,
        {2: "This is dy/db: dy/da is the other factor, b.", 14: VALUE},
    ),
    (
        "dy_db_2",
        "y = a * b, at a = 2, b = 7",
        lambda b: 2 * b,
        7.0,
        {7: "This is dy/da: dy/db is the other factor, a.", 14: VALUE},
    ),
    (
        "dy_dx_3",
        "u = 3 * x, y = u^2, at x = 1",
        lambda x: (3 * x) ** 2,
        1.0,
        {
            6: "This is dy/du = 2 u. Multiply it by du/dx, by the chain rule.",
            3: "This is du/dx. Multiply it by dy/du = 2 u.",
            2: "In dy/du = 2 u, u is 3 * x. And du/dx is a factor, too.",
            9: VALUE,
        },
    ),
    (
        "dy_dx_4",
        "y = x * x + x, at x = 4",
        lambda x: x * x + x,
        4.0,
        {5: ALL_USES, 8: ALL_USES, 4: ALL_USES, 1: ALL_USES, 20: VALUE},
    ),
    (
        "dc_da_5",
        "b = a + a, c = b + b, at a = 1",
        lambda a: (a + a) + (a + a),
        1.0,
        {
            2: "Two uses of a give db/da = 2. But dc/db is 2 as well: multiply both.",
            1: "a is used twice, and b is used twice: add the contributions of all uses.",
            6: "6 is the result if b passes its gradient on before all of it has arrived. dc/db is 2, and db/da is 2.",
        },
    ),
    (
        "dy_dx_6",
        "u = x^2, y = u * x, at x = 2",
        lambda x: x**2 * x,
        2.0,
        {
            4: "This is one of two contributions: y uses x directly (u * 1), and through u (x * du/dx). Add both.",
            8: "This is one of two contributions: y uses x through u (x * du/dx), and directly (u * 1). Add both.",
            6: "In the contribution through u, dy/du = x is multiplied by du/dx = 2 x.",
        },
    ),
    (
        "dy_dx_7",
        "y = max(x, 0), at x = -3",
        lambda x: max(x, 0.0),
        -3.0,
        {
            1: "That is the slope for x > 0. At x = -3, y is 0, and it stays 0 if x changes a little.",
            -3: "This is x. At x = -3, y is 0, and it stays 0 if x changes a little.",
        },
    ),
    (
        "dy_dp_8",
        "y = -ln(p), at p = 0.25",
        lambda p: -math.log(p),
        0.25,
        {
            4: "The sign is wrong: (ln p)' is 1 / p, and y is -ln(p).",
            -0.25: "(ln p)' is 1 / p, and not p.",
            round(math.log(4), 12): VALUE,
        },
    ),
]


def _question(name: str, expression: str, f: Callable[[float], float], x: float, mistakes: dict[float, str]) -> Part:
    """Return the part that checks one answer: by the slope of the expression."""
    return Part(
        (name,),
        lambda module, expression: {name: getattr(module, name)},
        SimpleNamespace(**{name: round(central(f, x), 6)}),
        lambda rng: [Case({"expression": expression})],
        [Mistake(SimpleNamespace(**{name: value}), hint) for value, hint in mistakes.items()],
        rtol=1e-3,
        atol=1e-3,
    )


PREDICT = tuple(_question(*question) for question in QUESTIONS)
