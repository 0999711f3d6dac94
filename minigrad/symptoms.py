"""Measures of a training that show whether it goes well: gradients, updates and dead units per layer.

`hints.py` compares them with thresholds during `python -m minigrad train`,
and `python -m minigrad.study break` prints them for trainings with a mistake.
None of them changes a number of the training.

Only weights are measured, the parameters with two or more axes, and not
biases. A layer has the name of its weight without ".weight".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .modes import Observer, no_grad, observe
from .tensor import Tensor


def layers(named_parameters: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Return the weight of each layer by the layer's name, from `Module.named_parameters`."""
    return {name.removesuffix(".weight"): p for name, p in named_parameters if p.data.ndim >= 2}


def norm(a: np.ndarray) -> float:
    """Return the Euclidean norm of all elements, computed in float64."""
    flat = a.ravel(order="K").astype(np.float64)
    return float(np.sqrt(flat @ flat))


def gradient_norms(weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the norm of the gradient of each layer's weight, 0 if it has none."""
    return {name: 0.0 if p.grad is None else norm(p.grad) for name, p in weights.items()}


def copy_of(weights: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return copies of the weights, for `update_ratios` after a step."""
    return {name: p.data.copy(order="K") for name, p in weights.items()}


def update_ratios(before: Mapping[str, np.ndarray], weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Return |change| / |weight before| of each layer: the share of a weight that one step changes.

    Args:
        before: the weights before the step, as returned by `copy_of`.
        weights: the weights after the step.

    Returns:
        The ratios by layer. A weight that was 0 before the step has the ratio 0 if it did not change, else infinity.
    """
    ratios = {}
    for name, old in before.items():
        change, size = norm(weights[name].data - old), norm(old)
        ratios[name] = change / size if size else float("inf") if change else 0.0
    return ratios


class _DeadUnits(Observer):
    """Records which units of each relu are 0 for all inputs."""

    def __init__(self) -> None:
        self.dead: list[np.ndarray] = []

    def computed(self, op: str, operands: Mapping[str | int, Any], value: Any) -> None:
        if op == "relu":
            axes = tuple(axis for axis in range(value.ndim) if axis != 1)
            self.dead.append(~(value != 0).any(axis=axes))


def dead_units(forward: Callable[[], Any]) -> list[np.ndarray]:
    """Find the units of each relu that are 0 for all inputs of a batch. No gradient passes through them.

    Args:
        forward: computes the outputs of the network for the batch, whose activations have the units on axis 1: (n, units),
            or (n, channels, height, width), where a channel is one unit.

    Returns:
        For each call of relu an array (units,), True for a dead unit.
    """
    observer = _DeadUnits()
    with no_grad(), observe(observer):
        forward()
    return observer.dead
