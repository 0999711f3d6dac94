"""The picture of a correct and a broken training: loss, gradients, updates and dead units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...runs.curves import FORMATS
from ...runs.files import whole_file
from .experiment import Run, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Lines = list[
    tuple[str, Callable[[Run], list[float]]]
]  # the style of a line, and its values, evenly spaced over the run
COLORS = {"correct": "#0072b2", "broken": "#d55e00"}  # two colors of Okabe and Ito
STYLES = {"hidden": "-", "output": ":"}  # by layer
DEAD = "dead hidden units"
DECADES = 1.5  # a panel whose values span more has a logarithmic scale
SPAN = 1e-6  # a logarithmic scale is linear below this share of its largest value, so that it can show 0


def draw(path: Path, runs: Mapping[str, Run], title: str, score: str) -> None:
    """Draw both trainings.

    Args:
        path: the file to write; its suffix, one of `curves.FORMATS`, selects the format.
        runs: the runs "correct" and "broken".
        title: the title above the panels.
        score: the name of the score.
    """
    import matplotlib  # slow to import
    from matplotlib.figure import Figure

    panels: dict[str, Lines] = {
        "loss per step": [("-", lambda run: [step.loss for step in run.steps])],
        score: [("o-", lambda run: [epoch.score for epoch in run.epochs])],
        DEAD: [("o-", lambda run: [float(epoch.dead) for epoch in run.epochs])],
        "norm of the gradient per step": _layers(lambda step: step.gradients),
        "|change| / |weight| per step": _layers(lambda step: step.ratios),
    }
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    figure.suptitle(title, fontsize=12, parse_math=False)
    *axes, legend = figure.subplots(2, 3).ravel()
    for panel, (label, lines) in zip(axes, panels.items(), strict=True):
        _draw_panel(panel, label, lines, runs)
    _draw_legend(legend)
    with whole_file(path) as draft, matplotlib.rc_context({"svg.hashsalt": "break"}):
        figure.savefig(draft, dpi=130, metadata=FORMATS[path.suffix.lower()])


def _layers(measure: Callable[[Step], dict[str, float]]) -> Lines:
    def values(layer: str) -> Callable[[Run], list[float]]:
        return lambda run: [measure(step)[layer] for step in run.steps]

    return [(style, values(layer)) for layer, style in STYLES.items()]


def _draw_panel(axes: Axes, label: str, lines: Lines, runs: Mapping[str, Run]) -> None:
    """Draw one measure of both trainings; values that are not finite are left out."""
    shown: list[float] = []
    for style, values in lines:
        for kind, run in runs.items():
            y = values(run)
            points = [((i + 1) * len(run.epochs) / len(y), v) for i, v in enumerate(y) if math.isfinite(v)]
            order = 3 if kind == "correct" else 2  # the correct training varies less, and would be covered
            axes.plot(*zip(*points, strict=True), style, color=COLORS[kind], lw=1.2, ms=4, zorder=order)
            shown += [v for _, v in points]
    if label == DEAD:
        axes.set_ylim(-1, max(run.units for run in runs.values()) + 1)
    elif label.endswith("per step"):
        _scale(axes, shown)
    else:
        axes.set_ylim(min(-0.05, *shown), 1.05)
    axes.set(xlabel="epoch", ylabel=label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _scale(axes: Axes, shown: list[float]) -> None:
    """Choose a logarithmic scale if the values span more than `DECADES`; it is linear near 0 if there are zeros."""
    positive = [v for v in shown if v > 0]
    if not positive or math.log10(max(positive) / min(positive)) < DECADES:
        axes.set_ylim(bottom=0)
    elif len(positive) == len(shown):
        axes.set_yscale("log")
    else:
        axes.set_yscale("symlog", linthresh=max(min(positive), SPAN * max(positive)))
        axes.set_ylim(bottom=0)


def _draw_legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D

    axes.set_axis_off()
    handles = [Line2D([], [], color=color, lw=1.8) for color in COLORS.values()]
    handles += [Line2D([], [], color="#24292f", ls=style, lw=1.8) for style in STYLES.values()]
    axes.legend(handles, [*COLORS, *(f"{layer} layer" for layer in STYLES)], loc="center", frameon=False, fontsize=11)
