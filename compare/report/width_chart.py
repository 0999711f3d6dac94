"""The width sweep: its chart, and sentences on the width from which on one contender is faster than another."""

from __future__ import annotations

from ..results import schema
from ..results.schema import Results, Sweep
from . import svg, table
from .marks import color
from .page_charts import Chart
from .svg import Plot, Scale
from .table import Columns, Table

HEIGHT = 320
Times = dict[str, dict[int, float]]  # contender, then width: microseconds per step


def chart(results: Results) -> Chart | None:
    """Draw the time of a step against the hidden width, one panel per batch size; None without a sweep."""
    sweep, titles = results.get("sweep"), schema.titles(results)
    if not sweep:
        return None
    panels = []
    for size in sweep["batch_sizes"]:
        times = _times(sweep, size)
        if any(times.values()):
            title = f"Time of a step against the hidden width, batch size {size:,}"
            plot = _panel(sweep, size, times, titles).svg(f"width-{size}", title, _description(times, titles))
            panels.append((f"batch size {size:,}", plot))
    keys = [("line dashed", "overhead of a contender: the time of a step at width 1 and batch size 1")]
    if sweep.get("flops_per_second"):
        speed = f"{(sweep['flops_per_second'] or 0) / 1e9:,.0f} GFLOP/s"
        keys.append(("line dotted", f"arithmetic alone, at the {speed} of NumPy's matrix product on this machine"))
    return Chart(panels, _table(sweep, titles), (), keys)


def _times(sweep: Sweep, size: int) -> Times:
    return {
        row["contender"]: {
            p["width"]: p["step_us"] for p in sorted(row["points"], key=lambda p: p["width"]) if p["batch_size"] == size
        }
        for row in sweep["rows"]
    }


def _panel(sweep: Sweep, size: int, times: Times, titles: dict[str, str]) -> Plot:
    widths = sorted({width for line in times.values() for width in line})
    floors = {row["contender"]: row["floor_us"] for row in sweep["rows"]}
    bounds = arithmetic_us(sweep, size)
    heights = [us for line in times.values() for us in line.values()] + [*floors.values(), *bounds.values()]
    names = [titles[name] for name in times]
    plot = Plot(Scale.over(widths, log=True), Scale.over(heights, log=True), HEIGHT, 62, svg.label_width(names) + 10)
    plot.x_axis("hidden width", _thinned(widths))
    plot.y_axis()
    for name, floor in floors.items():
        plot.level(floor, color(name), "thin dashed")
    if bounds:
        plot.line(list(bounds.items()), "var(--ink)", "dotted")
    for name, line in times.items():
        plot.line(list(line.items()), color(name))
        for width, us in line.items():
            plot.mark(width, us, name)
    plot.line_titles({name: line[max(line)] for name, line in times.items() if line}, titles)
    return plot


def _thinned(widths: list[int], most: int = 5) -> list[int]:
    """Return at most `most` widths including the last one, so that their labels do not overlap."""
    return widths[::-1][:: -(-len(widths) // most)][::-1]


def arithmetic_us(sweep: Sweep, size: int) -> dict[int, float]:
    """Return, by width, the microseconds of a step's floating-point operations alone; empty if not measured."""
    peak = sweep.get("flops_per_second")
    points = [p for row in sweep["rows"] for p in row["points"] if p["batch_size"] == size]
    return {p["width"]: p["flops"] / peak * 1e6 for p in sorted(points, key=lambda p: p["width"])} if peak else {}


def _description(times: Times, titles: dict[str, str]) -> str:
    parts = [
        f"{titles[name]} {table.micros(line[min(line)])} µs at {min(line):,},"
        f" {table.micros(line[max(line)])} µs at {max(line):,}"
        for name, line in times.items()
        if line
    ]
    return "; ".join(parts) + "."


def _table(sweep: Sweep, titles: dict[str, str]) -> Table:
    columns: Columns = [("contender", str), ("batch size", table.whole), ("width", table.whole)]
    columns += [("µs per step", table.micros), ("overhead µs", table.micros)]
    columns += [("FLOPs per step", lambda v: f"{v:.3g}"), ("GFLOP/s", lambda v: f"{v:.1f}")]
    rows = [
        [
            titles[row["contender"]],
            p["batch_size"],
            p["width"],
            p["step_us"],
            row["floor_us"],
            p["flops"],
            p["flops"] / p["step_us"] / 1e3,
        ]
        for row in sweep["rows"]
        for p in row["points"]
    ]
    return Table("Time of a step by width and batch size", columns, rows)


def sentences(results: Results) -> list[tuple[int, list[str]]]:
    """Return, per batch size, sentences on the width from which on each contender is faster than NumPy, and why."""
    sweep, titles = results.get("sweep"), schema.titles(results)
    if not sweep or not sweep["champion"]:
        return []
    groups = []
    for size in sweep["batch_sizes"]:
        times, crossovers = _times(sweep, size), sweep["crossovers"][str(size)]
        lines = [
            _crossing(titles[name], times, name, sweep["champion"], crossover)
            for name, crossover in crossovers.items()
            if times[name]
        ]
        if lines:
            groups.append((size, [*lines, *_reason(sweep, size, titles)]))
    return groups


def _crossing(title: str, times: Times, name: str, champion: str, crossover: int | None) -> str:
    own, reference = times[name], times[champion]
    widths = [width for width in own if width in reference]
    numpy = "hand-written NumPy" if champion == "by_hand" else champion
    if crossover is None:
        last = widths[-1]
        ratio = table.times(own[last] / reference[last])
        return (
            f"{title} is not faster than {numpy}: at the largest width, {last:,}, a step takes {ratio} times as long."
        )
    if crossover == widths[0]:
        return f"{title} is faster than {numpy} at every width measured."
    return f"{title} is faster than {numpy} from width {crossover:,} on."


def _reason(sweep: Sweep, size: int, titles: dict[str, str]) -> list[str]:
    """Compare overhead with arithmetic on this machine."""
    bounds, floors = arithmetic_us(sweep, size), {row["contender"]: row["floor_us"] for row in sweep["rows"]}
    if not bounds or len(floors) < 2:
        return []
    least, most = min(floors, key=floors.__getitem__), max(floors, key=floors.__getitem__)
    first, last = min(bounds), max(bounds)
    sentence = (
        f"Reason: the overhead of a step is between {table.micros(floors[least])} µs ({titles[least]}) and"
        f" {table.micros(floors[most])} µs ({titles[most]}). The arithmetic alone takes {table.micros(bounds[first])} µs"
        f" at width {first:,} and {table.micros(bounds[last])} µs at width {last:,}."
    )
    if bounds[last] > floors[most]:
        return [f"{sentence} Overhead determines the time in narrow networks, and arithmetic in wide ones."]
    return [f"{sentence} Overhead determines the time at all of these widths."]
