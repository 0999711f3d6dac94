"""The chart of the parity stage: the largest difference from minigrad by step."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ..results.schema import DTYPES, Dtype, Parity
from . import table, text
from .marks import color
from .page_charts import Chart
from .svg import Plot, Scale
from .table import Columns, Table
from .text import Line

Lines = dict[Dtype, dict[str, Line]]  # dtype, then contender


def chart(parity: Parity, titles: dict[str, str]) -> Chart | None:
    """Draw one panel per dtype; None if all differences are 0 or not numbers."""
    lines: Lines = {
        dtype: {name: text.weight_steps(row[dtype]) for name, row in parity["contenders"].items()} for dtype in DTYPES
    }
    legend = [name for name in parity["contenders"] if any(text.positive(lines[dtype][name]) for dtype in DTYPES)]
    if not legend:
        return None
    own = text.weight_steps(parity.get("rounding"))
    panels: list[tuple[str, Markup]] = []
    for dtype in DTYPES:
        limit = next(iter(parity["contenders"].values()))[dtype]["limit"]
        panels.append((dtype, _panel(dtype, lines[dtype], own if dtype == "float32" else [], limit, titles)))
    note = "".join(
        f" The lines of {' and '.join(titles[n] for n in group)} coincide, since their values are the same."
        for group in _equal_lines(lines, legend)
    )
    keys = [("line dotted", "minigrad in float32 compared with minigrad in float64: rounding alone")]
    return Chart(panels, _table(lines, own, titles), legend, keys if own else [], note)


def _panel(dtype: str, lines: dict[str, Line], own: Line, limit: float, titles: dict[str, str]) -> Markup:
    drawn = {name: line for name in lines if (line := text.positive(lines[name]))}
    every = [point for line in (*drawn.values(), text.positive(own)) for point in line] or [(1, limit)]
    heights = [*(gap for _, gap in every), 3 * limit]
    plot = Plot(Scale.over([step for step, _ in every], log=True), Scale.over(heights, log=True), 230)
    plot.x_axis("step")
    plot.y_axis(plot.y.ticks(6))
    plot.level(limit, "var(--ink)", label=f"limit {limit:.0e}")
    if own:
        plot.line(text.positive(own), "var(--soft)", "dotted")
    for name, line in drawn.items():
        plot.line(line, color(name))
        for step, gap in line:
            plot.mark(step, gap, name)
    descriptions = [
        f"{titles[n]} {f'at most {max(g for _, g in drawn[n]):.1e}' if n in drawn else 'identical'}" for n in lines
    ]
    title = f"Largest difference from minigrad by step, {dtype}"
    return plot.svg(f"agreement-{dtype}", title, f"{'; '.join(descriptions)}; limit {limit:.0e}.")


def _equal_lines(lines: Lines, names: Sequence[str]) -> list[list[str]]:
    """Return groups of contenders whose lines are equal in both dtypes."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(repr([lines[dtype][name] for dtype in DTYPES]), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _table(lines: Lines, own: Line, titles: dict[str, str]) -> Table:
    series = {f"{titles[name]}, {dtype}": dict(line) for dtype in DTYPES for name, line in lines[dtype].items()}
    series |= {"minigrad's rounding": dict(own)} if own else {}
    columns: Columns = [("step", table.whole), *((name, table.gap) for name in series)]
    steps = sorted({step for line in series.values() for step in line})
    return Table(
        "Largest difference by step", columns, [[step, *(line.get(step) for line in series.values())] for step in steps]
    )
