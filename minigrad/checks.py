"""Checks of the settings of layers, optimizers and schedules, one function per kind of value.

Each error is one sentence that names the owner, the setting, its value and
what was expected, such as `SGD: lr = -0.1; expected a number of 0 or more`.
"""

from __future__ import annotations

import math
import numbers
from typing import Any, NoReturn

import numpy as np

from .tape import FREED, Node, unwrap


def refuse(owner: str, name: str, value: Any, expected: str, kind: type[Exception] = ValueError) -> NoReturn:
    """Raise the error of a setting that has another value, or is of another class, than expected."""
    short = isinstance(value, (str, tuple, numbers.Number, np.generic, type(None))) and len(repr(value)) < 80
    shown = f"= {value!r}" if short else f"is of class {type(value).__name__}"
    raise kind(f"{owner}: {name} {shown}; expected {expected}")


def number(owner: str, name: str, value: Any, low: float = 0.0, high: float = math.inf, ends: str = "[)") -> float:
    """Return a number in the interval from `low` to `high` as a float.

    Args:
        owner: the class or function whose setting it is.
        name: the setting.
        value: its value.
        low: the lower end, by default 0.
        high: the upper end, by default infinity.
        ends: a bracket for an end that is included, a parenthesis for one that is not; by default "[)".

    Raises:
        TypeError: it is not a real number.
        ValueError: it is NaN or outside the interval.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        x = float(value)
        if (low <= x if ends[0] == "[" else low < x) and (x <= high if ends[1] == "]" else x < high):
            return x
        kind: type[Exception] = ValueError
    else:
        kind = TypeError
    if math.isinf(low):
        expected = "a finite number"
    elif math.isinf(high):
        expected = f"a number of {low:g} or more" if ends[0] == "[" else f"a number above {low:g}"
    else:
        expected = f"{low:g} {'<=' if ends[0] == '[' else '<'} {name} {'<=' if ends[1] == ']' else '<'} {high:g}"
    refuse(owner, name, value, expected, kind)


def finite(owner: str, name: str, value: Any) -> float:
    """Return a number that is neither NaN nor infinite as a float."""
    return number(owner, name, value, -math.inf, math.inf, "()")


def integer(owner: str, name: str, value: Any, low: int | None = 1) -> int:
    """Return an integer of `low` or more, or any integer if `low` is None, as an int.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is less than `low`.
    """
    expected = "an integer" if low is None else f"an integer of {low} or more"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        refuse(owner, name, value, expected, TypeError)
    if low is not None and value < low:
        refuse(owner, name, value, expected)
    return int(value)


def pair(owner: str, name: str, value: Any, low: int = 1) -> tuple[int, int]:
    """Return the two integers, each `low` or more, that an integer or a pair of integers stands for."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            refuse(owner, name, value, "an integer or two integers")
        return integer(owner, name, value[0], low), integer(owner, name, value[1], low)
    return (integer(owner, name, value, low),) * 2


def sizes(owner: str, name: str, value: Any) -> tuple[int, ...]:
    """Return the sizes of one or more axes, each 1 or more, from an integer or integers."""
    values = value if isinstance(value, (tuple, list)) and value else (value,)
    return tuple([integer(owner, name, v) for v in values])


def choice(owner: str, name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """Return `value`, which is one of `choices`.

    Raises:
        ValueError: it is another value.
    """
    if not any(value is c or (isinstance(value, str) and value == c) for c in choices):
        refuse(owner, name, value, " or ".join(map(repr, choices)))
    return value


def generator(owner: str, rng: Any) -> np.random.Generator:
    """Return the generator `rng`, or a new, unseeded one for None.

    Raises:
        TypeError: it is something else, such as a seed.
    """
    if rng is None:
        return np.random.default_rng()
    if not isinstance(rng, np.random.Generator):
        refuse(owner, "rng", rng, "a generator, such as numpy.random.default_rng(0)", TypeError)
    return rng


def array(owner: str, name: str, value: Any, like: np.ndarray) -> np.ndarray:
    """Return `value` as an array that can be copied into `like`.

    Raises:
        ValueError: it has another shape, or a dtype whose numbers `like` cannot represent, such as complex or object.
    """
    try:
        value = np.asarray(unwrap(value))
    except ValueError:  # lists of different lengths
        refuse(owner, name, value, "an array")
    if value.shape != like.shape:
        raise ValueError(f"{owner}: {name} has shape {value.shape}; expected {like.shape}")
    if not np.can_cast(value.dtype, like.dtype, "same_kind"):
        raise ValueError(f"{owner}: {name} has dtype {value.dtype}; expected {like.dtype}")
    return value


def is_computed(x: Node) -> bool:
    """Whether `x` was computed from tensors that require a gradient; `backward` stores no gradient in it."""
    return bool(x._edges) or x._edges is FREED
