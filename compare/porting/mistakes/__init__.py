"""Explains a difference: each known mistake is replayed, and is the explanation only if it reproduces the numbers.

`explain` is the entrance. The replay is a forward pass in float64 with
minigrad's operations (`forward`), or an optimizer step from the recorded
gradients (`updates`). A setting that differs is not reported if it does not
explain the numbers.
"""

from __future__ import annotations

from ..case import Case
from ..result import Explanation
from .candidate import first_explanation
from .inputs import layer_input, model_output
from .layers import output
from .loss import gradients, losses
from .updates import updates
from .weights import WEIGHTS

__all__ = ["explain"]


def explain(case: Case) -> Explanation | None:
    """Return the mistake that reproduces the right tensor of a case.

    Args:
        case: a tensor that differs.

    Returns:
        The explanation; None if the difference is within the tolerance, or no known mistake reproduces the numbers.
    """
    if case.gap <= case.tolerance:
        return None
    if case.stage == "weights":
        return first_explanation(case, WEIGHTS)
    if case.tensor == "input":
        return layer_input(case)
    if case.stage == "forward":
        return output(case) if case.left and case.right else model_output(case)
    if case.tensor.startswith("loss"):
        return first_explanation(case, losses(case))
    if case.tensor.startswith("gradient"):
        return first_explanation(case, gradients(case))
    return first_explanation(case, updates(case))
