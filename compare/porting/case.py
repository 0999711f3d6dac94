"""A difference, with all that the replay of a mistake needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..parity.replay import reproduces
from .model import Framework, Layer
from .result import Stage


@dataclass(frozen=True)
class Training:
    """The training of the stages backward and steps.

    Attributes:
        loss: "cross_entropy" or "mse".
        optimizer: "sgd" or "adam".
        learning_rate: the learning rate.
        targets: integers or floats, as the loss expects.
    """

    loss: str
    optimizer: str
    learning_rate: float
    targets: np.ndarray


@dataclass(frozen=True)
class Case:
    """One tensor that differs. All arrays are float64, in PyTorch's layout.

    Attributes:
        stage: the stage in which it differs: weights, forward, backward or steps.
        mode: "eval" or "train".
        tensor: as in `Difference.tensor`:
            weights: the role of the weight, such as "weight";
            forward: "output" of a layer, where the right layer was fed the left layer's inputs; "input" of a layer, if it
            differs between two normal runs although the outputs of all layers before it are equal; without layers,
            "output", the output of the model;
            backward: "loss", or "gradient of ROLE";
            steps: "ROLE after step K", "loss of step K" or "gradient of ROLE in step K".
        left, right: the layers; None for the loss and the output of the model.
        expected: the left tensor.
        actual: the right tensor.
        tolerance: the largest difference that rounding causes.
        inputs: the inputs of the left layer, which were also fed to the right layer if `tensor` is "output". Those of the
            model if there is no layer.
        before: the left output of the mapped layer that runs before this one (for the output of the model: of the last
            one); the input of the model if there is none.
        left_weights, right_weights: parameters and buffers of the layers by role, such as "weight" and "running_mean".
        step: the step of the optimizer, from 1; 0 in the stages weights and forward.
        reference: all arrays of the left training with these weights: `loss STEP`, `gradient NAME STEP`, `weight NAME STEP`
            (step 0 is before the first one), and `output LAYER` in training mode for the first step. Empty in the stages
            weights and forward.
        other: the same of the right model, under the names of the left model.
        names: the name of each parameter of the left layer by role, as in the keys of `reference` and `other`.
        training: the settings of the training; None in the stages weights and forward.
        left_framework, right_framework: whose words describe the change that makes both equal.
        following: the names of the first mapped layers with weights that run after these; None if there are none.
    """

    stage: Stage
    mode: str
    tensor: str
    left: Layer | None
    right: Layer | None
    expected: np.ndarray
    actual: np.ndarray
    tolerance: float
    inputs: tuple[np.ndarray, ...] = ()
    before: np.ndarray | None = None
    left_weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    right_weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    step: int = 0
    reference: Mapping[str, np.ndarray] = field(default_factory=dict)
    other: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    training: Training | None = None
    left_framework: Framework = "torch"
    right_framework: Framework = "torch"
    following: tuple[str, str] | None = None

    @property
    def gap(self) -> float:
        """The largest absolute difference; inf if the shapes differ."""
        if self.actual.shape != self.expected.shape:
            return np.inf
        return float(np.abs(self.actual - self.expected).max(initial=0))

    def matches(self, value: Any) -> bool:
        """Return whether a replayed mistake yields the right tensor, apart from rounding."""
        return reproduces(np.asarray(value), self.actual, self.expected, self.tolerance, self.gap)
