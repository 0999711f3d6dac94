"""The page's charts: each in words and in a table too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from . import page_tables as tables
from . import svg, table
from . import text as words
from .marks import color
from .page_tables import Row
from .svg import Plot, Scale, rows
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
    """Panels, each a heading and a plot; the data; the contenders in the legend; other signs; and what to add in words."""

    panels: list[tuple[str, Markup]]
    table: Table | None
    legend: Sequence[str] = ()
    keys: list[tuple[str, str]] = field(default_factory=list)  # class or colour, what it means
    note: str = ""


def phases(results: Row) -> Chart:
    """Where the time goes, from the start of the process to the answers."""
    raced = words.raced(results)
    titles = [row["title"] for row in raced]
    plot = Plot(
        Scale(0, 1.02 * max(sum(_parts(row).values()) for row in raced)),
        rows(len(raced)),
        ROW * len(raced),
        svg.room(titles),
        62,
    )
    plot.x_axis("seconds")
    plot.row_names(titles)
    for i, row in enumerate(raced):
        seconds, low = row["seconds"], 0.0
        for phase, took in _parts(row).items():
            plot.bar(i, low, low + took, 18, PHASES[phase][1])
            low += took
        plot.text(plot.across(low), plot.down(i) + 4, f"{table.seconds(seconds['total'])} s", dx=7)
    told = "; ".join(
        f"{row['title']} {table.seconds(row['seconds']['total'])} s,"
        f" of which training {table.seconds(row['seconds']['train'])} s"
        for row in raced
    )
    panels = [("", plot.svg("phases-plot", "Seconds from the start to the answers", told + "."))]
    return Chart(panels, tables.phases(results), (), [(fill, name) for name, fill in PHASES.values()])


def _parts(row: Row) -> dict[str, float]:
    """Seconds of what follows one another."""
    seconds = row["seconds"]
    return {
        phase: seconds[phase] if phase != "rest" else max(0.0, seconds["train"] - seconds["first_step"])
        for phase in PHASES
    }


def curves(results: Row) -> Chart | None:
    """Accuracy on the validation set against seconds of training; None without such a set."""
    closed = [(row, run, "") for row in words.raced(results) for run in row["runs"] if run["curve"]]
    opened = [(row, run, "dashed") for row in results.get("open") or [] for run in row["runs"] if run["curve"]]
    if not closed:
        return None
    points = [point for _, run, _ in (*closed, *opened) for point in run["curve"]]
    heights = [100 * p["accuracy"] for p in points] + ([100 * results["target"]] if results.get("target") else [])
    plot = Plot(Scale.over([p["seconds"] for p in points], log=True), Scale.over(heights), 300)
    plot.x_axis("seconds of training")
    plot.y_axis()
    if results.get("target"):
        plot.level(100 * results["target"], "var(--ink)", "dashed", f"target {100 * results['target']:.4g} %")
    found = []
    for row, run, style in (*closed, *opened):
        line = [(p["seconds"], 100 * p["accuracy"]) for p in run["curve"]]
        plot.line(line, color(row["name"]), f"thin {style}".strip())
        plot.mark(*line[-1], row["name"])
        division = "open" if style else "closed"
        found += [
            [row["title"], division, run["seed"], epoch, p["seconds"], p["accuracy"]]
            for epoch, p in enumerate(run["curve"], 1)
        ]
    columns: Columns = [
        ("contender", str),
        ("division", str),
        ("seed", str),
        ("epoch", str),
        ("seconds", lambda v: f"{v:.3f}"),
        ("accuracy", table.percent),
    ]
    ends = "; ".join(
        f"{row['title']} ({'open' if style else 'closed'}, seed {run['seed']}) {_end(run['curve'])}"
        for row, run, style in (*closed, *opened)
    )
    keys = [("line", "closed division"), ("line dashed", "open division")] if opened else []
    shown = [row["name"] for row in words.raced(results)]
    panels = [("", plot.svg("curves-plot", "Validation accuracy against seconds of training", ends + "."))]
    return Chart(panels, Table("Accuracy at each epoch's end", columns, found), shown, keys)


def _end(curve: list[Row]) -> str:
    return f"{100 * curve[-1]['accuracy']:.2f} % after {table.seconds(curve[-1]['seconds'])} s"


def seeds(results: Row) -> Chart:
    """Each seed's step time and accuracy, and the medians."""
    raced = words.raced(results)
    figures = (
        ("Step time", "µs a step", "step_us", 1, True, table.micros),
        ("Test accuracy", "% of the test set", "test_accuracy", 100, False, lambda v: f"{v:.2f}"),
    )
    titles, panels = [row["title"] for row in raced], []
    for heading, unit, figure, factor, log, show in figures:
        values = [factor * run[figure] for row in raced for run in row["runs"]]
        plot = Plot(Scale.over(values, log), rows(len(raced)), ROW * len(raced), svg.room(titles), 62)
        plot.x_axis(unit, plot.x.ticks(3 if log else 4))
        plot.row_names(titles)
        for i, row in enumerate(raced):
            plot.upright(factor * row[figure], i, 20)
            for run in row["runs"]:
                plot.mark(factor * run[figure], i, row["name"], "seed")
            plot.text("100%", plot.down(i) + 4, show(factor * row[figure]), dx=10)
        told = "; ".join(
            f"{row['title']} {', '.join(show(factor * run[figure]) for run in row['runs'])}" for row in raced
        )
        panels.append((heading, plot.svg(f"seeds-{figure.replace('_', '-')}", f"{heading} of each seed", told + ".")))
    columns: Columns = [
        ("contender", str),
        ("seed", str),
        ("µs a step", table.micros),
        ("test accuracy", table.percent),
    ]
    found = [[row["title"], run["seed"], run["step_us"], run["test_accuracy"]] for row in raced for run in row["runs"]]
    return Chart(panels, Table("Each seed", columns, found))


def latency(results: Row) -> Chart:
    """How soon so many images are answered: the median, and a line to the 99th percentile."""
    raced, panels = words.raced(results), []
    titles = [row["title"] for row in raced]
    for n in raced[0]["latency"]:
        looks = [row["latency"][n] for row in raced]
        plot = Plot(
            Scale.over([look[p] for look in looks for p in ("p50", "p99")], log=True),
            rows(len(raced)),
            30 * len(raced),
            svg.room(titles),
        )
        plot.x_axis("µs", plot.x.ticks(3))
        plot.row_names(titles)
        for i, (row, look) in enumerate(zip(raced, looks, strict=True)):
            plot.line([(look["p50"], i), (look["p99"], i)], color(row["name"]))
            plot.upright(look["p99"], i, 9, color(row["name"]))
            plot.mark(look["p50"], i, row["name"])
        heading = "1 image" if n == "1" else f"{int(n):,} images"
        told = "; ".join(
            f"{row['title']} {table.micros(look['p50'])}, 99 of 100 within {table.micros(look['p99'])}"
            for row, look in zip(raced, looks, strict=True)
        )
        panels.append((heading, plot.svg(f"latency-{n}", f"Microseconds until {heading} are answered", told + ".")))
    return Chart(panels, tables.answers(results))
