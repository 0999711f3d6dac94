"""Sentences on the width sweep: from which width on each contender is faster than NumPy, and why."""

from __future__ import annotations

from ..results import schema
from ..results.schema import Results, Sweep, SweepPoint
from . import table

DISTURBED = "Other processes disturbed too many rounds of the sweep; its times are not reliable."


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
    if not sweep or not sweep["champion"]:
        return []
    groups = []
    for size in sweep["batch_sizes"]:
        points = by_width(sweep, size)
        lines = [
            _crossing(titles[name], points, name, sweep["champion"], crossover)
            for name, crossover in sweep["crossovers"][str(size)].items()
            if points[name]
        ]
        if lines:
            groups.append((size, [*lines, *_reason(sweep, points, titles)]))
    return groups


def _crossing(
    title: str, points: dict[str, dict[int, SweepPoint]], name: str, champion: str, crossover: int | None
) -> str:
    own, reference = points[name], points[champion]
    widths = [width for width in own if width in reference]
    numpy = "hand-written NumPy" if champion == "by_hand" else champion
    if crossover is None:
        last = widths[-1]
        if own[last].get("ratio", {}).get("verdict") == "equivalent":  # type: ignore[call-overload]
            return f"{title} is as fast as {numpy} at the largest width, {last:,}."
        ratio = table.times(own[last]["step_us"] / reference[last]["step_us"])
        return (
            f"{title} is not faster than {numpy}: at the largest width, {last:,}, a step takes {ratio} times as long."
        )
    if crossover == widths[0]:
        return f"{title} is faster than {numpy} at every width measured."
    return f"{title} is faster than {numpy} from width {crossover:,} on."


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
