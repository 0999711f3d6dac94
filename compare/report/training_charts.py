"""The charts of whole trainings and predictions: start-up and total time, rounds, seconds to the target, and latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import altair as alt

from ..results.schema import DIVISIONS, MeasuredContender, Results, measured
from . import plots, ratios, table
from .plots import number, words

Panels = list[tuple[str, alt.LayerChart]]


def times(results: Results) -> Panels:
    """Three times: until the first step has ended, of a steady step, and of everything."""
    rows = measured(results)
    return [
        ("start-up", _bars(rows, lambda row: row["seconds"]["startup"], "seconds", table.seconds)),
        ("steady step", _bars(rows, lambda row: row["steady_step_us"], "µs", table.micros)),
        ("total", _bars(rows, lambda row: row["seconds"]["total"], "seconds", table.seconds)),
    ]


def _bars(
    rows: Sequence[MeasuredContender],
    value: Callable[[MeasuredContender], float],
    unit: str,
    show: Callable[[float], str],
) -> alt.LayerChart:
    values: plots.Records = [
        {"contender": row["title"], "value": value(row), "label": show(value(row))} for row in rows
    ]
    titles = {row["name"]: row["title"] for row in rows}
    y, base = plots.rows_axis(list(titles.values())), plots.chart(values)
    room = plots.room(row["label"] for row in values)
    scale = alt.Scale(domain=[0, max(row["value"] for row in values)], range=room, nice=False)
    x = alt.X("value:Q", scale=scale, axis=alt.Axis(tickCount=3, format=",~f"), title=unit)
    return plots.layered(
        base.mark_bar(height=16).encode(x=x, y=y, color=plots.color(titles)),
        base.mark_text(align="left", dx=6).encode(x=x, y=y, text="label:N"),
        plots.hover_rows(values, y, [words("contender", "contender"), number("value", unit)]),
        height=plots.ROW * len(values),
    )


def rounds(results: Results) -> alt.LayerChart:
    """The step time of each round in the closed division; rounds that do not count are gray."""
    titles = {row["name"]: row["title"] for row in measured(results)}
    rows: plots.Records = [
        {
            "contender": titles[name],
            "value": us,
            "group": "disturbed" if one["disturbed"] else "counts",
            "what": f"seed {one['seed']}, {one['started'][11:19]}",
        }
        for one in results["rounds"]
        if one["stage"] == "closed"
        for name, us in one["step_us"].items()
        if name in titles
    ]
    medians = {row["title"]: row["steady_step_us"] for row in measured(results)}
    return _dots(rows, titles, medians, "µs per step of a round", "round", most=7)


def to_target(results: Results) -> Panels:
    """The seconds of training until the target accuracy: one dot per seed, one panel per division."""
    panels: Panels = []
    for division in DIVISIONS:
        timed = ratios.timed(results, division)
        titles = {row["name"]: row["title"] for row in timed}
        rows: plots.Records = [
            {"contender": row["title"], "value": seconds, "group": "counts", "what": f"seed {run['seed']}"}
            for row in timed
            for run in row["runs"]
            if (seconds := run.get("seconds_to_target")) is not None
        ]
        medians = {row["title"]: row["seconds_to_target"] for row in timed if row["seconds_to_target"] is not None}
        if rows:
            panels.append((f"{division} division", _dots(rows, titles, medians, "seconds of training", "seed")))
    return panels


def _dots(
    rows: plots.Rows, titles: Mapping[str, str], medians: Mapping[str, float], unit: str, what: str, most: int = 4
) -> alt.LayerChart:
    """One dot per row, and a line at the median with its value at the right."""
    values: list[float] = [*(row["value"] for row in rows), *medians.values()]
    low, high = min(values, default=1.0), max(values, default=1.0)
    room = plots.room(table.short(value) for value in medians.values())
    scale = alt.Scale(type="log", domain=[low / 1.06, high * 1.06], range=room, nice=False)
    axis = alt.Axis(values=plots.ticks(values, most), format=",~f")
    x, y = alt.X("value:Q", scale=scale, axis=axis, title=unit), plots.rows_axis(list(titles.values()))
    middle = [{"contender": title, "value": value, "label": table.short(value)} for title, value in medians.items()]
    counts = "datum.group == 'counts'"
    return plots.layered(
        plots.chart(rows).mark_point(filled=True, size=70).encode(
            x=x, y=y, shape=plots.shape(titles),
            color=alt.condition(counts, plots.color(titles), alt.value("var(--soft)")),
            opacity=alt.condition(counts, alt.value(0.75), alt.value(0.35)),
            tooltip=[words("contender", "contender"), words("what", what), number("value", unit)],
        ),
        plots.chart(middle).mark_tick(thickness=2, size=22, color="var(--ink)").encode(x=x, y=y),
        plots.chart(middle).mark_text(align="right").encode(x=alt.value(alt.expr("width")), y=y, text="label:N"),
        height=plots.ROW * len(titles),
    )  # fmt: skip


def latency(results: Results) -> Panels:
    """The latency of predictions: the median, and a line to the 99th percentile; one panel per number of images."""
    rows = [row for row in measured(results) if "latency" in row]
    titles = {row["name"]: row["title"] for row in rows}
    counts = list(rows[0]["latency"]) if rows else []
    return [("1 image" if n == "1" else f"{int(n):,} images", _latency(rows, titles, n)) for n in counts]


def _latency(rows: Sequence[MeasuredContender], titles: Mapping[str, str], n: str) -> alt.LayerChart:
    values: plots.Records = [
        {"contender": row["title"], **row["latency"][n], "label": table.micros(row["latency"][n]["p50"])}
        for row in rows
    ]
    ends = [row[key] for row in values for key in ("p50", "p99")]
    low, high, room = min(ends), max(ends), plots.room(row["label"] for row in values)
    scale = alt.Scale(type="log", domain=[low / 1.1, high * 1.1], range=room, nice=False)
    axis = alt.Axis(values=plots.ticks(ends, 4), format=",~f")
    x, y = alt.X("p50:Q", scale=scale, axis=axis, title="µs"), plots.rows_axis(list(titles.values()))
    base, far = plots.chart(values), alt.X("p99:Q", scale=scale)
    tooltip = [words("contender", "contender"), number("p50", "median, µs"), number("p99", "99th percentile, µs")]
    return plots.layered(
        base.mark_rule(strokeWidth=2).encode(x=x, x2="p99:Q", y=y, color=plots.color(titles)),
        base.mark_tick(thickness=2, size=10).encode(x=far, y=y, color=plots.color(titles)),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x=x, y=y, color=plots.color(titles), shape=plots.shape(titles)
        ),
        base.mark_text(align="left", dx=8).encode(x=far, y=y, text="label:N"),
        plots.hover_rows(values, y, tooltip),
        height=plots.ROW * len(values),
    )
