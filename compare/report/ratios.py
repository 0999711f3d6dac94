"""Step times relative to each other, from `results["ratios"]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..results import ratios, schema
from ..results.schema import Division, DivisionContender, Interval, MeasuredContender, Results

Timed = MeasuredContender | DivisionContender


@dataclass(frozen=True)
class Relative:
    """A contender's step time relative to the fastest contender of a division.

    Attributes:
        row: the contender's measurements.
        ratio: its step time divided by that of the fastest; None for the fastest.
    """

    row: Timed
    ratio: Interval | None


def timed(results: Results, division: Division) -> Sequence[Timed]:
    """Return the contenders that were timed in a division; none if the results do not count as measured."""
    if results["status"] != "measured" or not schema.agreed(results):
        return []
    if division == "closed":
        return schema.measured(results)
    return results.get("default", []) if division == "default" else results.get("open", [])


def between(results: Results, division: Division, a: Timed, b: Timed) -> Interval:
    """Return the step time of `a` divided by that of `b`; that of their medians, undecided, if it was not measured."""
    if (pair := ratios.between(results["ratios"], division, a["name"], b["name"])) is not None:
        return pair
    median = a["steady_step_us"] / b["steady_step_us"]
    return {"median": median, "low": None, "high": None, "verdict": "undecided", "rounds": 0}


def to_fastest(results: Results, division: Division) -> list[Relative]:
    """Return the contenders of a division, the fastest first."""
    rows = sorted(timed(results, division), key=lambda row: row["steady_step_us"])
    return [Relative(row, between(results, division, row, rows[0]) if row is not rows[0] else None) for row in rows]
