"""The tensors that two recordings have in common, in the order in which they are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .recording import Recording

Phase = Literal["loading", "forward", "loss", "gradient", "update"]


@dataclass(frozen=True)
class TensorPair:
    """The same tensor in two recordings.

    Attributes:
        step: counted from 1; 0 is before the first.
        phase: the part of the step that computes the tensor.
        name: the weight, gradient or layer; "loss" for a loss.
        actual: the tensor in the other recording; None if it is missing.
        expected: the tensor in the reference.
    """

    step: int
    phase: Phase
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

    def values(self, tolerance: float, whose: str) -> tuple[str, str, str]:
        """Return the other value and the reference's where the difference is largest, and both in words.

        Args:
            tolerance: the largest allowed difference.
            whose: the name of the reference, for the words.
        """
        if self.actual is None:
            return "none", str(self.expected.shape), "missing"
        if self.actual.shape != self.expected.shape:
            shapes = f"{self.actual.shape}", f"{self.expected.shape}"
            return *shapes, f"shape {shapes[0]} where {whose} has {shapes[1]}"
        gaps = np.abs(self.actual - self.expected)
        index = np.unravel_index(int(np.argmax(np.where(np.isnan(gaps), np.inf, gaps))), gaps.shape)
        actual, expected = (f"{float(a[index]):.3g}" for a in (self.actual, self.expected))
        position = f" at [{', '.join(map(str, index))}]" if gaps.ndim else ""
        if actual == expected or gaps[index] < 1e-3 * abs(self.expected[index]):
            return actual, expected, f"differs by {gaps[index]:.2g}{position}; the tolerance is {tolerance:.2g}"
        return actual, expected, f"{actual}{position} where {whose} has {expected}"


def tensor_pairs(
    reference: Recording, other: Recording, position: Callable[[str], Any] | None = None
) -> Iterator[TensorPair]:
    """Yield every tensor of two recordings, in the order in which they are computed.

    A recording without the starting weights or the layers' outputs is not checked for them.

    Args:
        reference: the reference.
        other: the other recording, with the same number of steps.
        position: the sort key of the name of a weight in the order in which the forward pass uses them; None: the order of
            the reference.
    """

    def ordered(arrays: dict[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
        return list(arrays.items()) if position is None else sorted(arrays.items(), key=lambda item: position(item[0]))

    for name, array in ordered(reference.at("weight", 0)):
        if other.at("weight", 0):
            yield TensorPair(0, "loading", name, other.at("weight", 0).get(name), array)
    outputs = other.at("trace", 1)
    for name, array in reference.at("trace", 1).items():
        if name in outputs:
            yield TensorPair(1, "forward", name, outputs[name], array)
    for i, (expected, actual) in enumerate(zip(reference.losses, other.losses, strict=True)):
        yield TensorPair(i + 1, "loss", "loss", actual, expected)
        for name, array in reversed(ordered(reference.at("gradient", i + 1))):
            yield TensorPair(i + 1, "gradient", name, other.at("gradient", i + 1).get(name), array)
        for name, array in ordered(reference.at("weight", i + 1)):
            yield TensorPair(i + 1, "update", name, other.at("weight", i + 1).get(name), array)
