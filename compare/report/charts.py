"""The charts of the answer: step times relative to the fastest, agreement with the reference, and accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from ..parity.recording import is_weight_step
from ..results.schema import Parity, Results, measured
from ..results.statistics import MARGIN
from . import plots, ratios, text
from .plots import number, words


def ratio(results: Results, width: Any = plots.WIDE) -> alt.LayerChart | None:
    """Step times relative to the fastest, with their 95 % intervals; None with fewer than two contenders."""
    relative = ratios.to_fastest(results, "closed")
    if len(relative) < 2:
        return None
    rows = [_ratio_row(one) for one in relative]
    titles = {one.row["name"]: one.row["title"] for one in relative}
    ends = [row[key] for row in rows for key in ("low", "end")]
    room = plots.room([row["label"] for row in rows if row["end"] > 0.4 * max(ends)], width)
    domain = [min(0.92, 0.97 * min(ends)), max(1.05, *ends)]
    scale = alt.Scale(type="log", domain=domain, range=room, nice=False)
    axis = alt.Axis(values=plots.ticks(ends), format="~g", labelExpr="datum.label + 'x'")
    x = alt.X("median:Q", scale=scale, axis=axis, title="relative step time, 95 % interval")
    y = plots.rows_axis(list(titles.values()))
    base = plots.chart(rows)
    band = plots.chart([{"low": 1 - MARGIN, "high": 1 + MARGIN}]).mark_rect(fill="var(--band)")
    names = {
        "contender": "contender",
        "step": "step",
        "ratio": "ratio",
        "interval": "95 % interval",
        "verdict": "verdict",
    }
    return plots.layered(
        band.encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
        base.mark_rule(strokeWidth=3).encode(x=alt.X("low:Q", scale=scale), x2="end:Q", y=y, color=plots.color(titles)),
        base.mark_point(filled=True, size=110, opacity=1).encode(
            x=x, y=y, color=plots.color(titles), shape=plots.shape(titles)
        ),
        base.mark_text(align="left", dx=12).encode(x=alt.X("end:Q", scale=scale), y=y, text="label:N"),
        plots.hover_rows(rows, y, [words(key, name) for key, name in names.items()]),
        height=plots.ROW * len(rows),
        width=width,
    )


def _ratio_row(one: ratios.Relative) -> dict[str, Any]:
    step, interval = f"{one.row['steady_step_us']:,.0f} µs", one.ratio
    row = {"contender": one.row["title"], "step": step}
    if interval is None:
        return {
            **row,
            "label": step,
            "ratio": "1",
            "interval": "–",
            "verdict": "fastest",
            "median": 1,
            "low": 1,
            "end": 1,
        }
    median, low, high = interval["median"], interval["low"], interval["high"]
    return {
        **row,
        "label": text.ratio(interval),
        "ratio": f"{median:.3f}",
        "interval": f"{low:.3f} to {high:.3f}" if low and high else "–",
        "verdict": interval["verdict"],
        "median": median,
        "low": low or median,
        "end": high or median,
    }


def agreement(parity: Parity, titles: Mapping[str, str]) -> list[tuple[str, alt.LayerChart]]:
    """The differences by step: in float64 the largest, in float32 relative to its tolerance. One panel each."""
    panels = []
    for dtype, key, name, form in (
        ("float64", "by_step", "largest difference", ".1e"),
        ("float32", "share_by_step", "difference / tolerance", ".2~r"),
    ):
        lines: dict[str, dict[int, float]] = {}
        for contender, row in parity["contenders"].items():
            cell: Any = row[dtype]  # type: ignore[literal-required]
            steps = {int(step): gap for step, gap in cell[key].items() if gap}
            lines[contender] = {step: gap for step, gap in steps.items() if is_weight_step(step, cell["steps"])}
        limit = parity["float64"]["limit"] if dtype == "float64" else 1.0
        if limit and any(lines.values()):
            panels.append((f"{dtype}: {name}", _by_step(lines, titles, limit, form)))
    return panels


def _by_step(
    lines: Mapping[str, Mapping[int, float]], titles: Mapping[str, str], limit: float, form: str
) -> alt.LayerChart:
    shown = {name: titles[name] for name in lines}
    # Lines of equal values stay visible, since later ones are thinner and have smaller points.
    rows: plots.Records = [
        {"contender": titles[name], "x": step, "y": gap, "order": i}
        for i, (name, line) in enumerate(lines.items())
        for step, gap in line.items()
    ]
    steps, gaps = [row["x"] for row in rows], [row["y"] for row in rows]
    x = alt.X(
        "x:Q", title="step", scale=plots.span(steps, 0.02), axis=alt.Axis(values=plots.ticks(steps, 4), format=",")
    )
    powers = alt.Axis(values=plots.ticks([*gaps, limit], 5), format="~g" if limit == 1 else ".0e", title=None)
    y = alt.Y("y:Q", scale=plots.span([*gaps, limit]), axis=powers)
    width = alt.StrokeWidth("order:O", legend=None, scale=alt.Scale(range=[max(1.2, 4 - i) for i in range(len(lines))]))
    size = alt.Size("order:O", legend=None, scale=alt.Scale(range=[max(30, 130 - 30 * i) for i in range(len(lines))]))
    base = plots.chart(rows)
    bound = plots.chart([{"y": limit, "label": "limit 1" if limit == 1 else f"limit {limit:.0e}"}])
    return plots.layered(
        bound.mark_rule(strokeDash=[6, 4]).encode(y=y),
        bound.mark_text(align="left", dy=12, fill="var(--soft)", fontSize=12).encode(
            y=y, x=alt.value(4), text="label:N"
        ),
        base.mark_line().encode(x=x, y=y, color=plots.color(shown), strokeWidth=width),
        base.mark_point(filled=True, opacity=1).encode(
            x=x, y=y, size=size, color=plots.color(shown), shape=plots.shape(shown)
        ),
        plots.hover_columns(lines, titles, x, "step", form),
        height=plots.HEIGHT,
    )


def accuracy(results: Results, width: Any = plots.WIDE) -> alt.LayerChart:
    """Test accuracies with their 95 % intervals."""
    titles = {row["name"]: row["title"] for row in measured(results)}
    rows: plots.Records = [
        {
            "contender": row["title"],
            "accuracy": 100 * row["test_accuracy"],
            "low": 100 * row["accuracy_interval"][0],
            "high": 100 * row["accuracy_interval"][1],
        }
        for row in measured(results)
    ]
    y, base = plots.rows_axis(list(titles.values())), plots.chart(rows)
    ends = [row["low"] for row in rows], [row["high"] for row in rows]
    scale = alt.Scale(domain=[min(ends[0]), max(ends[1])], nice=False, range=plots.room(["92.61"], width))
    axis = alt.Axis(tickCount=4, format=".4~r", labelExpr="datum.label + ' %'")
    x = alt.X("accuracy:Q", scale=scale, axis=axis, title="test accuracy, 95 % interval")
    tooltip = [words("contender", "contender"), *(number(key, title, ".2f") for key, title in
               (("accuracy", "accuracy, %"), ("low", "95 % from"), ("high", "to")))]  # fmt: skip
    return plots.layered(
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("low:Q", scale=scale), x2="high:Q", y=y, color=plots.color(titles)
        ),
        base.mark_point(filled=True, size=110, opacity=1).encode(
            x=x, y=y, color=plots.color(titles), shape=plots.shape(titles)
        ),
        base.mark_text(align="left", dx=8).encode(
            x=alt.X("high:Q", scale=scale), y=y, text=alt.Text("accuracy:Q", format=".2f")
        ),
        plots.hover_rows(rows, y, tooltip),
        height=plots.ROW * len(rows),
        width=width,
    )
