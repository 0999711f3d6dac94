"""The stage forward: the outputs of all layers that have a partner, and the output of the model."""

from __future__ import annotations

import numpy as np

from minigrad.runs import UserError

from ..parity.pairs import TensorPair, tensor_pairs
from ..parity.tolerances import Tolerances
from .case import Case
from .model import Layer, Mode
from .numbers import MODES, OUTPUT, input_name
from .precision import Precision


class Forward:
    """Compares the forward passes in one data type.

    Args:
        run: what both sides compute.
    """

    def __init__(self, run: Precision) -> None:
        self.run, self.findings, self.translation = run, run.compared.findings, run.compared.translation
        self.is_free = run.compared.request.mode == "free"

    def compare(self) -> None:
        """Compare in both modes."""
        for mode in MODES:
            self._compare_mode(mode)

    def _compare_mode(self, mode: Mode) -> None:
        """Compare the outputs of all layers, and the output of the model."""
        pairs = [p for p in tensor_pairs(self.run.expected[mode], self.run.actual[mode]) if p.phase == "forward"]
        allowed = self.run.allowed[mode]
        by_name = {pair.name: pair for pair in pairs}
        first = self._first_difference(by_name, allowed)
        for left, right in self.translation.layers:
            if first is not None and first.name in _input_names(left):
                self._add_forward(mode, first, left, right)
                self._explain(self.run.cases(mode).input(left, right, first, allowed.of(first.key)))
            if left.name not in by_name:
                continue
            if not self.is_free:
                self._compare_single(mode, left, right)
                continue
            self._add_forward(mode, by_name[left.name], left, right)
            if first is by_name[left.name]:
                self._explain_output(mode, left, right)
        self._compare_output(mode, by_name[OUTPUT], first)
        if first is not None and mode == "eval":
            self._check_repeat()

    def _first_difference(self, pairs: dict[str, TensorPair], allowed: Tolerances) -> TensorPair | None:
        """Return the first pair that differs in normal runs.

        An input that differs counts only if the output of its layer differs too: the two sides may divide the work in
        another way between layers.
        """
        for left, _ in self.translation.layers:
            tensors = [pairs[name] for name in (*_input_names(left), left.name) if name in pairs]
            different = [pair for pair in tensors if not pair.gap <= allowed.of(pair.key)]
            if different and different[-1].name == left.name:
                return different[0]
        output = pairs[OUTPUT]
        return None if output.gap <= allowed.of(output.key) else output

    def _add_forward(self, mode: Mode, pair: TensorPair, left: Layer, right: Layer) -> None:
        tensor = "output" if pair.name == left.name else "input"
        names = left.name, right.name
        self.findings.compare("forward", tensor, names, (self.run.dtype, mode), pair, self.run.allowed[mode])

    def _compare_output(self, mode: Mode, pair: TensorPair, first: TensorPair | None) -> None:
        """Compare the output of the model. In single-step mode, it counts only if no other difference comes before it."""
        if first is not None and first is not pair and not self.is_free:
            return
        allowed = self.run.allowed[mode]
        difference = self.findings.compare("forward", "output", ("", ""), (self.run.dtype, mode), pair, allowed)
        if first is pair and pair.actual is not None:
            self._explain(self.run.cases(mode).model_output(pair, difference.tolerance))

    def _compare_single(self, mode: Mode, left: Layer, right: Layer) -> None:
        """Compare the output of the right layer for the inputs of the left one."""
        names, where = (left.name, right.name), (self.run.dtype, mode)
        allowed = self.run.allowed[mode]
        try:
            pair = self._single(mode, left, right)
        except UserError as error:
            tolerance = allowed.of(f"trace {left.name} 1")
            self.findings.add("forward", "output", names, where, gap=None, tolerance=tolerance, detail=str(error))
            return
        difference = self.findings.compare("forward", "output", names, where, pair, allowed)
        if not difference.equal:
            self._explain_pair(mode, left, right, pair)

    def _explain_output(self, mode: Mode, left: Layer, right: Layer) -> None:
        """Explain the output of a layer that differs: run the right layer on the left layer's inputs."""
        try:
            pair = self._single(mode, left, right)
        except UserError as error:
            self.findings.note("forward", f"`{right.name}` cannot be run on the inputs of `{left.name}`: {error}.")
            return
        self._explain_pair(mode, left, right, pair)

    def _explain_pair(self, mode: Mode, left: Layer, right: Layer, pair: TensorPair) -> None:
        self._explain(self.run.cases(mode).output(left, right, pair, self.run.allowed[mode].of(pair.key)))

    def _explain(self, case: Case) -> None:
        """Explain a difference of the forward pass, unless the weights of the layers differ, which is its cause."""
        names = (case.left.name, case.right.name) if case.left and case.right else None
        unequal = {(d.left, d.right) for d in self.findings.differences if d.stage == "weights" and not d.equal}
        if names not in unequal and np.shape(case.actual):
            self.findings.try_to_explain(case)

    def _single(self, mode: Mode, left: Layer, right: Layer) -> TensorPair:
        """Return the output of the right layer for the inputs of the left one, with the left output."""
        trace = self.run.expected[mode].at("trace", 1)
        inputs = [
            self.translation.input_to_right(left, trace[name]) for name in _input_names(left)[: len(right.inputs)]
        ]
        if (pad := self.translation.pads["right"].get(right.name)) is not None:
            inputs = [self.run.right.single(pad, inputs, mode)]
        output = self.run.right.single(right.name, inputs, mode).astype(np.float64)
        return TensorPair(1, "forward", left.name, self.translation.output_to_left(left, output), trace[left.name])

    def _check_repeat(self) -> None:
        """Note a layer that is random in evaluation mode."""
        for name, side in {"left": self.run.left, "right": self.run.right}.items():
            layer = side.check_repeat(self.run.inputs, "eval")
            if layer is not None:
                where = f"`{layer}` of the {name} model" if layer else f"The {name} model"
                self.findings.note("forward", f"{where} is random in evaluation mode.")


def _input_names(left: Layer) -> list[str]:
    return [input_name(left.name, i) for i in range(len(left.inputs))]
