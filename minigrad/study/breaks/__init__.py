"""Trainings with a known mistake, by name. `python -m minigrad.study break NAME` runs them."""

from __future__ import annotations

from collections.abc import Callable

from .definition import Break
from .losses import broadcasting, softmax_twice
from .shuffling import no_shuffling
from .units import dead_units, zero_init
from .updates import learning_rate, no_zero_grad, sign_error

BREAKS: dict[str, Callable[[], Break]] = {
    function.__name__: function
    for function in (
        learning_rate, zero_init, softmax_twice, dead_units, no_shuffling, sign_error, no_zero_grad, broadcasting,
    )
}  # fmt: skip
