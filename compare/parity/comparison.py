"""Compares each contender's recording of its first epoch with minigrad's, step by step.

All contenders train with their own training loop from the same weights over
the same batches. The comparison includes the weights before the first step,
the output of each layer for the first batch, the loss of every step, the
gradients of the first steps, and the weights after the first five steps, each
power of two, and the last two steps. `tolerances` defines how large a
difference may be.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from pathlib import Path

from minigrad.recipes import Recipe

from .. import contenders
from ..results.schema import DTYPES, DropoutCheck, Parity, ParityCell, ParityRow, ParitySummary, Rounding
from . import divergence
from .recording import MASKED, Recording
from .tolerances import limits

REFERENCE = "minigrad"


def rounding(folder: Path, prefix: str = "") -> Rounding:
    """Return the difference between the float32 and float64 recordings in `folder`, which is due to rounding alone."""
    cell = compare(folder / f"{prefix}float64.npz", folder / f"{prefix}float32.npz", math.inf)
    return {"max_abs_diff": cell["max_abs_diff"], "by_step": cell["by_step"]}


def compare(reference: Path, other: Path, limit: float, recipe: Recipe | None = None) -> ParityCell:
    """Compare one recording with another.

    Args:
        reference: minigrad's recording.
        other: the contender's recording.
        limit: the largest difference allowed.
        recipe: the recipe that both trained; needed to explain a divergence.
    """
    expected, actual = Recording.read(reference), Recording.read(other)
    first = divergence.first_divergence(expected, actual, recipe, limit)
    by_step: dict[int, float] = {}
    if len(expected.losses) == len(actual.losses):
        for pair in divergence.tensor_pairs(expected, actual):
            step = max(pair.step, 1)  # the starting weights belong to the first step
            by_step[step] = _larger(by_step.get(step, 0.0), pair.gap)
    largest = functools.reduce(_larger, by_step.values(), 0.0)
    return {
        "passed": first is None,
        "steps": len(actual.losses),
        "max_abs_diff": largest if by_step and math.isfinite(largest) else None,
        "limit": limit,
        "by_step": {step: gap if math.isfinite(gap) else None for step, gap in by_step.items()},  # JSON has no nan
        "first": None if first is None else first.sentence,
        "divergence": None if first is None else first.as_dict(),
    }


def _larger(a: float, b: float) -> float:
    """Return the larger value; nan is larger than any number."""
    return a if a >= b or math.isnan(a) else b


def compare_contender(
    reference: Path, other: Path, recipe: Recipe, rounding: float, accepts_masks: bool, prefix: str = ""
) -> ParityRow:
    """Compare all recordings of one contender.

    Args:
        reference, other: folders of minigrad's and the contender's recordings.
        recipe: the recipe that both trained.
        rounding: the largest difference between minigrad's float32 and float64 runs.
        accepts_masks: whether the contender accepts dropout masks.
        prefix: the prefix of the file names.
    """
    allowed = limits(recipe, rounding)
    double, single = (
        compare(reference / f"{prefix}{dtype}.npz", other / f"{prefix}{dtype}.npz", allowed[dtype], recipe)
        for dtype in DTYPES
    )
    name = f"{prefix}{MASKED}.npz"
    dropout = compare_dropout(reference / name, other / name, recipe, accepts_masks)
    return {"float64": double, "float32": single, "dropout": dropout}


def compare_dropout(reference: Path, other: Path, recipe: Recipe, accepts_masks: bool) -> DropoutCheck:
    """Compare recordings with dropout.

    Returns:
        The result; its `said` is "off" if the recipe has no dropout, "same
        masks: 3e-15" (the largest difference) if the contender agrees, and
        "excluded: ..." if it accepts no masks.
    """
    if not (recipe.model.dropout and recipe.model.hidden):
        return {"passed": None, "said": "off"}
    if not accepts_masks:
        return {"passed": None, "said": "excluded: its dropout accepts no masks"}
    cell = compare(reference, other, limits(recipe)["float64"], recipe)
    if cell["passed"]:
        return {"passed": True, "said": f"same masks: {cell['max_abs_diff']:.0e}"}
    return {"passed": False, "said": f"same masks: {cell['first']}"}


def compare_all(recipe: Recipe, folders: Mapping[str, Path], failures: Mapping[str, str | None]) -> Parity:
    """Compare every contender with the reference.

    Args:
        recipe: the recipe that all trained.
        folders: the folder of recordings by contender, the reference included.
        failures: a sentence for each contender whose process failed.
    """
    reference = folders[REFERENCE]
    own = rounding(reference)
    largest = own["max_abs_diff"] or 0.0
    rows: dict[str, ParityRow] = {}
    for name, folder in folders.items():
        if name == REFERENCE:
            continue
        kind = contenders.find(name)
        if failed := failures.get(name):
            allowed = limits(recipe, largest)
            rows[name] = {dtype: _failed(failed, allowed[dtype]) for dtype in DTYPES}  # type: ignore[assignment]
        else:
            rows[name] = compare_contender(reference, folder, recipe, largest, kind.accepts_masks)
        rows[name]["apart"] = kind.outside_verdict
    return summarise(rows, {name for name in rows if not rows[name]["apart"]}, own)


def _failed(sentence: str, limit: float) -> ParityCell:
    return {"passed": False, "steps": 0, "max_abs_diff": None, "by_step": {}, "first": sentence, "limit": limit}


def summarise(rows: dict[str, ParityRow], counted: Collection[str], rounding: Rounding | None = None) -> Parity:
    """Return the verdict, and the rows of all contenders.

    Args:
        rows: the rows by contender.
        counted: contenders that count for the verdict.
        rounding: the reference's difference due to rounding.
    """
    inside = [row for name, row in rows.items() if name in counted]
    double, single = (_summary([row[dtype] for row in inside]) for dtype in DTYPES)
    dropout_failed = any(row.get("dropout", {}).get("passed") is False for row in inside)
    passed = double["passed"] and single["passed"] and not dropout_failed
    return {
        "reference": REFERENCE,
        "passed": passed if inside else None,  # there is nothing to compare with the reference
        "float64": double,
        "float32": single,
        "rounding": rounding,
        "contenders": rows,
    }


def _summary(cells: list[ParityCell]) -> ParitySummary:
    gaps = [cell["max_abs_diff"] for cell in cells]
    return {
        "passed": all(cell["passed"] for cell in cells),
        "steps": max((cell["steps"] for cell in cells), default=0),
        "max_abs_diff": None if None in gaps or not gaps else max(gap for gap in gaps if gap is not None),
        "limit": cells[0]["limit"] if cells else None,
    }
