"""Where two recordings first part: the step, the tensor, the operation, and the mistake that it was, where it is known.

A step is gone through in the order in which it is computed: what each layer
makes of the batch, the loss, the gradients from the output back, the new
weights. What differs first names the operation. Which mistake it was is not
guessed: each one in `mistakes` is replayed, and counts only if it leads to the
numbers that were seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.recipes import Recipe

from .mistakes import KNOWN, Case
from .recording import Recording


@dataclass(frozen=True)
class Divergence:
    """The first number beyond the limit.

    Attributes:
        step: counted from 1; 0 is before the first.
        tensor: `loss`, `weight of NAME`, `gradient of NAME`, or a layer's name for what it makes.
        operation: what computed it.
        gap: the largest difference; None where there is no number, or another shape.
        found, expected: the other's value and minigrad's, where they are furthest apart.
        explanation: the known mistake that leads to what was seen, as a sentence; None if no known one does.
        sentence: all of it, to be read.
    """

    step: int
    tensor: str
    operation: str
    gap: float | None
    found: str
    expected: str
    explanation: str | None
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Look:
    """One pair of tensors held against each other."""

    step: int
    place: str  # a key of mistakes.KNOWN
    name: str
    found: np.ndarray | None
    expected: np.ndarray

    @property
    def gap(self) -> float:
        """The largest difference; inf where one is missing or has another shape."""
        if self.found is None or self.found.shape != self.expected.shape:
            return np.inf
        return float(np.abs(self.found - self.expected).max(initial=0))


def explain(reference: Path, other: Path, recipe: Recipe, limit: float) -> Divergence | None:
    """Where the recording `other` first differs from `reference` by more than `limit`; None where it does nowhere."""
    return between(Recording.read(reference), Recording.read(other), recipe, limit)


def between(reference: Recording, other: Recording, recipe: Recipe | None, limit: float) -> Divergence | None:
    """As `explain`; without a recipe no mistake is replayed."""
    expected, found = len(reference.losses), len(other.losses)
    if expected != found:
        said = f"ran {found} steps; expected {expected}"
        case = Case(reference, other, recipe or Recipe(), found, "loss", limit, np.inf)
        why = case.explain(KNOWN["batches"]) if recipe else None
        return _divergence(min(expected, found) + 1, "loss", "batches", None, str(found), str(expected), why, said)
    for look in looks(reference, other):
        if not look.gap <= limit:  # so that nan is beyond
            return _told(look, reference, other, recipe, limit)
    return None


def looks(reference: Recording, other: Recording) -> Iterator[Look]:
    """Every pair of tensors, in the order in which they are computed.

    A contender that can't tell its starting weights or its layers is not held to them.
    """
    for name, array in _forward(reference.at("weight", 0)):
        if other.at("weight", 0):
            yield Look(0, "loading", name, other.at("weight", 0).get(name), array)
    found = other.at("trace", 1)
    for name, array in reference.at("trace", 1).items():
        if name in found:
            yield Look(1, "forward", name, found[name], array)
    for i, (a, b) in enumerate(zip(reference.losses, other.losses, strict=True)):
        yield Look(i + 1, "loss", "loss", b, a)
        for place, kind in (("gradient", "gradient"), ("update", "weight")):
            arrays, found = _forward(reference.at(kind, i + 1)), other.at(kind, i + 1)
            for name, array in reversed(arrays) if place == "gradient" else arrays:
                yield Look(i + 1, place, name, found.get(name), array)


def _forward(arrays: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """In the order in which the forward pass meets them."""

    def place(item: tuple[str, np.ndarray]) -> tuple[int, int, bool]:
        kind, *rest = item[0].split(".")
        order = ("conv", "hidden", "output").index(kind.removesuffix("_norm"))
        return order, int(rest[0]) if rest[0].isdigit() else 0, kind.endswith("_norm")

    return sorted(arrays.items(), key=place)


def _told(look: Look, reference: Recording, other: Recording, recipe: Recipe | None, limit: float) -> Divergence:
    """The look that first went beyond the limit, put into words."""
    why = None
    if recipe and look.found is not None:
        case = Case(reference, other, recipe, look.step, look.name, limit, look.gap)
        why = case.explain(KNOWN[look.place])
    tensor = {"gradient": f"gradient of {look.name}", "forward": look.name, "loss": "loss"}.get(
        look.place, f"weight of {look.name}"
    )
    found, expected, said = _values(look)
    gap = look.gap if np.isfinite(look.gap) else None
    operation = _operation(look, recipe, bool(other.at("trace", 1)))
    return _divergence(look.step, tensor, operation, gap, found, expected, why, said)


def _divergence(
    step: int, tensor: str, operation: str, gap: float | None, found: str, expected: str, why: str | None, said: str
) -> Divergence:
    where = "" if operation == "batches" else f"step {step}, {tensor}, {operation}: "
    return Divergence(
        step, tensor, operation, gap, found, expected, why, f"{where}{said}." + (f" {why}" if why else "")
    )


def _operation(look: Look, recipe: Recipe | None, traced: bool) -> str:
    """What computed the tensor that differs."""
    layer = re.sub(r"\.[a-z_]+$", "", look.name)
    if look.place == "loading":
        return "loading the weights"
    if look.place == "forward":
        return _layer(look.name, recipe)
    if look.place == "loss":
        # Of later batches nobody knows what the layers made.
        return "cross_entropy" if look.step == 1 and traced else "the batch or its forward pass"
    if look.place == "gradient":
        # The output's bias takes up the sum of what comes back from the loss.
        return "backward of cross_entropy" if look.name == "output.bias" else f"backward of {_layer(layer, recipe)}"
    if "running" in look.name:
        return "running statistics of batch_norm"
    return f"{recipe.model.optimizer}'s update" if recipe else "the optimiser's update"


def _layer(name: str, recipe: Recipe | None) -> str:
    """A layer's operation, and which one where that is not said by the tensor's name."""
    if name == "scaled":
        return "scaling the input"
    if name.endswith("activation"):
        return recipe.model.activation if recipe else "activation"
    if name.endswith("pooled"):
        return "max_pool2d"
    return "batch_norm" if "norm" in name else "conv2d" if name.startswith("conv") else "linear"


def _values(look: Look) -> tuple[str, str, str]:
    """Both values where they are furthest apart, and the two in words."""
    if look.found is None:
        return "none", str(look.expected.shape), "missing"
    if look.found.shape != look.expected.shape:
        shapes = f"{look.found.shape}", f"{look.expected.shape}"
        return *shapes, f"shape {shapes[0]} where minigrad has {shapes[1]}"
    gaps = np.abs(look.found - look.expected)
    where = np.unravel_index(int(np.argmax(np.where(np.isnan(gaps), np.inf, gaps))), gaps.shape)
    found, expected = (f"{float(a[where]):.3g}" for a in (look.found, look.expected))
    at = f" at [{', '.join(map(str, where))}]" if gaps.ndim else ""
    if found == expected or gaps[where] < 1e-3 * abs(look.expected[where]):
        return found, expected, f"differs by {gaps[where]:.2g}{at}"
    return found, expected, f"{found}{at} where minigrad has {expected}"
