"""The width sweep: a chart, and where one contender overtakes, in sentences."""

from __future__ import annotations

from . import page_tables as tables
from . import svg, table
from .marks import color
from .page_charts import Chart
from .page_tables import Row
from .svg import Plot, Scale
from .table import Columns, Table

HEIGHT = 320


def chart(results: Row) -> Chart | None:
    """A step's time against the hidden width, a panel a batch size; None without a sweep."""
    sweep = results.get("sweep")
    if not sweep:
        return None
    panels = []
    for size in sweep["batch_sizes"]:
        lines = _lines(sweep, size)
        if any(lines.values()):
            panels.append(
                (
                    f"batches of {size:,}",
                    _panel(sweep, size, lines, tables.names(results)).svg(
                        f"width-{size}",
                        f"A step's time against the hidden width, batches of {size:,}",
                        _told(lines, tables.names(results)),
                    ),
                )
            )
    keys = [("line dashed", "a contender's floor: its step at a width and a batch of 1, which is overhead alone")]
    if sweep.get("flops_per_second"):
        keys.append(
            (
                "line dotted",
                f"the arithmetic alone, at the {sweep['flops_per_second'] / 1e9:,.0f} GFLOP/s of NumPy's matrix product here",
            )
        )
    return Chart(panels, _table(results), (), keys)


def _lines(sweep: Row, size: int) -> dict[str, dict[int, float]]:
    """Contender to width to µs."""
    return {
        row["contender"]: {
            p["width"]: p["step_us"] for p in sorted(row["points"], key=lambda p: p["width"]) if p["batch_size"] == size
        }
        for row in sweep["rows"]
    }


def _panel(sweep: Row, size: int, lines: dict[str, dict[int, float]], titles: dict[str, str]) -> Plot:
    widths = sorted({width for line in lines.values() for width in line})
    floors = {row["contender"]: row["floor_us"] for row in sweep["rows"]}
    sums = arithmetic(sweep, size)
    heights = [us for line in lines.values() for us in line.values()] + [*floors.values(), *sums.values()]
    names = [titles[name] for name in lines]
    plot = Plot(Scale.over(widths, log=True), Scale.over(heights, log=True), HEIGHT, 62, svg.room(names) + 10)
    plot.x_axis("hidden width", _thinned(widths))
    plot.y_axis()
    for name, floor in floors.items():
        plot.level(floor, color(name), "thin dashed")
    if sums:
        plot.line(list(sums.items()), "var(--ink)", "dotted")
    for name, line in lines.items():
        plot.line(list(line.items()), color(name))
        for width, us in line.items():
            plot.mark(width, us, name)
    plot.beside({name: line[max(line)] for name, line in lines.items() if line}, titles)
    return plot


def _thinned(widths: list[int], most: int = 5) -> list[int]:
    """Some of them, the last among them, so that their labels don't touch."""
    return widths[::-1][:: -(-len(widths) // most)][::-1]


def arithmetic(sweep: Row, size: int) -> dict[int, float]:
    """Width to the µs that its floating-point operations would take by themselves; empty where that wasn't measured."""
    peak = sweep.get("flops_per_second")
    points = [p for row in sweep["rows"] for p in row["points"] if p["batch_size"] == size]
    return {p["width"]: p["flops"] / peak * 1e6 for p in sorted(points, key=lambda p: p["width"])} if peak else {}


def _told(lines: dict[str, dict[int, float]], titles: dict[str, str]) -> str:
    ends = [(titles[name], min(line), max(line), line) for name, line in lines.items() if line]
    return (
        "; ".join(
            f"{t} {table.micros(line[a])} µs at {a:,}, {table.micros(line[b])} µs at {b:,}" for t, a, b, line in ends
        )
        + "."
    )


def _table(results: Row) -> Table:
    sweep, titles = results["sweep"], tables.names(results)
    columns: Columns = [("contender", str), ("batch", table.whole), ("width", table.whole), ("µs a step", table.micros)]
    columns += [("floor µs", table.micros), ("FLOPs a step", lambda v: f"{v:.3g}"), ("GFLOP/s", lambda v: f"{v:.1f}")]
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
    return Table("A step's time by width and batch size", columns, rows)


def sentences(results: Row) -> list[tuple[int, list[str]]]:
    """By batch size: from which width on each contender is quicker than NumPy, and why there."""
    sweep, titles = results.get("sweep"), tables.names(results)
    if not sweep or not sweep["champion"]:
        return []
    found = []
    for size in sweep["batch_sizes"]:
        lines, ahead = _lines(sweep, size), sweep["crossovers"][str(size)]
        said = [_crossing(titles[name], lines, name, sweep["champion"], ahead[name]) for name in ahead if lines[name]]
        if said:
            found.append((size, [*said, *_reason(sweep, size, titles)]))
    return found


def _crossing(title: str, lines: dict[str, dict[int, float]], name: str, champion: str, ahead: int | None) -> str:
    ours, theirs = lines[name], lines[champion]
    widths = [width for width in ours if width in theirs]
    numpy = "NumPy by hand" if champion == "by_hand" else champion
    if ahead is None:
        last = widths[-1]
        ratio = f"there it takes {table.times(ours[last] / theirs[last])} times as long"
        return f"No crossover for {title}: at a width of {last:,}, the widest, it is not quicker than {numpy}; {ratio}."
    if ahead == widths[0]:
        return f"At every width measured, {title} is quicker than {numpy}."
    return f"From a width of {ahead:,} on, {title} is quicker than {numpy}."


def _reason(sweep: Row, size: int, titles: dict[str, str]) -> list[str]:
    """Overhead against arithmetic, in this machine's figures."""
    sums, floors = arithmetic(sweep, size), {row["contender"]: row["floor_us"] for row in sweep["rows"]}
    if not sums or len(floors) < 2:
        return []
    least, most = min(floors, key=floors.__getitem__), max(floors, key=floors.__getitem__)
    first, last = min(sums), max(sums)
    said = (
        f"Why: besides arithmetic a step costs from {table.micros(floors[least])} µs ({titles[least]}) to"
        f" {table.micros(floors[most])} µs ({titles[most]}). The arithmetic itself needs {table.micros(sums[first])} µs"
        f" at a width of {first:,} and {table.micros(sums[last])} µs at {last:,}."
    )
    if sums[last] > floors[most]:
        return [
            f"{said} So overhead decides among narrow networks, and how well the arithmetic is done among wide ones."
        ]
    return [f"{said} So overhead decides at all of these widths."]
