"""Do they compute the same? Every contender's first epoch against minigrad's, step by step.

All train through their own path from the same weights over the same batches.
Compared are the weights before the first step, what each layer makes of the
first batch, every step's loss, the first steps' gradients, and the weights
after the first five steps, each power of two, and the last two.

The limits. In float64 a different order of summation shows at 1e-16 a step,
and 1e-12 leaves room for hundreds of them. In float32 the same is 1e-7, so
SGD stays within 1e-4. Adam and RMSprop divide a gradient by its own size:
where one is no larger than its rounding error, one framework may step up
where another steps down, so their limit is wider by two learning rates.

A deep network makes more of such a step in each that follows. How much,
minigrad tells: its float32 run strays from its float64 run by rounding alone,
and two that stray as far may be twice as far apart. Where that is wider, it
is the limit in float32.

Batch norm has a wider limit in float64. torch sums a channel's values one
after another, 100,000 of them for 128 small images, so that its rounding
begins at 1e-13. And a shift before a norm changes nothing: its gradient is
rounding and no more, which Adam and RMSprop divide by no more than 1e-8.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minigrad.recipes import Recipe

from .. import contenders
from . import divergence
from .recording import MASKED, Recording

REFERENCE = "minigrad"
LIMITS = {"float64": 1e-12, "float32": 1e-4}
BATCH_NORM = 1e-10


def limits(recipe: Recipe, rounding: float = 0.0) -> dict[str, float]:
    """The largest difference allowed, by dtype, where float32 strays from float64 by `rounding`."""
    adaptive = recipe.model.optimizer in ("rmsprop", "adam", "adamw")
    single = LIMITS["float32"] + (2 * recipe.model.learning_rate if adaptive else 0)
    double = BATCH_NORM if recipe.model.batch_norm else LIMITS["float64"]
    return {"float64": double, "float32": max(single, 2 * rounding)}


def strayed(folder: Path, prefix: str = "") -> dict[str, Any]:
    """How far rounding alone takes the run in `folder`, its float32 recording from its float64 one: the largest
    difference, `max_abs_diff`, and that at each step looked at, `by_step`.
    """
    cell = compare(folder / f"{prefix}float64.npz", folder / f"{prefix}float32.npz", math.inf)
    return {key: cell[key] for key in ("max_abs_diff", "by_step")}


def compare(reference: Path, other: Path, limit: float, recipe: Recipe | None = None) -> dict[str, Any]:
    """Hold one recording against another.

    Args:
        reference, other: what `recording.record` left.
        limit: the largest difference allowed.
        recipe: by which both were trained; needed to explain a divergence.

    Returns:
        passed, steps, max_abs_diff, limit, `by_step` (the largest difference
        at each step looked at), `first`, a sentence on the first step, tensor
        and operation beyond the limit, or None, and `divergence`, the same as
        a dict.
    """
    expected, found = Recording.read(reference), Recording.read(other)
    first = divergence.between(expected, found, recipe, limit)
    by_step: dict[int, float] = {}
    if len(expected.losses) == len(found.losses):
        for look in divergence.looks(expected, found):
            step = max(look.step, 1)  # what the first one starts from is a part of it
            by_step[step] = _larger(by_step.get(step, 0.0), look.gap)
    largest = functools.reduce(_larger, by_step.values(), 0.0)
    return {
        "passed": first is None,
        "steps": len(found.losses),
        "max_abs_diff": largest if by_step and math.isfinite(largest) else None,
        "limit": limit,
        "by_step": {step: gap if math.isfinite(gap) else None for step, gap in by_step.items()},  # JSON has no nan
        "first": None if first is None else first.sentence,
        "divergence": None if first is None else first.as_dict(),
    }


def _larger(a: float, b: float) -> float:
    """nan is larger than any."""
    return a if a >= b or math.isnan(a) else b


def hold(
    reference: Path, other: Path, recipe: Recipe, rounding: float, masks: bool, prefix: str = ""
) -> dict[str, Any]:
    """One contender's row: what `compare` returns by dtype, and `dropout`.

    Args:
        reference, other: the two folders that `recording.record` filled.
        recipe: by which both were trained.
        rounding: how far minigrad's float32 run strays from its float64 run.
        masks: whether this contender takes dropout's masks from outside.
        prefix: what the files' names begin with.
    """
    row = {
        dtype: compare(reference / f"{prefix}{dtype}.npz", other / f"{prefix}{dtype}.npz", limit, recipe)
        for dtype, limit in limits(recipe, rounding).items()
    }
    name = f"{prefix}{MASKED}.npz"
    return {**row, "dropout": dropout(reference / name, other / name, recipe, masks)}


def dropout(reference: Path, other: Path, recipe: Recipe, masks: bool) -> dict[str, Any]:
    """How dropout was held against minigrad's: `said`, and `passed`, None where it was not.

    "off" where the recipe has none, "same masks: 3e-15" where all dropped the
    same units, "excluded: ..." where a contender can't be given masks.
    """
    if not (recipe.model.dropout and recipe.model.hidden):
        return {"passed": None, "said": "off"}
    if not masks:
        return {"passed": None, "said": "excluded: its dropout takes no masks from outside"}
    cell = compare(reference, other, limits(recipe)["float64"], recipe)
    if cell["passed"]:
        return {"passed": True, "said": f"same masks: {cell['max_abs_diff']:.0e}"}
    return {"passed": False, "said": f"same masks: {cell['first']}"}


def judge(recipe: Recipe, folders: Mapping[str, Path], failures: Mapping[str, str | None]) -> dict[str, Any]:
    """The verdict on the recordings in `folders`, by contender, each held against the reference's.

    `failures` has a sentence for each whose process failed.
    """
    reference = folders[REFERENCE]
    rounding = strayed(reference)
    rows: dict[str, Any] = {}
    for name, folder in folders.items():
        if name == REFERENCE:
            continue
        strays = rounding["max_abs_diff"] or 0.0
        if failed := failures.get(name):
            cell: dict[str, Any] = {"passed": False, "steps": 0, "max_abs_diff": None, "by_step": {}, "first": failed}
            rows[name] = {dtype: {**cell, "limit": limit} for dtype, limit in limits(recipe, strays).items()}
        else:
            rows[name] = hold(reference, folder, recipe, strays, contenders.find(name).masks)
    for name in rows:
        rows[name]["apart"] = contenders.find(name).apart
    return summarise(rows, {name for name in rows if not rows[name]["apart"]}, rounding)


def summarise(
    rows: dict[str, dict[str, dict[str, Any]]], counted: set[str], rounding: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The verdict over the contenders in `counted`, and the rows of all.

    Args:
        rows: contender to dtype to what `compare` returned.
        counted: those who enter the verdict; the others are reported apart.
        rounding: what `strayed` returned of the reference.
    """
    inside = {name: row for name, row in rows.items() if name in counted}
    # One contender alone proves nothing.
    out: dict[str, Any] = {"reference": REFERENCE, "passed": None if not inside else True}
    for dtype in LIMITS:
        cells = [row[dtype] for row in inside.values()]
        gaps = [cell["max_abs_diff"] for cell in cells]
        out[dtype] = {
            "passed": all(cell["passed"] for cell in cells),
            "steps": max((cell["steps"] for cell in cells), default=0),
            "max_abs_diff": None if None in gaps or not gaps else max(gaps),
            "limit": cells[0]["limit"] if cells else None,
        }
        if inside and not out[dtype]["passed"]:
            out["passed"] = False
    if any(row.get("dropout", {}).get("passed") is False for row in inside.values()):
        out["passed"] = False
    return {**out, "rounding": rounding, "contenders": rows}
