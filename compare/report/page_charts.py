"""The page's charts of times, accuracy and latency. Each has a description in words and its data as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from ..results.schema import CurvePoint, MeasuredContender, Results, Run, measured
from . import page_tables, svg, table
from .marks import color
from .svg import Plot, Scale, rows_scale
from .table import Columns, Table

ROW = 34  # pixels
PHASES = {
    "import": ("import", "var(--phase-import)"),
    "build": ("build", "var(--phase-build)"),
    "first_step": ("first step", "var(--phase-first)"),
    "rest": ("rest of training", "var(--phase-rest)"),
    "evaluate": ("evaluate", "var(--phase-evaluate)"),
}


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Attributes:
        panels: (heading, plot) pairs.
        table: the data of the chart.
        legend: contenders in the legend.
        keys: further entries of the legend: (CSS class or color, meaning).
        note: added to the caption.
    """

    panels: list[tuple[str, Markup]]
    table: Table | None
    legend: Sequence[str] = ()
    keys: list[tuple[str, str]] = field(default_factory=list)
    note: str = ""


def phases(results: Results) -> Chart:
    """The seconds of each phase, from the start of the process to the test predictions."""
    rows = measured(results)
    titles = [row["title"] for row in rows]
    plot = Plot(
        Scale(0, 1.02 * max(sum(_parts(row).values()) for row in rows)),
        rows_scale(len(rows)),
        ROW * len(rows),
        svg.label_width(titles),
        62,
    )
    plot.x_axis("seconds")
    plot.row_names(titles)
    for i, row in enumerate(rows):
        seconds, low = row["seconds"], 0.0
        for phase, duration in _parts(row).items():
            plot.bar(i, low, low + duration, 18, PHASES[phase][1])
            low += duration
        plot.text(plot.across(low), plot.down(i) + 4, f"{table.seconds(seconds['total'])} s", dx=7)
    description = "; ".join(
        f"{row['title']} {table.seconds(row['seconds']['total'])} s,"
        f" of which training {table.seconds(row['seconds']['train'])} s"
        for row in rows
    )
    panels = [("", plot.svg("phases-plot", "Seconds from the start to the predictions", description + "."))]
    return Chart(panels, page_tables.phases(results), (), [(fill, name) for name, fill in PHASES.values()])


def _parts(row: MeasuredContender) -> dict[str, float]:
    """Return the seconds of consecutive phases."""
    seconds = row["seconds"]
    return {
        "import": seconds["import"],
        "build": seconds["build"],
        "first_step": seconds["first_step"],
        "rest": max(0.0, seconds["train"] - seconds["first_step"]),
        "evaluate": seconds["evaluate"],
    }


@dataclass(frozen=True)
class _Curve:
    """One run's validation accuracy."""

    name: str
    title: str
    division: str
    run: Run

    @property
    def points(self) -> list[CurvePoint]:
        return self.run["curve"]


def curves(results: Results) -> Chart | None:
    """Validation accuracy against seconds of training; None without a validation set."""
    rows = measured(results)
    shown = [_Curve(row["name"], row["title"], "closed", run) for row in rows for run in row["runs"] if run["curve"]]
    if not shown:
        return None
    opened = [
        _Curve(row["name"], row["title"], "open", run)
        for row in results.get("open") or []
        for run in row["runs"]
        if run["curve"]
    ]
    shown += opened
    points, target = [point for curve in shown for point in curve.points], results.get("target")
    heights = [100 * p["accuracy"] for p in points] + ([100 * target] if target else [])
    plot = Plot(Scale.over([p["seconds"] for p in points], log=True), Scale.over(heights), 300)
    plot.x_axis("seconds of training")
    plot.y_axis()
    if target:
        plot.level(100 * target, "var(--ink)", "dashed", f"target {100 * target:.4g} %")
    for curve in shown:
        line = [(p["seconds"], 100 * p["accuracy"]) for p in curve.points]
        plot.line(line, color(curve.name), "thin dashed" if curve.division == "open" else "thin")
        plot.mark(*line[-1], curve.name)
    ends = "; ".join(
        f"{curve.title} ({curve.division}, seed {curve.run['seed']}) {_end(curve.points)}" for curve in shown
    )
    keys = [("line", "closed division"), ("line dashed", "open division")] if opened else []
    panels = [("", plot.svg("curves-plot", "Validation accuracy against seconds of training", ends + "."))]
    return Chart(panels, _curves_table(shown), [row["name"] for row in rows], keys)


def _curves_table(curves: Sequence[_Curve]) -> Table:
    columns: Columns = [
        ("contender", str),
        ("division", str),
        ("seed", str),
        ("epoch", str),
        ("seconds", lambda v: f"{v:.3f}"),
        ("accuracy", table.percent),
    ]
    values = [
        [curve.title, curve.division, curve.run["seed"], epoch, p["seconds"], p["accuracy"]]
        for curve in curves
        for epoch, p in enumerate(curve.points, 1)
    ]
    return Table("Accuracy at each epoch's end", columns, values)


def _end(curve: list[CurvePoint]) -> str:
    return f"{100 * curve[-1]['accuracy']:.2f} % after {table.seconds(curve[-1]['seconds'])} s"


def seeds(results: Results) -> Chart:
    """Step time and accuracy of each seed, and their medians."""
    rows = measured(results)
    panels = [
        _seeds_panel(rows, "Step time", "µs per step", lambda r: r["step_us"], table.micros, log=True),
        _seeds_panel(
            rows, "Test accuracy", "% of the test set", lambda r: 100 * r["test_accuracy"], lambda v: f"{v:.2f}"
        ),
    ]
    columns: Columns = [
        ("contender", str),
        ("seed", str),
        ("µs per step", table.micros),
        ("test accuracy", table.percent),
    ]
    values = [[row["title"], run["seed"], run["step_us"], run["test_accuracy"]] for row in rows for run in row["runs"]]
    return Chart(panels, Table("Each seed", columns, values))


def _seeds_panel(
    rows: list[MeasuredContender],
    heading: str,
    unit: str,
    value: Callable[[Any], float],
    show: Callable[[float], str],
    log: bool = False,
) -> tuple[str, Markup]:
    titles = [row["title"] for row in rows]
    scale = Scale.over([value(run) for row in rows for run in row["runs"]], log)
    plot = Plot(scale, rows_scale(len(rows)), ROW * len(rows), svg.label_width(titles), 62)
    plot.x_axis(unit, plot.x.ticks(3 if log else 4))
    plot.row_names(titles)
    for i, row in enumerate(rows):
        plot.upright(value(row), i, 20)
        for run in row["runs"]:
            plot.mark(value(run), i, row["name"], "seed")
        plot.text("100%", plot.down(i) + 4, show(value(row)), dx=10)
    description = "; ".join(f"{row['title']} {', '.join(show(value(run)) for run in row['runs'])}" for row in rows)
    name = f"seeds-{heading.lower().replace(' ', '-')}"
    return heading, plot.svg(name, f"{heading} of each seed", description + ".")


def latency(results: Results) -> Chart:
    """The latency of predictions: the median, and a line to the 99th percentile."""
    rows, panels = measured(results), []
    titles = [row["title"] for row in rows]
    for n in rows[0]["latency"]:
        values = [row["latency"][n] for row in rows]
        plot = Plot(
            Scale.over([x for value in values for x in (value["p50"], value["p99"])], log=True),
            rows_scale(len(rows)),
            30 * len(rows),
            svg.label_width(titles),
        )
        plot.x_axis("µs", plot.x.ticks(3))
        plot.row_names(titles)
        for i, (row, value) in enumerate(zip(rows, values, strict=True)):
            plot.line([(value["p50"], i), (value["p99"], i)], color(row["name"]))
            plot.upright(value["p99"], i, 9, color(row["name"]))
            plot.mark(value["p50"], i, row["name"])
        heading = "1 image" if n == "1" else f"{int(n):,} images"
        description = "; ".join(
            f"{row['title']} {table.micros(value['p50'])}, 99th percentile {table.micros(value['p99'])}"
            for row, value in zip(rows, values, strict=True)
        )
        panels.append((heading, plot.svg(f"latency-{n}", f"Latency for {heading} in microseconds", description + ".")))
    return Chart(panels, page_tables.latencies(results))
