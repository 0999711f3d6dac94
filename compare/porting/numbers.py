"""What both sides compute in one data type, as recordings under the names of the left model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..parity.perturbation import RUNS, Perturbation
from ..parity.recording import Recording
from .case import Training
from .model import Layer, Mode
from .side import Side
from .translation import Translation

Arrays = dict[str, np.ndarray]
T = TypeVar("T")
OUTPUT = "output"  # name of the output of the model in a trace
MODES: tuple[Mode, ...] = ("eval", "train")


def both(call: Callable[[Side], T], left: Side, right: Side) -> tuple[T, T]:
    """Call a function with both sides at the same time."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(call, (left, right))
    return first, second


def input_name(layer: str, i: int) -> str:
    """Return the name of an input of a layer in a trace."""
    return f"input {i} of {layer}"


@dataclass(frozen=True)
class Recorder:
    """Records one side.

    Args:
        side: the side.
        translation: the map.
        is_left: whether the side is the left one.
    """

    side: Side
    translation: Translation
    is_left: bool

    def trace(self, inputs: np.ndarray, mode: Mode) -> Recording:
        """Record the inputs and outputs of all layers that have a partner, and the output of the model."""
        arrays = self.side.record(inputs, mode, keep_inputs=True)
        pads = self.translation.pads["left" if self.is_left else "right"]
        named: Arrays = {}
        for left, right in self.translation.layers:
            own = left if self.is_left else right
            if f"output {own.name}" not in arrays:
                continue
            first = pads.get(own.name, own.name)
            for i in range(len(own.inputs)):
                named[input_name(left.name, i)] = self._input(left, arrays[f"input {first} {i}"])
            named[left.name] = self._output(left, arrays[f"output {own.name}"])
        named[OUTPUT] = arrays["output"]
        return Recording({f"trace {name} 1": array.astype(np.float64) for name, array in named.items()})

    def training(self, inputs: np.ndarray, training: Training, steps: int) -> Arrays:
        """Record the losses, gradients and updated weights: `loss`, `gradient NAME STEP`, `weight NAME STEP`."""
        return self.named(
            self.side.train(inputs, training.targets, training.loss, training.optimizer, training.learning_rate, steps)
        )

    def named(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """Return what `Side.train` returned, under the left names and as in a recording."""
        groups: dict[tuple[str, str], Arrays] = {}
        losses: list[float] = []
        for key, array in arrays.items():
            kind, name, step = key.split(" ")[0], " ".join(key.split(" ")[1:-1]), key.split(" ")[-1]
            if kind == "loss":
                losses.append(float(array))
            else:
                groups.setdefault((kind, step), {})[name] = array.astype(np.float64)
        named: Arrays = {"loss": np.array(losses)}
        for (kind, step), values in groups.items():
            named |= {f"{kind} {name} {step}": array for name, array in self.parameters(values).items()}
        return named

    def parameters(self, arrays: Arrays) -> Arrays:
        """Return weights or gradients of the parameters that have a partner, under the left names."""
        if self.is_left:
            return {name: arrays[name] for name in self.translation.subjects if name in arrays}
        return self.translation.parameters_to_left(arrays)

    def _input(self, left: Layer, array: np.ndarray) -> np.ndarray:
        return array if self.is_left else self.translation.input_to_left(left, array)

    def _output(self, left: Layer, array: np.ndarray) -> np.ndarray:
        return array if self.is_left else self.translation.output_to_left(left, array)


def joined(*parts: Recording | Mapping[str, np.ndarray]) -> Recording:
    """Return one recording with the arrays of all."""
    arrays: dict[str, Any] = {}
    for part in parts:
        arrays |= part.arrays if isinstance(part, Recording) else part
    return Recording(arrays)


def perturbed(
    side: Side, weights: Mapping[str, np.ndarray], inputs: np.ndarray, record: Callable[[np.ndarray], T]
) -> Iterator[T]:
    """Yield recordings of a side whose weights and inputs are perturbed by rounding errors; see `parity.tolerances`.

    The weights are restored at the end.

    Args:
        side: the side, in float32.
        weights: its weights.
        inputs: the inputs; integers are not perturbed.
        record: records the side for inputs.
    """
    for seed, sign in RUNS:
        change = Perturbation(seed, sign)
        side.set_weights(change.weights(weights))
        moved = np.array(inputs)
        if moved.dtype.kind == "f":
            change(moved)
        yield record(moved)
    side.set_weights(weights)
