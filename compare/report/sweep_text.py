"""Sentences on the width sweep: from which width on each contender is faster than NumPy, and why."""

from __future__ import annotations

from ..results import schema
from ..results.schema import Results, Sweep, SweepPoint
from . import table


def by_width(sweep: Sweep, size: int) -> dict[str, dict[int, SweepPoint]]:
    """Return the points of a batch size, by contender and width in increasing order."""
    return {
        row["contender"]: {
            p["width"]: p for p in sorted(row["points"], key=lambda p: p["width"]) if p["batch_size"] == size
        }
        for row in sweep["rows"]
    }


def sentences(results: Results) -> list[tuple[int, list[str]]]:
    """Return sentences per batch size."""
    sweep, titles = results.get("sweep"), schema.titles(results)
    if not sweep or not sweep["champion"] or sweep["disturbed"]:
        return []
    groups = []
    for size in sweep["batch_sizes"]:
        points = by_width(sweep, size)
        lines = [
            _crossing(titles[name], points[name], sweep["champion"], crossover)
            for name, crossover in sweep["crossovers"][str(size)].items()
            if any("ratio" in point for point in points[name].values())
        ]
        if lines:
            groups.append((size, [*lines, *_reason(sweep, points, titles)]))
    return groups


def _crossing(title: str, points: dict[int, SweepPoint], champion: str, crossover: int | None) -> str:
    widths = [width for width, point in points.items() if "ratio" in point]
    numpy = "hand-written NumPy" if champion == "by_hand" else champion
    if crossover == widths[0]:
        return f"{title} is faster than {numpy} at every width measured."
    if crossover is not None:
        return f"{title} is faster than {numpy} from width {crossover:,} on."
    last = widths[-1]
    ratio = points[last]["ratio"]
    if ratio["verdict"] == "equivalent":
        return f"{title} and {numpy} are equivalent at the largest width, {last:,}."
    if ratio["verdict"] == "undecided":
        return f"Whether {title} is faster than {numpy} at the largest width, {last:,}, is undecided."
    return (
        f"{title} is not faster than {numpy}: at the largest width, {last:,}, a step takes {table.times(ratio['median'])}"
        " times as long."
    )


def _reason(sweep: Sweep, points: dict[str, dict[int, SweepPoint]], titles: dict[str, str]) -> list[str]:
    """Compare overhead with the matrix products, each measured with the contender's own library."""
    floors = {row["contender"]: row["floor_us"] for row in sweep["rows"]}
    if len(floors) < 2:
        return []
    first, last = (sorted({width for line in points.values() for width in line})[i] for i in (0, -1))
    lines = [_range("Overhead of a step", "", floors, titles)]
    for width in dict.fromkeys((first, last)):
        products = {name: line[width]["products"]["step_us"] for name, line in points.items() if width in line}
        lines.append(_range("Its matrix products", f" at width {width:,}", products, titles))
    return [" ".join(lines)]


def _range(subject: str, where: str, times: dict[str, float], titles: dict[str, str]) -> str:
    least, most = min(times, key=times.__getitem__), max(times, key=times.__getitem__)
    return (
        f"{subject}{where}: {table.micros(times[least])} µs ({titles[least]}) to {table.micros(times[most])} µs"
        f" ({titles[most]})."
    )
