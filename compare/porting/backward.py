"""The stages backward and steps: the loss, the gradients, and the steps of the optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ..parity.pairs import TensorPair, tensor_pairs
from ..parity.recording import Recording
from .conventions import ADAM_NOTE
from .numbers import Arrays, joined
from .precision import Precision
from .result import Stage
from .settled import Settled


class Backward:
    """Compares the trainings in one data type.

    Args:
        run: what both sides compute.
    """

    def __init__(self, run: Precision) -> None:
        self.run, self.findings, self.translation = run, run.compared.findings, run.compared.translation
        self.request = run.compared.request

    def compare(self) -> None:
        """Compare loss and gradients, and the steps of the optimizer."""
        if self.run.double is None:
            self.run.record_training()
        start = {mode: Recording(weights) for mode, weights in self._start().items()}
        self.run.expected["train"] = joined(start["left"], self.run.expected["train"])
        self.run.actual["train"] = joined(start["right"], self.run.actual["train"])
        self._compare_steps(self._training_pairs(), ("backward",))
        if self.findings.differs("backward"):
            self.findings.skipped["steps"] = "Not compared, since the loss or the gradients differ."
        elif not self.request.steps:
            self.findings.skipped["steps"] = "Not requested; --steps N compares N updates of the optimizer."
        else:
            self._compare_updates()

    def _start(self) -> dict[str, Arrays]:
        """Return the weights of both sides before the first step."""
        sides = zip(("left", "right"), self.run.recorders, self.run.compared.weights, strict=True)
        return {
            name: {f"weight {key} 0": array for key, array in recorder.parameters(weights).items()}
            for name, recorder, weights in sides
        }

    def _compare_updates(self) -> None:
        """Compare the steps of the optimizer; effects of conventions are subtracted if only they differ."""
        allowed, request = self.run.allowed["train"], self.request
        notes: list[str] = []
        if not all(pair.gap <= allowed.of(pair.key) for _, pair in self._training_pairs()):
            settled = Settled(
                self.translation,
                self.run.expected["train"],
                self.run.actual["train"],
                request.learning_rate,
                self.run.dtype,
            )
            if request.optimizer == "adam" and settled.adam_differs:
                settled.settle_adam(partial(self._forced, request.steps))
                notes.append(ADAM_NOTE)
            notes += settled.settle_batch_norms()
            self.run.actual["train"] = settled.recording
        self._compare_steps(self._training_pairs(), ("steps",))
        if not self.findings.differs("steps"):
            for text in notes:
                self.findings.note("steps", text)

    def _forced(self, steps: int) -> Iterator[tuple[int, Arrays]]:
        """Yield the step, and one step of the right model with SGD from the left weights before it, from the second step on."""
        assert self.run.training is not None
        training = self.run.training
        for step in range(2, steps + 1):
            self.run.right.set_weights(
                self.translation.parameters_to_right(self.run.expected["train"].at("weight", step - 1))
            )
            rate = self.request.learning_rate
            arrays = self.run.right.train(self.run.inputs, training.targets, training.loss, "sgd", rate, 1)
            yield step, self.run.recorders[1].named(arrays)
        self.run.right.set_weights(self.run.compared.weights[1])

    def _training_pairs(self) -> Iterator[tuple[Stage, TensorPair]]:
        """Yield the tensors of the training with their stages."""
        for pair in tensor_pairs(self.run.expected["train"], self.run.actual["train"]):
            if pair.phase in ("loss", "gradient", "update"):
                yield "backward" if pair.step == 1 and pair.phase != "update" else "steps", pair

    def _compare_steps(self, pairs: Iterator[tuple[Stage, TensorPair]], stages: tuple[Stage, ...]) -> None:
        """Compare the tensors of the stages, and explain the first one that differs."""
        explained = False
        for stage, pair in pairs:
            if stage not in stages:
                continue
            subject = self.translation.subjects.get(pair.name)
            names = (subject.left.name, subject.right.name) if subject else ("", "")
            tensor = _tensor(stage, pair, subject.mine.role if subject else "")
            difference = self.findings.compare(
                stage, tensor, names, (self.run.dtype, "train"), pair, self.run.allowed["train"]
            )
            if not difference.equal and not explained and pair.actual is not None:
                explained = True
                self.findings.try_to_explain(
                    self.run.cases("train").step(stage, tensor, subject, pair, difference.tolerance)
                )


def _tensor(stage: Stage, pair: TensorPair, role: str) -> str:
    """Return the name of a tensor as in `Difference.tensor`."""
    if pair.phase == "loss":
        return "loss" if stage == "backward" else f"loss of step {pair.step}"
    if pair.phase == "gradient":
        return f"gradient of {role}" + ("" if stage == "backward" else f" in step {pair.step}")
    return f"{role} after step {pair.step}"
