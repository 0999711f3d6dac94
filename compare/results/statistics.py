"""What a few seeds can tell: medians, intervals, and differences taken seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

# Student's t at 97.5 %, by degrees of freedom from 1; beyond the table, its expansion around the normal's 1.96.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)
Z = 1.959964


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t. Beyond the table, Fisher's expansion:

    z + (z^3 + z) / 4f + (5z^5 + 16z^3 + 3z) / 96f^2.
    """
    if freedom <= len(T):
        return T[freedom - 1]
    return Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of a mean, mean +- t s / sqrt(n); None of fewer than two values."""
    if len(values) < 2:
        return None
    half = student(len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """ours / theirs, paired by seed: the geometric mean, its 95 % interval, and whether they differ at all.

    Taken of logarithms, so that "twice" and "half" weigh the same. `differs`
    is None where one seed can't tell.
    """
    logs = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    found = interval(logs)
    low, high = (math.exp(x) for x in found) if found else (None, None)
    differs = None if found is None else not found[0] <= 0 <= found[1]
    return {"ratio": math.exp(float(np.mean(logs))), "low": low, "high": high, "differs": differs}


def difference(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """ours - theirs, paired by seed: the mean, its 95 % interval, and whether they differ at all."""
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    found = interval(gaps)
    low, high = found or (None, None)
    # All equal, and not 0, is a difference without an interval; all 0 is none, whatever the number of seeds.
    differs = False if not any(gaps) else None if found is None else not found[0] <= 0 <= found[1]
    return {"difference": float(np.mean(gaps)), "low": low, "high": high, "differs": differs}


def pairs(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Every two contenders held against each other, in time a step and in accuracy, over the seeds that both ran."""
    found = []
    for a, b in combinations(runs, 2):
        ours, theirs = ({run["seed"]: run for run in runs[name]} for name in (a, b))
        seeds = [seed for seed in ours if seed in theirs]
        if seeds:
            time, accuracy = (
                [[side[seed][figure] for seed in seeds] for side in (ours, theirs)]
                for figure in ("step_us", "test_accuracy")
            )
            row = {"step_us": ratio(*time), "test_accuracy": difference(*accuracy)}
            found.append({"a": a, "b": b, "seeds": seeds, **row})
    return found


def wilson(correct: float, n: int, z: float = Z) -> tuple[float, float]:
    """The 95 % interval of an accuracy seen on n images. Wilson, 1927.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), which stays
    within 0 and 1 where the usual p +- 1.96 sqrt(p(1-p)/n) does not.
    """
    p = correct / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return max(0.0, min(low, p)), min(1.0, max(high, p))  # at 0 and 1 equal but for rounding


def apart(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """ours / theirs where nothing pairs them: the ratio of geometric means, its 95 % interval by Welch, 1947.

    `differs` is None where a side has one value only.
    """
    a, b = np.log(ours), np.log(theirs)
    gap, low, high = float(a.mean() - b.mean()), None, None
    if len(a) > 1 and len(b) > 1:
        va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        spread = va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)
        half = student(max(1, int((va + vb) ** 2 / spread))) * math.sqrt(va + vb) if spread else 0.0
        low, high = math.exp(gap - half), math.exp(gap + half)
    differs = None if low is None or high is None else not low <= 1 <= high
    return {"ratio": math.exp(gap), "low": low, "high": high, "differs": differs}
