"""In-place changes of tensors: `w -= ...` and `w[index] = ...`.

The tape records values, not changes. A change in place is therefore allowed
only where nothing has to be recorded; it keeps the shape and the dtype, and
is marked, so that `backward` refuses pullbacks that need the old numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tape import Node, mark_changed, mode, unwrap


def update(x: Any, symbol: str, ufunc: Callable[..., Any], other: Any) -> Any:
    """Compute `ufunc(x, other)` in the array of `x`, and return `x`.

    Raises:
        RuntimeError: the change would have to be recorded.
        TypeError: the result has a dtype that x's dtype can't hold.
        ValueError: the result has another shape.
    """
    _check_unrecorded(symbol, x, other)
    try:
        ufunc(x._data, unwrap(other), out=x._data)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{symbol}: a tensor of shape {x.shape} and dtype {x.dtype}, which it keeps, with {_describe(other)}: {error}"
        ) from error
    mark_changed(x)
    return x


def assign(x: Any, index: Any, value: Any) -> None:
    """Set `x[index] = value` in the array of `x`.

    Raises:
        IndexError: no such element.
        RuntimeError: the change would have to be recorded.
        TypeError: x's dtype can't hold the values.
        ValueError: the values have another shape.
    """
    _check_unrecorded("[index] =", x, value)
    values = unwrap(value)
    if not isinstance(value, int):  # NumPy checks itself that an int fits
        values = np.asarray(values)
        if not np.can_cast(values.dtype, x.dtype, "same_kind"):
            raise TypeError(f"[index] =: a tensor of dtype {x.dtype} can't hold {_describe(value)}")
    parts = tuple(map(unwrap, index)) if isinstance(index, tuple) else unwrap(index)
    try:
        x._data[parts] = values
    except (IndexError, OverflowError, TypeError, ValueError) as error:
        kind = next(kind for kind in (IndexError, OverflowError, TypeError, ValueError) if isinstance(error, kind))
        raise kind(f"[index] =: a tensor of shape {x.shape} with {_describe(value)}: {error}") from error
    mark_changed(x)


def _check_unrecorded(symbol: str, x: Node, other: Any) -> None:
    if not mode.recording:
        return
    if x._requires_grad:
        what = f"this tensor is a result of {x._op!r}" if x._edges else "this tensor requires a gradient"
        raise RuntimeError(
            f"{symbol}: {what}, and a change in place can't be recorded;"
            " compute a new tensor, such as x = x + y for x += y, or change it inside `with no_grad():`"
        )
    if isinstance(other, Node) and other._requires_grad:
        raise RuntimeError(
            f"{symbol}: the right side requires a gradient, and a change in place can't be recorded;"
            " compute a new tensor, such as x = x + y for x += y"
        )


def _describe(value: Any) -> str:
    array = np.asarray(unwrap(value))
    return f"a value of shape {array.shape} and dtype {array.dtype}"
