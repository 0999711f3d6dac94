"""Compares each contender's recording of its first epoch with minigrad's, step by step.

All contenders train with their own training loop from the same weights over
the same batches. The comparison includes the weights before the first step,
the output of each layer for the first batch, the loss of every step, the
gradients of the first steps, and the weights after the first five steps, each
power of two, and the last two steps. `tolerances` defines how large a
difference of each tensor may be.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from minigrad.recipes import Recipe

from .. import contenders
from ..results.schema import DTYPES, DropoutCheck, Dtype, Parity, ParityCell, ParityRow, ParitySummary, Rounding
from . import divergence, tolerances
from .recording import MASKED, TOLERANCE, Recording, is_weight_step
from .tolerances import Tolerances

REFERENCE = "minigrad"


def rounding(folder: Path, prefix: str = "") -> Rounding:
    """Return the difference between the float32 and float64 recordings in `folder`, which is due to rounding alone."""
    unlimited = Tolerances("float32", math.inf)
    cell = compare(folder / f"{prefix}float64.npz", folder / f"{prefix}float32.npz", unlimited)
    return {"max_abs_diff": cell["max_abs_diff"], "by_step": cell["by_step"]}


def compare(reference: Path, other: Path, allowed: Tolerances, recipe: Recipe | None = None) -> ParityCell:
    """Compare one recording with another.

    Args:
        reference: minigrad's recording.
        other: the contender's recording.
        allowed: the tolerance of each tensor.
        recipe: the recipe that both trained; needed to explain a divergence.
    """
    expected, actual = Recording.read(reference), Recording.read(other)
    first = divergence.first_divergence(expected, actual, recipe, allowed)
    comparable = len(expected.losses) == len(actual.losses)
    pairs = list(divergence.tensor_pairs(expected, actual)) if comparable else []
    gaps = [pair.gap for pair in pairs]
    shares = [allowed.share(pair.key, gap) for pair, gap in zip(pairs, gaps, strict=True)]
    steps = [max(pair.step, 1) for pair in pairs]  # the starting weights belong to the first step
    worst = pairs[shares.index(max(shares))].key if pairs else "loss 1"
    return {
        "passed": first is None,
        "steps": len(actual.losses),
        "max_abs_diff": _largest(gaps),
        "limit": allowed.of(worst),
        "share": _largest(shares),
        "by_step": _largest_by_step(steps, gaps),
        "share_by_step": _largest_by_step(steps, shares),
        "first": None if first is None else first.sentence,
        "divergence": None if first is None else first.as_dict(),
    }


def _largest(values: Sequence[float]) -> float | None:
    """Return the largest value; None if there is none, or if one is not a finite number, which JSON does not have."""
    return max(values) if values and all(map(math.isfinite, values)) else None


def _largest_by_step(steps: Sequence[int], values: Iterable[float]) -> dict[int, float | None]:
    """Return the largest value up to each step whose weights are recorded, since the one before; all steps would be many."""
    total = max(steps, default=0)
    recorded = [step for step in range(1, total + 1) if is_weight_step(step, total)]
    groups: dict[int, list[float]] = {}
    for step, value in zip(steps, values, strict=True):
        groups.setdefault(recorded[bisect_left(recorded, step)], []).append(value)
    return {step: _largest(group) for step, group in groups.items()}


def compare_contender(reference: Path, other: Path, recipe: Recipe, accepts_masks: bool, prefix: str = "") -> ParityRow:
    """Compare all recordings of one contender.

    Args:
        reference, other: folders of minigrad's and the contender's recordings.
        recipe: the recipe that both trained.
        accepts_masks: whether the contender accepts dropout masks.
        prefix: the prefix of the file names.
    """
    allowed = _tolerances(reference, recipe, prefix)
    double, single = (
        compare(reference / f"{prefix}{dtype}.npz", other / f"{prefix}{dtype}.npz", allowed[dtype], recipe)
        for dtype in DTYPES
    )
    name = f"{prefix}{MASKED}.npz"
    dropout = compare_dropout(reference / name, other / name, recipe, accepts_masks)
    return {"float64": double, "float32": single, "dropout": dropout}


def _tolerances(reference: Path, recipe: Recipe, prefix: str = "") -> dict[Dtype, Tolerances]:
    """Return the tolerances by dtype. Those in float32 are in the folder of minigrad's recordings."""
    single = tolerances.read(reference / f"{prefix}{TOLERANCE}.npz")
    return {"float64": tolerances.double(recipe), "float32": single}


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
    cell = compare(reference, other, tolerances.double(recipe), recipe)
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
    allowed = _tolerances(reference, recipe)
    rows: dict[str, ParityRow] = {}
    for name, folder in folders.items():
        if name == REFERENCE:
            continue
        kind = contenders.find(name)
        if failed := failures.get(name):
            rows[name] = {dtype: _failed(failed, allowed[dtype]) for dtype in DTYPES}  # type: ignore[assignment]
        else:
            rows[name] = compare_contender(reference, folder, recipe, kind.accepts_masks)
        rows[name]["apart"] = kind.outside_verdict
    return summarise(rows, {name for name in rows if not rows[name]["apart"]}, rounding(reference))


def _failed(sentence: str, allowed: Tolerances) -> ParityCell:
    return {
        "passed": False,
        "steps": 0,
        "max_abs_diff": None,
        "limit": allowed.of("loss 1"),
        "share": None,
        "by_step": {},
        "share_by_step": {},
        "first": sentence,
    }


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
    gaps = [math.nan if (gap := cell["max_abs_diff"]) is None else gap for cell in cells]
    shares = [math.inf if (share := cell["share"]) is None else share for cell in cells]
    return {
        "passed": all(cell["passed"] for cell in cells),
        "steps": max((cell["steps"] for cell in cells), default=0),
        "max_abs_diff": _largest(gaps),
        "limit": cells[shares.index(max(shares))]["limit"] if cells else None,
    }
