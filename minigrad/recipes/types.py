"""The types of a recipe's keys: whether a value has its type, and the type in plain words."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

# By the name of the type in jsonargparse's messages.
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list such as [128, 64]",
    "collections.abc.Sequence": "a list such as [128, 64]",
    "dict[int, float]": "numbers by class such as {0: 1.0, 1: 5.0}",
    "str": "text",
    "NoneType": "null",
}


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value has a type, exactly: no text is converted, and True is no number.

    Args:
        value: the value.
        hint: int, float (which includes int), bool, str, None, a list or a union of these, or a Literal.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if origin is list:
        return isinstance(value, list) and all(fits(element, parts[0]) for element in value)
    if parts:  # a union
        return any(fits(value, part) for part in parts)
    return type(value) in ((int, float) if hint is float else (hint,))


def in_words(hint: Any) -> str:
    """Return a type as in a message, such as "a whole number or null"."""
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return " or ".join(parts)
    if parts and get_origin(hint) is not list:
        return " or ".join(map(in_words, parts))
    return WORDS[(get_origin(hint) or hint).__name__]


def plain(value: Any) -> Any:
    """Return a value with its tuples, ranges and arrays as lists, and with the numbers of NumPy as Python's."""
    if isinstance(value, dict):
        return {key: plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(element) for element in value]
    return value.tolist() if hasattr(value, "tolist") else value
