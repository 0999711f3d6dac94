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
from . import pairs
from .mistakes import KNOWN, Case
from .pairs import TensorPair
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


def _position(name: str) -> tuple[int, int, bool]:
    """Return the sort key of a weight in the order in which the forward pass of the classifier uses them."""
    kind, *rest = name.split(".")
    order = ("conv", "hidden", "output").index(kind.removesuffix("_norm"))
    return order, int(rest[0]) if rest[0].isdigit() else 0, kind.endswith("_norm")


def tensor_pairs(reference: Recording, other: Recording) -> Iterator[TensorPair]:
    """Yield every tensor of two recordings of the classifier, in the order in which they are computed."""
    yield from pairs.tensor_pairs(reference, other, _position)


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
    *values, message = pair.values(allowed.of(pair.key), "minigrad")
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
