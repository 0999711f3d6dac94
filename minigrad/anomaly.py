"""Where the first NaN or infinity comes from: what `detect_anomaly` looks at, and what it says."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

_PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 (pathlib is slow to import)


def caller() -> str:
    """`file:line` of the nearest caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def check_value(op: str, value: Any, operands: list[Any]) -> None:
    """Raise FloatingPointError if `op` made a number that is not finite."""
    bad = _first(value)
    if bad:
        given = ", ".join(f"operand {i + 1}" for i, x in enumerate(operands) if _first(x))
        origin = f"{given} held one already" if given else "its operands were finite"
        raise FloatingPointError(f"{op}: {bad} in the value; {origin}; called at {caller()}")


def check_gradient(op: str, gradient: Any, given: Any, line: str | None) -> None:
    """Raise FloatingPointError if the pullback of `op` made a number that is not finite."""
    bad = _first(gradient)
    if bad:
        origin = (
            "the gradient of its value held one already" if _first(given) else "the gradient of its value was finite"
        )
        where = f"called at {line}" if line else "called outside detect_anomaly, so the line is unknown"
        raise FloatingPointError(f"{op}: {bad} in the gradient of an operand; {origin}; {where}")


def _first(x: Any) -> str:
    """`nan`, `inf` or `-inf`, the first in `x`, with its index; empty if all is finite or no number."""
    array = np.asarray(x)
    if array.dtype.kind not in "fc":
        return ""
    at = np.argwhere(~np.isfinite(array))
    return f"{array[tuple(at[0])]} at {tuple(at[0].tolist())}" if len(at) else ""
