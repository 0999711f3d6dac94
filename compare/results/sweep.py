"""The results of the width sweep, and the width from which on each contender is faster than NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from . import ratios, statistics
from .schema import Interval, Round, Sweep, SweepAnswer, SweepAnswerPoint, SweepPoint, SweepRow

CHAMPIONS = ("by_hand", "minigrad")  # the others are compared with the first of them that took part


def collect(answers: Mapping[str, SweepAnswer], rounds: Sequence[Round], batch_size: int) -> Sweep | None:
    """Return the results of the sweep; None if no contender took part.

    Args:
        answers: by contender; the last point of each is the overhead.
        rounds: all rounds of the sweep; empty if the contenders did not take turns.
        batch_size: that of the recipe, which comes first.
    """
    if not answers:
        return None
    champion = next((name for name in CHAMPIONS if name in answers), None)
    disturbed = ratios.disturbed_too_often(rounds, len(rounds))
    rows: list[SweepRow] = []
    for name, answer in answers.items():
        *points, floor = answer["points"]
        row: SweepRow = {
            "contender": name,
            "points": [_point(point, name, rounds) for point in points],
            "floor_us": float(np.median(_times(floor, name, rounds))),
        }
        rows.append(row)
    if champion:
        _compare(rows, answers, rounds, champion, disturbed)
    sizes = sorted(
        {p["batch_size"] for row in rows for p in row["points"]}, key=lambda size: (size != batch_size, size)
    )
    return {
        "rows": rows,
        "batch_sizes": sizes,
        "champion": champion,
        "crossovers": {str(size): crossovers(rows, size, champion) for size in sizes} if champion else {},
        "disturbed": disturbed,
    }


def crossovers(rows: Sequence[SweepRow], batch_size: int, champion: str) -> dict[str, int | None]:
    """Return, per contender, the smallest width from which on it is faster than `champion` at all larger widths, or None.

    Args:
        rows: the sweep of each contender, with ratios.
        batch_size: compares points of this batch size only.
        champion: the contender that the others are compared with.
    """
    result: dict[str, int | None] = {}
    for row in rows:
        if row["contender"] == champion:
            continue
        points = sorted((p for p in row["points"] if p["batch_size"] == batch_size), key=lambda p: p["width"])
        result[row["contender"]] = None
        for point in reversed(points):
            if "ratio" not in point or point["ratio"]["verdict"] != "faster":
                break
            result[row["contender"]] = point["width"]
    return result


def _compare(
    rows: Sequence[SweepRow],
    answers: Mapping[str, SweepAnswer],
    rounds: Sequence[Round],
    champion: str,
    disturbed: bool,
) -> None:
    """Set the ratio to the champion's time at each point."""
    champions = {(p["width"], p["batch_size"]): p for p in answers[champion]["points"]}
    for row in rows:
        name = row["contender"]
        if name == champion:
            continue
        for point, answer in zip(row["points"], answers[name]["points"], strict=False):
            reference = champions[point["width"], point["batch_size"]]
            if rounds and not _rounds_at(point, rounds, name, champion):
                continue  # one of the two has failed
            numerator, denominator = _times(answer, name, rounds, champion), _times(reference, champion, rounds, name)
            interval: Interval = (
                statistics.ratio([list(np.divide(numerator, denominator))])
                if rounds
                else statistics.unpaired_ratio([numerator], [denominator])
            )
            point["ratio"] = {**interval, "verdict": "undecided"} if disturbed else interval


def _point(point: SweepAnswerPoint, name: str, rounds: Sequence[Round]) -> SweepPoint:
    return {
        "width": point["width"],
        "batch_size": point["batch_size"],
        "step_us": float(np.median(_times(point, name, rounds))),
        "steps": point["steps"],
        "flops": point["flops"],
        "products": point["products"],
    }


def _times(point: SweepAnswerPoint, name: str, rounds: Sequence[Round], other: str = "") -> list[float]:
    """Return the times of a step at one point, in the rounds that count and that `other`, if given, took part in too."""
    here = ratios.counted(_rounds_at(point, rounds, name, other))
    return [r["step_us"][name] for r in here] or point["epoch_us"][1:]


def _rounds_at(point: SweepPoint | SweepAnswerPoint, rounds: Sequence[Round], name: str, other: str) -> list[Round]:
    """Return the rounds at one point that two contenders, or one if `other` is empty, took part in."""
    here = [r for r in rounds if r["point"] == [point["width"], point["batch_size"]]]
    return ratios.with_all(here, [name, other] if other else [name])
