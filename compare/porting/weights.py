"""The stage weights: copies and compares them."""

from __future__ import annotations

from pathlib import Path

from minigrad.runs import UserError

from ..parity import tolerances
from ..parity.pairs import tensor_pairs
from ..parity.recording import Recording
from .findings import Findings
from .numbers import Arrays, both
from .precision import FLOAT64, Precision
from .request import Request
from .side import Side
from .translation import Translation

FILES = {"torch": "ported.pt", "keras": "ported.weights.h5"}  # names of the copied weights by framework


def copy_weights(
    request: Request, findings: Findings, left: Side, right: Side, translation: Translation, out: Path | None
) -> tuple[tuple[Arrays, Arrays], str | None]:
    """Copy the weights if that is requested, and return those of both sides and the file with the copied ones."""
    weights = both(lambda side: side.weights(), left, right)
    if request.copy_weights == "none":
        return weights, None
    if request.copy_weights == "left":
        target, copied, total = right, translation.parameters_to_right(weights[0]), len(weights[1])
    else:
        target, copied, total = left, translation.parameters_to_left(weights[1]), len(weights[0])
    if not copied:
        raise UserError(
            f"--copy-weights: {request.copy_weights}; no layer with weights has a partner of the same shape; expected models"
            " with the same layers, or --map"
        )
    target.set_weights(copied)
    findings.note("weights", f"{len(copied)} of {total} tensors were copied from the {request.copy_weights} model.")
    saved = None
    if out is not None:
        framework = translation.models["right" if request.copy_weights == "left" else "left"].framework
        saved = str(target.save(out / FILES[framework]))
    return both(lambda side: side.weights(), left, right), saved


def compare_weights(run: Precision) -> None:
    """Compare the weights of all pairs, and explain those that differ."""
    findings, translation = run.compared.findings, run.compared.translation
    left, right = (
        Recording({f"weight {name} 0": array for name, array in recorder.parameters(weights).items()})
        for recorder, weights in zip(run.recorders, run.compared.weights, strict=True)
    )
    allowed = tolerances.relative(left, FLOAT64)
    for pair in tensor_pairs(left, right):
        subject = translation.subjects[pair.name]
        names = subject.left.name, subject.right.name
        difference = findings.compare("weights", subject.mine.role, names, (run.dtype, "eval"), pair, allowed)
        if not difference.equal and pair.actual is not None:
            findings.try_to_explain(run.cases("eval").weight(subject, pair, difference.tolerance))
    # If the structures are equal, the report begins with this advice.
    is_later = findings.differs("structure") and findings.differs("weights")
    if is_later and run.compared.request.copy_weights == "none":
        findings.note("weights", "--copy-weights left copies the left weights into the right model.")
