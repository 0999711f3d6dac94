"""The checks of `detect_anomaly`: which operation, called at which line, produced the first NaN or infinity."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

_PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 (pathlib is slow to import)


def caller() -> str:
    """Return `file:line` of the nearest caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def check_value(op: str, value: Any, operands: Mapping[str | int, Any]) -> None:
    """Raise FloatingPointError if the value of `op` is not finite."""
    bad = _first(value)
    if bad:
        sources = ", ".join(f"operand {label}" for label, x in operands.items() if _first(x))
        origin = f"{sources} contained one already" if sources else "its operands were finite"
        raise FloatingPointError(f"{op}: {bad} in the value; {origin}; called at {caller()}")


def check_gradient(op: str, gradient: Any, incoming: Any, line: str | None) -> None:
    """Raise FloatingPointError if `gradient`, which the pullback of `op` computed from `incoming`, is not finite."""
    bad = _first(gradient)
    if bad:
        origin = (
            "the gradient of its value contained one already"
            if _first(incoming)
            else "the gradient of its value was finite"
        )
        where = f"called at {line}" if line else "called outside detect_anomaly, so the line is unknown"
        raise FloatingPointError(f"{op}: {bad} in the gradient of an operand; {origin}; {where}")


def _first(x: Any) -> str:
    """Return the first `nan`, `inf` or `-inf` in `x` with its index; empty if `x` is finite or not floating."""
    array = np.asarray(x)
    if array.dtype.kind not in "fc":
        return ""
    indices = np.argwhere(~np.isfinite(array))
    return f"{array[tuple(indices[0])]} at {tuple(indices[0].tolist())}" if len(indices) else ""
