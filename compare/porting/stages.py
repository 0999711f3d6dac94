"""Runs the stages of a comparison of two models: structure, weights, forward, backward, steps.

All stages run in float64 first. If they are equal there, float32 follows, from
the same weights. The backward pass and the optimizer's steps are compared only
if the outputs are equal, since their differences would be consequences.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Literal

from . import map_file
from .backward import Backward
from .batch import make_inputs
from .findings import Explain, Findings
from .forward import Forward
from .mapping import layers_of, match
from .model import Dtype, Structure
from .numbers import both
from .precision import Compared, Precision
from .request import Request
from .result import DiffResult, Explanation, LayerPair
from .side import Side
from .translation import Translation
from .weights import compare_weights, copy_weights

FRAMEWORKS = {"torch": "PyTorch", "keras": "Keras"}
OpenSide = Callable[[Literal["left", "right"], Dtype], AbstractContextManager[Side]]


def run(
    request: Request,
    open_side: OpenSide,
    explain: Explain,
    *,
    out: Path | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> DiffResult:
    """Compare two models.

    Args:
        request: the sides and the options.
        open_side: starts a side in a data type.
        explain: replays the known mistakes for a tensor that differs.
        out: the folder for the copied weights, which exists; None to write none.
        progress: receives what is done, in words.

    Raises:
        UserError: a model, the map or the data cannot be used.
    """
    start = time.perf_counter()
    findings = Findings(explain)
    progress("building the models")
    with ExitStack() as stack:
        left, right = _open(stack, open_side, "float64")
        inputs, targets = make_inputs(request, left, right)
        models = both(lambda side: side.describe(inputs), left, right)
        pairs = _map(request, *models)
        translation = Translation(*models, pairs)
        _compare_structures(findings, pairs, translation)
        weights, saved = copy_weights(request, findings, left, right, translation, out)
        compared = Compared(request, models, translation, inputs, targets, weights, findings)
        progress("comparing in float64")
        double = Precision(compared, left, right, "float64")
        _compare(double)
        peak = sum(both(lambda side: side.peak_mb(), left, right))
    if not any(findings.differs(stage) for stage in ("weights", "forward", "backward", "steps")):
        progress("comparing in float32")
        with ExitStack() as stack:
            left, right = _open(stack, open_side, "float32")
            both(lambda side: side.describe(inputs), left, right)
            left.set_weights(weights[0])
            right.set_weights(weights[1])
            _compare(Precision(compared, left, right, "float32", double))
            peak = max(peak, sum(both(lambda side: side.peak_mb(), left, right)))
    stages = findings.stage_results()
    return DiffResult(
        left=request.left,
        right=request.right,
        equal=all(stage.verdict != "different" for stage in stages),
        stages=stages,
        layers=tuple(pairs),
        differences=tuple(findings.differences),
        explanations=tuple(findings.explanations),
        map=map_file.dump(pairs),
        request=request.as_dict(),
        weights_file=saved,
        seconds=time.perf_counter() - start,
        peak_mb=peak,
    )


def _open(stack: ExitStack, open_side: OpenSide, dtype: Dtype) -> tuple[Side, Side]:
    """Start both sides; they end with the stack."""
    return stack.enter_context(open_side("left", dtype)), stack.enter_context(open_side("right", dtype))


def _map(request: Request, left: Structure, right: Structure) -> list[LayerPair]:
    """Return the map: that of the request, with the remaining layers matched."""
    fixed = map_file.read(request.map, left, right) if request.map else []
    return match(left, right, fixed)


def _compare_structures(findings: Findings, pairs: list[LayerPair], translation: Translation) -> None:
    """Note the number of parameters; add layers with weights that have no partner, and parameters that one layer of a pair lacks."""
    findings.note("structure", f"Parameters: {' and '.join(map(_count, translation.models.values()))}.")
    with_weights = {side: {x.name for x in layers_of(m) if x.parameters} for side, m in translation.models.items()}
    where = ("float64", "eval")
    alone: dict[str, list[str]] = {"left": [], "right": []}
    for pair in pairs:
        if pair.left is not None and pair.right is not None:
            continue
        side = "left" if pair.right is None else "right"
        name = str(pair.left if pair.right is None else pair.right)
        if name in with_weights[side]:
            detail = "has no partner" + (f"; the most similar is {pair.partner}" if pair.partner else "")
            findings.add(
                "structure",
                pair.kind,
                (pair.left or "", pair.right or ""),
                where,
                gap=None,
                tolerance=0.0,
                detail=detail,
            )
        else:
            alone[side].append(f"`{name}`" + (f" (similar to {pair.partner})" if pair.partner else ""))
    for x, y in translation.layers:
        matched = {(s.left.name, s.mine.name) for s in translation.subjects.values()}
        theirs = {(s.right.name, s.theirs.name) for s in translation.subjects.values()}
        for side, layer, known in (("left", x, matched), ("right", y, theirs)):
            for p in layer.parameters:
                if (layer.name, p.name) not in known:
                    detail = f"exists only in the {side} layer"
                    findings.add("structure", p.role, (x.name, y.name), where, gap=None, tolerance=0.0, detail=detail)
                    findings.explanations.append(_missing(x.name, y.name, p.role, side))
    for side, names in alone.items():
        if names:
            findings.note("structure", f"Without weights and without a partner on the {side}: {', '.join(names)}.")


def _count(model: Structure) -> str:
    """Return the number of trained parameters of a model in words."""
    return f"{sum(math.prod(p.shape) for p in model.parameters if p.trainable):,} ({FRAMEWORKS[model.framework]})"


def _missing(left: str, right: str, role: str, side: str) -> Explanation:
    """Explain a parameter that exists only on one side."""
    layer, partner, other = (left, right, "right") if side == "left" else (right, left, "left")
    sentence = (
        f"`{layer}` ({side}) has a {role}, but its partner `{partner}` ({other}) has none."
        f" Add it there, or remove it from `{layer}`."
    )
    return Explanation(left, right, f"missing {role}", sentence)


def _compare(run: Precision) -> None:
    """Run the stages from the weights on in one data type."""
    findings = run.compared.findings
    if run.dtype == "float64":
        compare_weights(run)
    Forward(run).compare()
    if findings.differs("forward"):
        for stage in ("backward", "steps"):
            findings.skipped[stage] = "Not compared, since the outputs differ."
    else:
        Backward(run).compare()
