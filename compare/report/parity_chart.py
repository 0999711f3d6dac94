"""The largest difference from minigrad, step by step: a chart."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from . import page_tables as tables
from . import table
from . import text as words
from .marks import color
from .page_charts import Chart
from .page_tables import Row
from .svg import Plot, Scale
from .table import Columns, Table
from .text import Line


def chart(results: Row) -> Chart | None:
    """A panel a dtype; None where there is nothing to draw."""
    parity, titles = results["parity"], tables.names(results)
    found = {d: {n: words.looked_at(row[d]) for n, row in parity["contenders"].items()} for d in ("float64", "float32")}
    legend = [name for name in parity["contenders"] if any(words.positive(lines[name]) for lines in found.values())]
    if not legend:
        return None
    own = {"float64": [], "float32": words.looked_at(parity.get("rounding"))}
    panels = []
    for dtype, lines in found.items():
        limit = next(iter(parity["contenders"].values()))[dtype]["limit"]
        panels.append((dtype, _panel(dtype, lines, own[dtype], limit, titles)))
    note = "".join(
        f" The lines of {' and '.join(titles[n] for n in group)} lie on one another: their numbers are the same."
        for group in _same(found, legend)
    )
    keys = [("line dotted", "minigrad's float32 run against its own float64 run: rounding alone")]
    return Chart(panels, _table(found, own["float32"], titles), legend, keys if own["float32"] else [], note)


def _panel(dtype: str, lines: dict[str, Line], own: Line, limit: float, titles: dict[str, str]) -> Markup:
    drawn = {name: line for name in lines if (line := words.positive(lines[name]))}
    every = [point for line in (*drawn.values(), words.positive(own)) for point in line] or [(1, limit)]
    heights = [*(gap for _, gap in every), 3 * limit]
    plot = Plot(Scale.over([step for step, _ in every], log=True), Scale.over(heights, log=True), 230)
    plot.x_axis("step")
    plot.y_axis(plot.y.ticks(6))
    plot.level(limit, "var(--ink)", words=f"limit {limit:.0e}")
    if own:
        plot.line(words.positive(own), "var(--soft)", "dotted")
    for name, line in drawn.items():
        plot.line(line, color(name))
        for step, gap in line:
            plot.mark(step, gap, name)
    said = [f"{titles[n]} {f'at most {max(g for _, g in drawn[n]):.1e}' if n in drawn else 'identical'}" for n in lines]
    title = f"Largest difference from minigrad by step, {dtype}"
    return plot.svg(f"agreement-{dtype}", title, f"{'; '.join(said)}; limit {limit:.0e}.")


def _same(found: dict[str, dict[str, Line]], names: Sequence[str]) -> list[list[str]]:
    """Contenders whose lines are the same in both dtypes."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(repr([lines[name] for lines in found.values()]), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _table(found: dict[str, dict[str, Line]], own: Line, titles: dict[str, str]) -> Table:
    lines = {f"{titles[name]}, {dtype}": dict(line) for dtype, named in found.items() for name, line in named.items()}
    lines |= {"minigrad's rounding": dict(own)} if own else {}
    columns: Columns = [("step", table.whole), *((name, table.gap) for name in lines)]
    steps = sorted({step for line in lines.values() for step in line})
    rows = [[step, *(line.get(step) for line in lines.values())] for step in steps]
    return Table("Largest difference by step", columns, rows)
