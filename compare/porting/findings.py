"""What a comparison has collected so far: differences, explanations, notes, and stages that were skipped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..parity.pairs import TensorPair
from ..parity.tolerances import Tolerances
from .case import Case
from .result import STAGES, Difference, Explanation, Stage, StageResult

Explain = Callable[[Case], Explanation | None]
STRUCTURE, WEIGHTS = STAGES[0], STAGES[1]


@dataclass
class Findings:
    """The findings of a comparison.

    Args:
        explain: replays the known mistakes.

    Attributes:
        differences: all tensors that were compared.
        explanations: the mistakes that reproduce differences.
        notes: notes by stage.
        skipped: the reason for each stage that did not run.
    """

    explain: Explain
    differences: list[Difference] = field(default_factory=list)
    explanations: list[Explanation] = field(default_factory=list)
    notes: dict[Stage, list[str]] = field(default_factory=dict)
    skipped: dict[Stage, str] = field(default_factory=dict)

    def differs(self, stage: Stage) -> bool:
        """Return whether a tensor of the stage differs."""
        return any(d.stage == stage and not d.equal for d in self.differences)

    def add(
        self, stage: Stage, tensor: str, names: tuple[str, str], where: tuple[str, str], **values: Any
    ) -> Difference:
        """Add a difference: of the layers `names`, in the data type and mode `where`."""
        difference = Difference(stage, tensor, *names, *where, **values)
        self.differences.append(difference)
        return difference

    def compare(
        self,
        stage: Stage,
        tensor: str,
        names: tuple[str, str],
        where: tuple[str, str],
        pair: TensorPair,
        allowed: Tolerances,
    ) -> Difference:
        """Compare a pair of tensors, and add the result."""
        tolerance = allowed.of(pair.key)
        gap = pair.gap if math.isfinite(pair.gap) else None
        detail = "" if pair.gap <= tolerance else pair.values(tolerance, "the left model")[2]
        return self.add(stage, tensor, names, where, gap=gap, tolerance=tolerance, detail=detail)

    def note(self, stage: Stage, text: str) -> None:
        """Add a note to a stage, once."""
        notes = self.notes.setdefault(stage, [])
        if text not in notes:
            notes.append(text)

    def try_to_explain(self, case: Case) -> None:
        """Replay the known mistakes, unless the difference of these layers is already explained."""
        names = tuple(layer.name if layer else "" for layer in (case.left, case.right))
        if any((e.left, e.right) == names for e in self.explanations):
            return
        explanation = self.explain(case)
        if explanation is not None:
            self.explanations.append(explanation)

    def stage_results(self) -> tuple[StageResult, ...]:
        """Return the verdict of each stage."""
        return tuple(self._result(stage) for stage in STAGES)

    def _result(self, stage: Stage) -> StageResult:
        notes = tuple(self.notes.get(stage, ()))
        compared = [d for d in self.differences if d.stage == stage]
        different = [d for d in compared if not d.equal]
        if different:
            return StageResult(stage, "different", self._sentence(different, len(compared)), notes)
        if stage in self.skipped:
            return StageResult(stage, "skipped", self.skipped[stage], notes)
        if stage == STRUCTURE:
            return StageResult(stage, "equal", "All layers with weights have a partner.", notes)
        return StageResult(stage, "equal", _agreement(compared), notes)

    def _sentence(self, different: list[Difference], total: int) -> str:
        """Describe the first difference of a stage, and how many there are."""
        first = different[0]
        if first.stage == STRUCTURE:
            return "; ".join(f"{_names(d)}: {d.tensor} {d.detail}" for d in different) + "."
        where = first.dtype if first.stage == WEIGHTS else f"{first.dtype}, {_mode(first.mode)}"
        sentence = f"{len(different)} of {total} tensors differ, first {first.tensor} of {_names(first)} ({where}): {first.detail}."
        earlier = next((stage for stage in STAGES[:2] if self.differs(stage)), None)
        if earlier and first.stage not in (STRUCTURE, WEIGHTS):
            cause = "weights differ" if self.differs(WEIGHTS) else "structures differ"
            sentence += f" The {cause} first, so that this may be a consequence."
        return sentence


def _agreement(compared: list[Difference]) -> str:
    """Describe the largest differences of tensors that agree."""
    if not compared:
        return "There was nothing to compare."
    largest: dict[str, float] = {}
    for d in compared:
        largest[d.dtype] = max(largest.get(d.dtype, 0.0), d.gap or 0.0)
    gaps = " and ".join(f"{gap:.1g} in {dtype}" for dtype, gap in largest.items())
    number = len({(d.tensor, d.left) for d in compared})
    return f"{number} tensor{'s' if number != 1 else ''} compared; the largest difference is {gaps}."


def _names(d: Difference) -> str:
    if not d.left and not d.right:
        return "the model"
    if not d.left or not d.right:
        return f"`{d.left or d.right}` ({'left' if d.left else 'right'})"
    return f"`{d.left}`" if d.left == d.right else f"`{d.left}` and `{d.right}`"


def _mode(mode: str) -> str:
    return "evaluation mode" if mode == "eval" else "training mode"
