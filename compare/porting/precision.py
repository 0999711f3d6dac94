"""Records both models in one data type, and determines the tolerances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..parity import tolerances
from ..parity.recording import Recording
from ..parity.tolerances import Tolerances
from .batch import make_targets
from .case import Training
from .cases import Cases
from .findings import Findings
from .model import Dtype, Mode, Structure
from .numbers import MODES, OUTPUT, Arrays, Recorder, both, joined, perturbed
from .request import Request
from .side import Side
from .translation import Translation

FLOAT64 = 1e-10  # largest difference in float64, relative to the largest value of a tensor (1 or more)


@dataclass(frozen=True)
class Compared:
    """What is compared, in both data types.

    Attributes:
        request: the options.
        models: the structures of the left and the right model.
        translation: the map.
        inputs: the inputs.
        targets: the targets in the data file, if there are any.
        weights: all weights and buffers of the left and the right model, in float64.
        findings: receives the results.
    """

    request: Request
    models: tuple[Structure, Structure]
    translation: Translation
    inputs: np.ndarray
    targets: np.ndarray | None
    weights: tuple[Arrays, Arrays]
    findings: Findings


class Precision:
    """What both sides compute in one data type. The forward passes are recorded at once.

    Args:
        compared: what is compared.
        left, right: the sides, described and with their weights.
        dtype: their data type.
        double: the same in float64; None if this is it.

    Attributes:
        expected: the recordings of the left side by mode.
        actual: those of the right side, under the left names.
        allowed: the tolerances by mode; measured in float32, see `parity.tolerances`.
    """

    def __init__(
        self, compared: Compared, left: Side, right: Side, dtype: Dtype, double: Precision | None = None
    ) -> None:
        self.compared, self.left, self.right, self.dtype, self.double = compared, left, right, dtype, double
        self.translation, self.inputs = compared.translation, compared.inputs
        self.recorders = Recorder(left, self.translation, True), Recorder(right, self.translation, False)
        self.training: Training | None = None
        self.expected: dict[Mode, Recording] = {}
        self.actual: dict[Mode, Recording] = {}

        self._record_forward()

    def _record_forward(self) -> None:
        def record(side: Side) -> dict[Mode, Recording]:
            recorder = self.recorders[side is self.right]
            return {mode: recorder.trace(self.inputs, mode) for mode in MODES}

        self.expected, self.actual = both(record, self.left, self.right)
        if self.double is None:
            self.allowed = {mode: tolerances.relative(self.expected[mode], FLOAT64) for mode in MODES}
        else:
            self.record_training()
            self.allowed = self._measured()

    def _measured(self) -> dict[Mode, Tolerances]:
        """Return the tolerances in float32, measured on the left side."""
        assert self.double is not None
        recorder = self.recorders[0]

        def record(inputs: np.ndarray) -> dict[Mode, Recording]:
            traces = {mode: recorder.trace(inputs, mode) for mode in MODES}
            assert self.training is not None
            trained = recorder.training(inputs, self.training, self.compared.request.steps)
            return {"eval": traces["eval"], "train": joined(traces["train"], trained)}

        runs = list(perturbed(self.left, self.compared.weights[0], self.inputs, record))
        return {
            mode: tolerances.measure(self.expected[mode], [self.double.expected[mode], *(run[mode] for run in runs)])
            for mode in MODES
        }

    def cases(self, mode: Mode) -> Cases:
        """Return what builds the cases of a mode."""
        return Cases(
            self.translation, self.compared.weights, self.inputs, self.expected, self.actual, mode, self.training
        )

    def record_training(self) -> None:
        """Record the training of both sides, and add it to the recordings in training mode."""
        request = self.compared.request
        output = self.expected["train"].at("trace", 1)[OUTPUT]
        if request.loss == "cross_entropy" and output.shape[-1:] == (1,):
            text = "The cross-entropy of an output with one value is always 0; --loss mse compares gradients."
            self.compared.findings.note("backward", text)
        targets = make_targets(request, self.compared.targets, output)
        self.training = training = Training(request.loss, request.optimizer, request.learning_rate, targets)

        def record(side: Side) -> Arrays:
            return self.recorders[side is self.right].training(self.inputs, training, request.steps)

        trained = both(record, self.left, self.right)
        self.expected["train"] = joined(self.expected["train"], trained[0])
        self.actual["train"] = joined(self.actual["train"], trained[1])
        if self.double is None:
            self.allowed["train"] = tolerances.relative(self.expected["train"], FLOAT64)
