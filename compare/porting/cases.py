"""Builds the `Case` of a tensor that differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..parity.pairs import TensorPair
from ..parity.recording import Recording
from .case import Case, Training
from .model import Layer, Mode
from .numbers import OUTPUT, Arrays, input_name
from .result import Stage
from .translation import Subject, Translation


@dataclass(frozen=True)
class Cases:
    """Builds cases from the recordings of one data type.

    Args:
        translation: the map.
        weights: all weights and buffers of the left and the right model.
        inputs: the inputs of the models.
        expected, actual: the recordings of both sides by mode.
        mode: the mode of the cases.
        training: the settings of the training, if it was recorded.
    """

    translation: Translation
    weights: tuple[Arrays, Arrays]
    inputs: np.ndarray
    expected: Mapping[Mode, Recording]
    actual: Mapping[Mode, Recording]
    mode: Mode
    training: Training | None

    def weight(self, subject: Subject, pair: TensorPair, tolerance: float) -> Case:
        """Return the case of a weight."""
        return self._layer("weights", subject.mine.role, subject.left, subject.right, pair, tolerance)

    def output(self, left: Layer, right: Layer, pair: TensorPair, tolerance: float) -> Case:
        """Return the case of the output of a layer, where the right layer was fed the left layer's inputs."""
        return self._layer("forward", "output", left, right, pair, tolerance)

    def input(self, left: Layer, right: Layer, pair: TensorPair, tolerance: float) -> Case:
        """Return the case of the input of a layer."""
        return self._layer("forward", "input", left, right, pair, tolerance)

    def model_output(self, pair: TensorPair, tolerance: float) -> Case:
        """Return the case of the output of the model."""
        return self._case(
            "forward", "output", None, None, pair, tolerance, inputs=(self.inputs,), before=self._before(None)
        )

    def step(self, stage: Stage, tensor: str, subject: Subject | None, pair: TensorPair, tolerance: float) -> Case:
        """Return the case of a loss, a gradient or an updated weight."""
        values: dict[str, Any] = {
            "step": pair.step,
            "reference": _with_outputs(self.expected["train"]),
            "other": _with_outputs(self.actual["train"]),
            "training": self.training,
        }
        if subject is None:
            inputs = (self.inputs,)
            return self._case(
                stage, tensor, None, None, pair, tolerance, inputs=inputs, before=self._before(None), **values
            )
        values["names"] = {p.role: p.name for p in subject.left.parameters}
        return self._layer(stage, tensor, subject.left, subject.right, pair, tolerance, **values)

    def _layer(
        self, stage: Stage, tensor: str, left: Layer, right: Layer, pair: TensorPair, tolerance: float, **values: Any
    ) -> Case:
        trace = self._trace()
        names = [input_name(left.name, i) for i in range(len(left.inputs))]
        values |= {
            "inputs": tuple(trace[name] for name in names if name in trace),
            "before": self._before(left),
            "left_weights": {p.role: self.weights[0][p.name] for p in left.parameters},
            "right_weights": {p.role: self.weights[1][p.name] for p in right.parameters},
            "following": self._following(left),
        }
        return self._case(stage, tensor, left, right, pair, tolerance, **values)

    def _case(
        self,
        stage: Stage,
        tensor: str,
        left: Layer | None,
        right: Layer | None,
        pair: TensorPair,
        tolerance: float,
        **values: Any,
    ) -> Case:
        assert pair.actual is not None
        values |= {f"{side}_framework": model.framework for side, model in self.translation.models.items()}
        expected, actual = np.asarray(pair.expected), np.asarray(pair.actual)
        return Case(stage, self.mode, tensor, left, right, expected, actual, tolerance, **values)

    def _trace(self) -> dict[str, np.ndarray]:
        return self.expected[self.mode].at("trace", 1)

    def _before(self, left: Layer | None) -> np.ndarray:
        """Return the output of the mapped layer that runs before a layer, or the input of the model."""
        trace, before = self._trace(), self.inputs
        for layer, _ in self.translation.layers:
            if layer is left:
                break
            before = trace.get(layer.name, before)
        return before

    def _following(self, left: Layer) -> tuple[str, str] | None:
        """Return the first pair with weights that runs after a layer."""
        layers = self.translation.layers
        position = next(i for i, (layer, _) in enumerate(layers) if layer is left)
        return next(((x.name, y.name) for x, y in layers[position + 1 :] if x.parameters), None)


def _with_outputs(recording: Recording) -> dict[str, np.ndarray]:
    """Return a recording with the keys of `Case.reference`."""
    outputs = {f"output {name}": array for name, array in recording.at("trace", 1).items() if _is_output(name)}
    outputs |= {"output": recording.at("trace", 1)[OUTPUT]}
    return outputs | {key: array for key, array in recording.tensors.items() if not key.startswith("trace ")}


def _is_output(name: str) -> bool:
    return name != OUTPUT and not name.startswith("input ")
