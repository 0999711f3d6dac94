"""The checks of `detect_anomaly`: which operation, called at which line, produced the first NaN or infinity."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .modes import Observer

if TYPE_CHECKING:
    from .tape import Edge, Node

_PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 (pathlib is slow to import)


def caller() -> str:
    """Return `file:line` of the nearest caller outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class FiniteCheck(Observer):
    """Raises FloatingPointError at the first value or gradient that is not finite."""

    def computed(self, op: str, operands: Mapping[str | int, Any], value: Any) -> None:
        bad = _first(value)
        if bad:
            sources = ", ".join(f"operand {label}" for label, x in operands.items() if _first(x))
            origin = f"{sources} contained one already" if sources else "its operands were finite"
            raise FloatingPointError(f"{op}: {bad} in the value; {origin}; called at {caller()}")

    def pulled_back(self, node: Node, edge: Edge, incoming: np.ndarray, returned: Any) -> None:
        bad = _first(returned)
        if bad:
            origin = (
                "the gradient of its value contained one already"
                if _first(incoming)
                else "the gradient of its value was finite"
            )
            where = f"called at {node._line}" if node._line else "called outside detect_anomaly, so the line is unknown"
            raise FloatingPointError(f"{node._op}: {bad} in the gradient of an operand; {origin}; {where}")


def _first(x: Any) -> str:
    """Return the first `nan`, `inf` or `-inf` in `x` with its index; empty if `x` is finite or not floating."""
    array = np.asarray(x)
    if array.dtype.kind not in "fc":
        return ""
    indices = np.argwhere(~np.isfinite(array))
    return f"{array[tuple(indices[0])]} at {tuple(indices[0].tolist())}" if len(indices) else ""
