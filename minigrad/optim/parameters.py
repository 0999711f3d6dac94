"""The tensors that an optimizer or a clipping function gets, and the check that they can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import checks
from ..tensor import Tensor


def items(owner: str, parameters: Any, example: str) -> list[Any]:
    """Return the items of a list, a tuple or an iterator.

    Args:
        owner: the class or function whose argument it is.
        parameters: the argument.
        example: what could be passed, for the message.

    Raises:
        TypeError: it is another object, such as a module, a dict or a set, which has no order.
    """
    if type(parameters) is list:
        return parameters
    refused = isinstance(parameters, (Tensor, Mapping, set, frozenset, str, bytes, np.ndarray))
    if refused or hasattr(parameters, "parameters") or not hasattr(parameters, "__iter__"):
        checks.refuse(owner, "parameters", parameters, f"a list of tensors, such as {example}", TypeError)
    return list(parameters)


def trainable(owner: str, parameters: Any, known: list[Tensor]) -> Iterator[tuple[str | None, Tensor]]:
    """Iterate over the parameters of one group with their names, if they have names.

    Args:
        owner: the optimizer's class.
        parameters: tensors, or pairs of a name and a tensor.
        known: the parameters of the other groups.

    Raises:
        TypeError: an item is not a tensor.
        ValueError: there is none, only some have names, or one cannot be trained or is passed twice.
    """
    pairs = [
        item if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) else (None, item)
        for item in items(owner, parameters, "net.parameters() or [w]")
    ]
    if not pairs:
        raise ValueError(f"{owner}: no parameters; expected one or more tensors that require a gradient")
    if len({name is None for name, _ in pairs}) == 2:
        raise ValueError(f"{owner}: only some parameters have names; expected names for all or for none")
    seen = {id(p) for p in known}
    for i, (name, p) in enumerate(pairs):
        label = f"parameter {len(known) + i}" if name is None else f"parameter {name}"
        if not isinstance(p, Tensor):
            checks.refuse(owner, label, p, "a tensor", TypeError)
        if checks.is_computed(p):
            raise ValueError(f"{owner}: {label} is the result of {p._op}; expected Tensor(..., requires_grad=True)")
        if not p.requires_grad or p.data.dtype.kind != "f":
            raise ValueError(f"{owner}: {label} does not require a gradient; expected Tensor(..., requires_grad=True)")
        if id(p) in seen:
            raise ValueError(f"{owner}: {label} is passed twice; expected each parameter once")
        seen.add(id(p))
        yield name, p
