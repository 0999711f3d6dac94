"""Checks values that were read from JSON against the typed dictionaries that describe them."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from minigrad.runs import foreign
from minigrad.runs.errors import printable
from minigrad.runs.foreign import Invalid


def check(value: Any, kind: Any, name: str = "", optional: frozenset[str] = frozenset()) -> None:
    """Check a value against a type.

    Args:
        value: what was read from JSON.
        kind: a `TypedDict`, `list[T]`, `dict[str, T]`, a union, a `Literal`, `Any`, or a class such as float. A float
            may be written as an integer; neither may be NaN or infinite.
        name: the key of the value, such as `contenders.0.title`, for the message.
        optional: keys that may be missing from any dictionary, although their type does not say so.

    Raises:
        Invalid: the value has another type, or a key is missing.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return
    if origin in (Union, UnionType):
        _check_union(value, arguments, name, optional)
    elif is_typeddict(kind):
        _check_keys(value, kind, name, optional)
    elif origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            _refuse(name, value, " or ".join(map(str, arguments)))
    elif origin is list:
        if not isinstance(value, list):
            _refuse(name, value, "a list")
        for i, part in enumerate(value):
            check(part, arguments[0], f"{name}.{i}", optional)
    elif origin is dict:
        if not isinstance(value, dict):
            _refuse(name, value, "an object")
        for key, part in value.items():
            check(part, arguments[1], f"{name}.{key}", optional)
    elif kind is float:
        foreign.number(name, value)
    elif kind is int:
        foreign.whole_number(name, value, -(2**62), 2**62)
    elif not isinstance(value, kind):
        _refuse(name, value, "null" if kind is NoneType else kind.__name__)


def _check_union(value: Any, kinds: tuple[Any, ...], name: str, optional: frozenset[str]) -> None:
    """Check a value against the type in a union that has all keys of the value, or against any other type."""
    if isinstance(value, dict) and (typed := [kind for kind in kinds if is_typeddict(kind)]):
        check(value, max(typed, key=lambda kind: len(get_type_hints(kind).keys() & value.keys())), name, optional)
        return None
    errors = []
    for kind in kinds:
        try:
            return check(value, kind, name, optional)
        except Invalid as error:
            errors.append(error)
    raise errors[0]


def _check_keys(value: Any, kind: Any, name: str, optional: frozenset[str]) -> None:
    if not isinstance(value, dict):
        _refuse(name, value, "an object")
    for key, part in get_type_hints(kind, include_extras=True).items():
        may_lack = get_origin(part) is NotRequired
        path = f"{name}.{key}" if name else key
        if key in value:
            check(value[key], get_args(part)[0] if may_lack else part, path, optional)
        elif not may_lack and key not in optional:
            raise Invalid(f"{foreign.shown(path, 80)} is missing")


def _refuse(name: str, value: Any, expected: str) -> None:
    raise Invalid(f"{foreign.shown(name, 80)} is {foreign.shown(value, 40)}; expected {expected}")


def escaped(value: Any) -> Any:
    """Return plain values with control characters in all texts and keys escaped, since they are printed in a terminal."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): escaped(part) for key, part in value.items()}
    return [escaped(part) for part in value] if isinstance(value, list) else value
