"""The charts of whole trainings and predictions: start-up and total time, rounds, seconds to the target, and latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
    values = [{"contender": row["title"], "value": value(row), "label": show(value(row))} for row in rows]
    titles = {row["name"]: row["title"] for row in rows}
    y, base = plots.rows_axis(list(titles.values())), plots.chart(values)
    scale = alt.Scale(domain=[0, 1.3 * max(row["value"] for row in values)], nice=False)
    x = alt.X("value:Q", scale=scale, axis=alt.Axis(tickCount=4, format=",~r"), title=unit)
    return alt.layer(
        base.mark_bar(height=16).encode(x=x, y=y, color=plots.color(titles)),
        base.mark_text(align="left", dx=6).encode(x=x, y=y, text="label:N"),
        plots.hover_rows(values, y, [words("contender", "contender"), number("value", unit)]),
    ).properties(height=alt.Step(plots.ROW), width=plots.WIDE)


def rounds(results: Results) -> alt.LayerChart:
    """The step time of each round in the closed division; rounds that do not count are gray."""
    titles = {row["name"]: row["title"] for row in measured(results)}
    rows = [
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
    return _dots(rows, titles, medians, "µs per step of a round", "round")


def to_target(results: Results) -> Panels:
    """The seconds of training until the target accuracy: one dot per seed, one panel per division."""
    panels: Panels = []
    for division in DIVISIONS:
        timed = ratios.timed(results, division)
        titles = {row["name"]: row["title"] for row in timed}
        rows = [
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
    rows: plots.Rows, titles: Mapping[str, str], medians: Mapping[str, float], unit: str, what: str
) -> alt.LayerChart:
    """One dot per row, and a line at the median with its value at the right."""
    values: list[float] = [*(row["value"] for row in rows), *medians.values()]
    low, high = min(values, default=1.0), max(values, default=1.0)
    scale = alt.Scale(type="log", domain=[low / 1.06, high * (high / low) ** 0.3 * 1.12], nice=False)
    axis = alt.Axis(values=plots.ticks(values, 5), format=",~r")
    x, y = alt.X("value:Q", scale=scale, axis=axis, title=unit), plots.rows_axis(list(titles.values()))
    middle = [{"contender": title, "value": value, "label": table.short(value)} for title, value in medians.items()]
    ends = {title: max([row["value"] for row in rows if row["contender"] == title], default=v) for title, v in medians.items()}
    labels = [{**row, "end": ends[row["contender"]]} for row in middle]
    counts = "datum.group == 'counts'"
    return alt.layer(
        plots.chart(rows).mark_point(filled=True, size=70).encode(
            x=x, y=y, shape=plots.shape(titles),
            color=alt.condition(counts, plots.color(titles), alt.value("var(--soft)")),
            opacity=alt.condition(counts, alt.value(0.75), alt.value(0.35)),
            tooltip=[words("contender", "contender"), words("what", what), number("value", unit)],
        ),
        plots.chart(middle).mark_tick(thickness=2, size=22, color="var(--ink)").encode(x=x, y=y),
        plots.chart(labels).mark_text(align="left", dx=10).encode(x=alt.X("end:Q", scale=scale), y=y, text="label:N"),
    ).properties(height=alt.Step(plots.ROW), width=plots.WIDE)  # fmt: skip


def latency(results: Results) -> Panels:
    """The latency of predictions: the median, and a line to the 99th percentile; one panel per number of images."""
    rows = [row for row in measured(results) if "latency" in row]
    titles = {row["name"]: row["title"] for row in rows}
    counts = list(rows[0]["latency"]) if rows else []
    return [("1 image" if n == "1" else f"{int(n):,} images", _latency(rows, titles, n)) for n in counts]


def _latency(rows: Sequence[MeasuredContender], titles: Mapping[str, str], n: str) -> alt.LayerChart:
    values: list[dict[str, Any]] = [
        {"contender": row["title"], **row["latency"][n], "label": table.micros(row["latency"][n]["p50"])} for row in rows
    ]
    ends = [row[key] for row in values for key in ("p50", "p99")]
    low, high = min(ends), max(ends)
    scale = alt.Scale(type="log", domain=[low / 1.1, high * (high / low) ** 0.35], nice=False)
    axis = alt.Axis(values=plots.ticks(ends, 4), format=",~r")
    x, y = alt.X("p50:Q", scale=scale, axis=axis, title="µs (line to the 99th percentile)"), plots.rows_axis(list(titles.values()))
    base, far = plots.chart(values), alt.X("p99:Q", scale=scale)
    tooltip = [words("contender", "contender"), number("p50", "median, µs"), number("p99", "99th percentile, µs")]
    return alt.layer(
        base.mark_rule(strokeWidth=2).encode(x=x, x2="p99:Q", y=y, color=plots.color(titles)),
        base.mark_tick(thickness=2, size=10).encode(x=far, y=y, color=plots.color(titles)),
        base.mark_point(filled=True, size=90, opacity=1).encode(x=x, y=y, color=plots.color(titles), shape=plots.shape(titles)),
        base.mark_text(align="left", dx=8).encode(x=far, y=y, text="label:N"),
        plots.hover_rows(values, y, tooltip),
    ).properties(height=alt.Step(plots.ROW), width=plots.WIDE)
