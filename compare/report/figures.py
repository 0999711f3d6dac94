"""The PNG figures: comparison.png (agreement, time, accuracy) and crossover.png (time of a step by hidden width)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from minigrad.runs import whole_file

from ..results import schema
from ..results.schema import MeasuredContender, Parity, Results, Rounding, Sweep
from . import text
from .marks import COLORS, OTHER


def draw(path: Path, results: Results) -> None:
    """Draw comparison.png: three panels, or only the first if nothing was timed."""
    from matplotlib.figure import Figure

    rows = schema.measured(results) if schema.agreed(results) else []
    titles, parity = schema.titles(results), results["parity"]
    assert parity is not None
    panels: list[Callable[[Any], None]] = [lambda axes: _agreement(axes, parity, titles)]
    if rows:
        panels += [lambda axes: _steps(axes, rows), lambda axes: _accuracies(axes, rows)]
    figure = Figure(figsize=(4.6 * len(panels), 3.9), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        panel(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(11)
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=140)


def draw_crossover(path: Path, sweep: Sweep, titles: dict[str, str]) -> None:
    """Draw crossover.png: one panel per batch size with the time of a step by hidden width, and its lower bounds."""
    from matplotlib.figure import Figure

    sizes = sorted(sweep["batch_sizes"])
    figure = Figure(figsize=(max(6.4, 4.6 * len(sizes)), 4.2), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
    for axes, size in zip(panels, sizes, strict=True):
        _crossover(axes, sweep, titles, size)
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(11)
    panels[0].set_ylabel("µs per step")
    panels[0].legend(frameon=False, fontsize=8)
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=140)


def _crossover(axes: Any, sweep: Sweep, titles: dict[str, str], size: int) -> None:
    flops: dict[int, int] = {}
    for row in sweep["rows"]:
        points = [point for point in row["points"] if point["batch_size"] == size]
        widths = [point["width"] for point in points]
        color = _color(row["contender"])
        axes.plot(widths, [p["step_us"] for p in points], "o-", ms=4, color=color, label=titles[row["contender"]])
        axes.axhline(row["floor_us"], color=color, ls=":", lw=1)
        flops |= {point["width"]: point["flops"] for point in points}
    if sweep["flops_per_second"]:
        bound = [n / sweep["flops_per_second"] * 1e6 for n in flops.values()]
        axes.plot(list(flops), bound, color="#999", ls="--", lw=1.2, label="arithmetic alone, at NumPy's speed")
    axes.set(xscale="log", yscale="log", xlabel="hidden width (dotted: overhead)", title=f"Batch size {size}")
    axes.set_xticks(list(flops), [str(width) for width in flops], fontsize=8)
    axes.minorticks_off()


def _agreement(axes: Any, parity: Parity, titles: dict[str, str]) -> None:
    axes.set(xscale="log", yscale="log", ylim=(1e-18, 10), title="Largest difference from minigrad")
    axes.set_xlabel("step (solid float64, dashed float32)")
    for i, (name, row) in enumerate(parity["contenders"].items()):
        for dtype, cell in text.parity_cells(row):
            points = _points(cell)
            title = titles.get(name, name) + ("" if points or not cell["by_step"] else " (identical)")
            label = title if dtype == "float64" else None
            style: dict[str, Any] = {
                "ls": "-" if dtype == "float64" else "--",
                "marker": "os^vDP*"[i % 7],
                "ms": max(4, 7 - i),
            }
            style["lw"] = max(1.4, 3 - 0.6 * i)  # keeps a line below another one visible
            axes.plot(*zip(*points, strict=True) if points else ([], []), color=_color(name), label=label, **style)
    if own := _points(parity.get("rounding")):
        axes.plot(*zip(*own, strict=True), color="#999", ls="-.", lw=1.2, label="minigrad's own rounding")
    for dtype, summary in text.summaries(parity):
        if summary["limit"]:
            axes.axhline(summary["limit"], color="#999", lw=0.8, ls=":")
            axes.text(1, summary["limit"] * 1.5, f"limit, {dtype}", fontsize=8, color="#666")
    if parity["contenders"]:
        axes.legend(frameon=False, fontsize=8, ncols=3, columnspacing=1, loc="center", bbox_to_anchor=(0.5, 0.41))


def _points(cell: Rounding | None) -> text.Line:
    return text.positive(text.weight_steps(cell))


def _color(name: str) -> str:
    return COLORS.get(name, OTHER)[0]


def _steps(axes: Any, rows: list[MeasuredContender]) -> None:
    bars = axes.barh(range(len(rows)), [r["step_us"] for r in rows], color=[_color(r["name"]) for r in rows])
    axes.bar_label(bars, [f"{r['step_us']:,.0f}" for r in rows], padding=3, fontsize=9)
    axes.set_yticks(range(len(rows)), [r["title"] for r in rows])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.locator_params(axis="x", nbins=5)
    axes.set(title="Training time per step", xlabel="µs (shorter is better)")


def _accuracies(axes: Any, rows: list[MeasuredContender]) -> None:
    for i, row in enumerate(rows):
        value = 100 * row["test_accuracy"]
        low, high = (100 * x for x in row["accuracy_interval"])
        axes.errorbar(value, i, xerr=[[value - low], [high - value]], fmt="o", color=_color(row["name"]), capsize=3)
        axes.annotate(f"{value:.2f}", (value, i), (0, 7), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [""] * len(rows))
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.set(title="Test accuracy with its 95 % interval", xlabel="%")
    axes.grid(axis="x", alpha=0.25)
