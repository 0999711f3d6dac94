"""The charts of the width sweep: step time by hidden width, and what a step consists of."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt

from ..results.schema import Sweep, SweepPoint
from . import plots, sweep_text, table
from .plots import number, words

# Part of a step: its legend. The color is the variable of the same name.
PARTS = {"products": "matrix products", "overhead": "overhead", "rest": "remainder"}


def by_width(sweep: Sweep, titles: Mapping[str, str]) -> list[tuple[str, alt.LayerChart]]:
    """Step time (solid) and the contender's own matrix products (dashed) by width; one panel per batch size."""
    return [
        (f"batch size {size:,}", _by_width(sweep_text.by_width(sweep, size), titles))
        for size in sorted(sweep["batch_sizes"])
        if any(sweep_text.by_width(sweep, size).values())
    ]


def _by_width(points: Mapping[str, Mapping[int, SweepPoint]], titles: Mapping[str, str]) -> alt.LayerChart:
    shown = {name: titles[name] for name in points}
    rows: plots.Records = [
        {"contender": titles[name], "x": width, "y": point["step_us"], "products": point["products"]["step_us"]}
        for name, line in points.items()
        for width, point in line.items()
    ]
    widths = sorted({row["x"] for row in rows})
    heights = [row[key] for row in rows for key in ("y", "products")]
    x = alt.X(
        "x:Q", title="hidden width", scale=plots.span(widths, 0.03), axis=alt.Axis(values=_thinned(widths), format=",")
    )
    axis = alt.Axis(values=plots.ticks(heights, 6), format=",~f")
    scale = plots.span(heights)
    y = alt.Y("y:Q", title="µs per step (dashed: own matrix products)", scale=scale, axis=axis)
    base = plots.chart(rows)
    lines = {name: {width: point["step_us"] for width, point in line.items()} for name, line in points.items()}
    return plots.layered(
        base.mark_line(strokeDash=[5, 4], strokeWidth=1.3).encode(
            x=x, y=alt.Y("products:Q", scale=scale), color=plots.color(shown)
        ),
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=plots.color(shown)),
        base.mark_point(filled=True, size=80, opacity=1).encode(
            x=x, y=y, color=plots.color(shown), shape=plots.shape(shown)
        ),
        plots.hover_columns(lines, titles, x, "hidden width", ",.4~r"),
        height=340,
    )


def _thinned(widths: list[int], most: int = 6) -> list[int]:
    """Return at most `most` widths including the last one, so that their labels do not overlap."""
    return widths[::-1][:: -(-len(widths) // most)][::-1]


def composition(sweep: Sweep, titles: Mapping[str, str]) -> list[tuple[str, alt.LayerChart]]:
    """What a step consists of, at the smallest, the middle and the largest width of the first batch size."""
    size = sweep["batch_sizes"][0]
    points = sweep_text.by_width(sweep, size)
    widths = sorted({width for line in points.values() for width in line})
    if not widths:
        return []
    chosen = dict.fromkeys((widths[0], widths[len(widths) // 2], widths[-1]))
    floors = {row["contender"]: row["floor_us"] for row in sweep["rows"]}
    return [
        (
            f"width {width:,}",
            _composition({name: line[width] for name, line in points.items() if width in line}, floors, titles),
        )
        for width in chosen
    ]


def _composition(
    points: Mapping[str, SweepPoint], floors: Mapping[str, float], titles: Mapping[str, str]
) -> alt.LayerChart:
    rows: plots.Records = []
    totals: plots.Records = []
    for name, point in points.items():
        step, products, floor = point["step_us"], point["products"]["step_us"], floors[name]
        parts = {"products": products, "overhead": floor, "rest": max(0.0, step - products - floor)}
        rows += [
            {"contender": titles[name], "part": PARTS[part], "us": us, "order": i}
            for i, (part, us) in enumerate(parts.items())
        ]
        end = max(step, sum(parts.values()))
        totals.append({"contender": titles[name], "step": step, "end": end, "label": table.micros(step), **parts})
    y = plots.rows_axis([titles[name] for name in points])
    room = plots.room(row["label"] for row in totals)
    scale = alt.Scale(domain=[0, max(row["end"] for row in totals)], range=room, nice=False)
    axis = alt.Axis(tickCount=3, format=",~f")
    fill = alt.Color(
        "part:N",
        scale=alt.Scale(domain=list(PARTS.values()), range=[f"var(--{part})" for part in PARTS]),
    )
    tooltip = [words("contender", "contender"), number("step", "step, µs")]
    tooltip += [number(part, f"{name}, µs") for part, name in PARTS.items()]
    base = plots.chart(totals)
    return plots.layered(
        plots.chart(rows).mark_bar(height=16).encode(
            y=y, x=alt.X("us:Q", stack="zero", scale=scale, axis=axis, title="µs"), color=fill, order="order:Q"
        ),
        base.mark_tick(thickness=2, size=22, color="var(--ink)").encode(x=alt.X("step:Q", scale=scale), y=y),
        base.mark_text(align="left", dx=6).encode(x=alt.X("end:Q", scale=scale), y=y, text="label:N"),
        plots.hover_rows(totals, y, tooltip),
        height=plots.ROW * len(totals),
    )  # fmt: skip
