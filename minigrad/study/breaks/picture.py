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
        "dead hidden units": [("o-", lambda run: [float(epoch.dead) for epoch in run.epochs])],
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
    shown: list[float] = []
    for style, values in lines:
        for kind, run in runs.items():
            y = values(run)
            points = [((i + 1) * len(run.epochs) / len(y), v) for i, v in enumerate(y) if math.isfinite(v)]
            axes.plot(*zip(*points, strict=True), style, color=COLORS[kind], lw=1.2, ms=4)
            shown += [v for _, v in points]
    positive = [v for v in shown if v > 0]
    if label.endswith("per step") and positive and math.log10(max(positive) / min(positive)) > DECADES:
        threshold = max(min(positive), SPAN * max(positive)) if max(positive) < 1 / SPAN else 0.1
        axes.set_yscale("symlog", linthresh=threshold)
        axes.set_ylim(bottom=0)
    axes.set(xlabel="epoch", ylabel=label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D

    axes.set_axis_off()
    handles = [Line2D([], [], color=color, lw=1.8) for color in COLORS.values()]
    handles += [Line2D([], [], color="#24292f", ls=style, lw=1.8) for style in STYLES.values()]
    axes.legend(handles, [*COLORS, *(f"{layer} layer" for layer in STYLES)], loc="center", frameon=False, fontsize=11)
