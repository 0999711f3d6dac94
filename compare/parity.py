"""Do they compute the same? Every contender's first epoch against minigrad's, step by step.

All train through their own path from the same weights over the same batches.
Compared are every step's loss, the first steps' gradients, and the weights
after the first five steps, each power of two, and the last.

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

from pathlib import Path
from typing import Any

import numpy as np

from minigrad.recipes import Recipe

REFERENCE = "minigrad"
LIMITS = {"float64": 1e-12, "float32": 1e-4}
BATCH_NORM = 1e-10


def limits(recipe: Recipe, rounding: float = 0.0) -> dict[str, float]:
    """The largest difference allowed, by dtype, where float32 strays from float64 by `rounding`."""
    adaptive = recipe.model.optimizer in ("rmsprop", "adam", "adamw")
    single = LIMITS["float32"] + (2 * recipe.model.learning_rate if adaptive else 0)
    double = BATCH_NORM if recipe.model.batch_norm else LIMITS["float64"]
    return {"float64": double, "float32": max(single, 2 * rounding)}


def strayed(folder: Path) -> dict[str, Any]:
    """How far rounding alone takes the run in `folder`, its float32 recording from its float64 one: the largest
    difference, `max_abs_diff`, and that at each step looked at, `by_step`.
    """
    cell = compare(folder / "float64.npz", folder / "float32.npz", np.inf)
    return {key: cell[key] for key in ("max_abs_diff", "by_step")}


def compare(reference: Path, other: Path, limit: float) -> dict[str, Any]:
    """Hold one recording against another.

    Returns:
        passed, steps, max_abs_diff, limit, `by_step` (the largest difference
        at each step looked at), and `first`, a sentence on the first step and
        tensor beyond the limit, or None.
    """
    with np.load(reference) as a, np.load(other) as b:
        expected, found = dict(a), dict(b)
    steps = len(expected["loss"])
    if len(found["loss"]) != steps:
        first = f"ran {len(found['loss'])} steps; expected {steps}"
        return {
            "passed": False,
            "steps": len(found["loss"]),
            "max_abs_diff": None,
            "limit": limit,
            "by_step": {},
            "first": first,
        }
    differences = [
        (step + 1, 0, "loss", abs(x - y))
        for step, (x, y) in enumerate(zip(expected["loss"], found["loss"], strict=True))
    ]
    for key, array in expected.items():
        if key != "loss":
            kind, name, step = key.split(" ")
            missing = key not in found or found[key].shape != array.shape
            gap = np.inf if missing else float(np.abs(array - found[key]).max(initial=0))
            # A step's loss comes before its gradients, and those before the weights.
            differences.append((int(step), 1 if kind == "gradient" else 2, f"{kind} of {name}", gap))
    differences.sort(key=lambda d: d[:2])
    beyond = next(
        (f"step {s}, {what}: differs by {gap:.2g}" for s, _, what, gap in differences if not gap <= limit), None
    )
    by_step: dict[int, float] = {}
    for step, _, _, gap in differences:
        by_step[step] = max(by_step.get(step, 0.0), float(gap))
    largest = max(by_step.values())
    finite = largest if np.isfinite(largest) else None
    return {
        "passed": beyond is None,
        "steps": steps,
        "max_abs_diff": finite,
        "limit": limit,
        "by_step": by_step,
        "first": beyond,
    }


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
    return {**out, "rounding": rounding, "contenders": rows}
