"""Finds where two recordings first differ: the step, the tensor, the operation, and the mistake if it is a known one.

The tensors of a step are compared in the order in which they are computed: the
output of each layer, the loss, the gradients from the output backwards, the
new weights. The first one that differs identifies the operation. Then each
known mistake in `mistakes` is replayed. It is reported only if it reproduces
the recorded numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigrad.recipes import Recipe

from ..results import schema
from .mistakes import KNOWN, Case
from .recording import Recording
from .tolerances import Tolerances


@dataclass(frozen=True)
class Divergence:
    """The first tensor that differs by more than its tolerance.

    Attributes:
        step: counted from 1; 0 is before the first step.
        tensor: `loss`, `weight of NAME`, `gradient of NAME`, or the name of a layer for its output.
        operation: the operation that computed the tensor.
        gap: the largest difference; None if a value is not a number, or the shapes differ.
        found: the contender's value where the difference is largest.
        expected: minigrad's value there.
        explanation: a sentence on the known mistake that reproduces the numbers; None if none does.
        sentence: all of this in words.
    """

    step: int
    tensor: str
    operation: str
    gap: float | None
    found: str
    expected: str
    explanation: str | None
    sentence: str

    def as_dict(self) -> schema.Divergence:
        """Return the divergence as in `results.json`."""
        return {
            "step": self.step,
            "tensor": self.tensor,
            "operation": self.operation,
            "gap": self.gap,
            "found": self.found,
            "expected": self.expected,
            "explanation": self.explanation,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class TensorPair:
    """The same tensor in two recordings. `phase` is a key of `mistakes.KNOWN`."""

    step: int
    phase: str
    name: str
    actual: np.ndarray | None
    expected: np.ndarray

    @property
    def key(self) -> str:
        """The tensor's key in a recording, and in the tolerances."""
        kind = {"forward": "trace", "loss": "", "gradient": "gradient"}.get(self.phase, "weight")
        return f"{kind} {self.name} {self.step}".lstrip()

    @property
    def gap(self) -> float:
        """The largest difference; inf if the tensor is missing or has another shape."""
        if self.actual is None or self.actual.shape != self.expected.shape:
            return np.inf
        return float(np.abs(self.actual - self.expected).max(initial=0))


def explain(reference: Path, other: Path, recipe: Recipe, allowed: Tolerances) -> Divergence | None:
    """Find where the recording `other` first differs from `reference` by more than is allowed; None if nowhere."""
    return first_divergence(Recording.read(reference), Recording.read(other), recipe, allowed)


def first_divergence(
    reference: Recording, other: Recording, recipe: Recipe | None, allowed: Tolerances
) -> Divergence | None:
    """Find the first divergence, as `explain` does. Without a recipe no mistake is replayed."""
    expected, actual = len(reference.losses), len(other.losses)
    if expected != actual:
        message = f"ran {actual} steps; expected {expected}"
        case = Case(reference, other, recipe or Recipe(), actual, "loss", allowed, np.inf)
        why = case.explain(KNOWN["batches"]) if recipe else None
        values = str(actual), str(expected)
        return _divergence(min(expected, actual) + 1, "loss", "batches", None, values, message, why)
    for pair in tensor_pairs(reference, other):
        if not pair.gap <= allowed.of(pair.key):  # true for nan too
            return _describe(pair, reference, other, recipe, allowed)
    return None


def tensor_pairs(reference: Recording, other: Recording) -> Iterator[TensorPair]:
    """Yield every tensor of two recordings, in the order in which they are computed.

    A contender that does not report its starting weights or its layers' outputs is not checked for them.
    """
    for name, array in _forward_order(reference.at("weight", 0)):
        if other.at("weight", 0):
            yield TensorPair(0, "loading", name, other.at("weight", 0).get(name), array)
    outputs = other.at("trace", 1)
    for name, array in reference.at("trace", 1).items():
        if name in outputs:
            yield TensorPair(1, "forward", name, outputs[name], array)
    for i, (expected, actual) in enumerate(zip(reference.losses, other.losses, strict=True)):
        yield TensorPair(i + 1, "loss", "loss", actual, expected)
        for phase, kind in (("gradient", "gradient"), ("update", "weight")):
            arrays, actual_arrays = _forward_order(reference.at(kind, i + 1)), other.at(kind, i + 1)
            for name, array in reversed(arrays) if phase == "gradient" else arrays:
                yield TensorPair(i + 1, phase, name, actual_arrays.get(name), array)


def _forward_order(arrays: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Sort arrays in the order in which the forward pass uses them."""

    def position(item: tuple[str, np.ndarray]) -> tuple[int, int, bool]:
        kind, *rest = item[0].split(".")
        order = ("conv", "hidden", "output").index(kind.removesuffix("_norm"))
        return order, int(rest[0]) if rest[0].isdigit() else 0, kind.endswith("_norm")

    return sorted(arrays.items(), key=position)


def _describe(
    pair: TensorPair, reference: Recording, other: Recording, recipe: Recipe | None, allowed: Tolerances
) -> Divergence:
    """Describe the first pair that differs by more than is allowed."""
    why = None
    if recipe and pair.actual is not None:
        case = Case(reference, other, recipe, pair.step, pair.name, allowed, pair.gap)
        why = case.explain(KNOWN[pair.phase])
    tensor = {"gradient": f"gradient of {pair.name}", "forward": pair.name, "loss": "loss"}.get(
        pair.phase, f"weight of {pair.name}"
    )
    *values, message = _values(pair, allowed)
    gap = pair.gap if np.isfinite(pair.gap) else None
    operation = _operation(pair, recipe, bool(other.at("trace", 1)))
    return _divergence(pair.step, tensor, operation, gap, (values[0], values[1]), message, why)


def _divergence(
    step: int, tensor: str, operation: str, gap: float | None, values: tuple[str, str], message: str, why: str | None
) -> Divergence:
    location = "" if operation == "batches" else f"step {step}, {tensor}, {operation}: "
    sentence = f"{location}{message}." + (f" {why}" if why else "")
    return Divergence(step, tensor, operation, gap, *values, why, sentence)


def _operation(pair: TensorPair, recipe: Recipe | None, traced: bool) -> str:
    """Return the operation that computed the tensor that differs."""
    layer = re.sub(r"\.[a-z_]+$", "", pair.name)
    if pair.phase == "loading":
        return "loading the weights"
    if pair.phase == "forward":
        return _layer_operation(pair.name, recipe)
    if pair.phase == "loss":
        # The layers' outputs are recorded for the first batch only.
        return "cross_entropy" if pair.step == 1 and traced else "the batch or its forward pass"
    if pair.phase == "gradient":
        # The gradient of the output's bias is the sum of the gradient of the logits.
        if pair.name == "output.bias":
            return "backward of cross_entropy"
        return f"backward of {_layer_operation(layer, recipe)}"
    if "running" in pair.name:
        return "running statistics of batch_norm"
    return f"{recipe.model.optimizer}'s update" if recipe else "the optimizer's update"


def _layer_operation(name: str, recipe: Recipe | None) -> str:
    """Return the operation of a layer."""
    if name == "scaled":
        return "scaling the input"
    if name.endswith("activation"):
        return recipe.model.activation if recipe else "activation"
    if name.endswith("pooled"):
        return "max_pool2d"
    return "batch_norm" if "norm" in name else "conv2d" if name.startswith("conv") else "linear"


def _values(pair: TensorPair, allowed: Tolerances) -> tuple[str, str, str]:
    """Return the contender's and minigrad's value where the difference is largest, and both in words."""
    if pair.actual is None:
        return "none", str(pair.expected.shape), "missing"
    if pair.actual.shape != pair.expected.shape:
        shapes = f"{pair.actual.shape}", f"{pair.expected.shape}"
        return *shapes, f"shape {shapes[0]} where minigrad has {shapes[1]}"
    gaps = np.abs(pair.actual - pair.expected)
    index = np.unravel_index(int(np.argmax(np.where(np.isnan(gaps), np.inf, gaps))), gaps.shape)
    actual, expected = (f"{float(a[index]):.3g}" for a in (pair.actual, pair.expected))
    position = f" at [{', '.join(map(str, index))}]" if gaps.ndim else ""
    if actual == expected or gaps[index] < 1e-3 * abs(pair.expected[index]):
        return actual, expected, f"differs by {gaps[index]:.2g}{position}; the tolerance is {allowed.of(pair.key):.2g}"
    return actual, expected, f"{actual}{position} where minigrad has {expected}"
