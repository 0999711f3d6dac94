"""Draws `curves.png`: loss, accuracy and learning rate per epoch, for one run or for several runs together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .errors import printable
from .files import whole_file
from .history import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = (
    ("loss (nats)", {"training": "train_loss", "validation": "val_loss"}),
    ("accuracy (%)", {"training": "train_accuracy", "validation": "val_accuracy"}),
    ("learning rate", {"rate": "learning_rate"}),
)
SINGLE_RUN_COLORS = {"training": "#9a9a9a", "validation": "#1f6feb", "rate": "#24292f"}
# Seven colors of Okabe and Ito, which are safe for color-blind readers, and three more. With nine markers, the lines of
# 90 runs are different.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#000000", "#8c5a2b", "#332288")
MARKERS = "os^DvP<X>"
MAX_NAME_LENGTH = 48  # characters of a run's name in the legend
MAX_MARKERS = 12  # per line
# The metadata that omits the date in each format, so that the same histories produce the same bytes.
FORMATS: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def draw(path: Path, history: list[Epoch], title: str) -> None:
    """Draw the curves of one run, training in gray and validation in blue.

    Args:
        path: the file to write; its suffix, one of `FORMATS`, selects the format.
        history: the epochs of the run.
        title: the title above the panels.
    """
    draw_runs(path, {title: history}, title)


def draw_runs(path: Path, runs: Mapping[str, list[Epoch]], title: str = "") -> None:
    """Draw the curves of several runs, one color per run, training dashed and validation solid.

    A single run is drawn as by `draw`.

    Args:
        path: the file to write; its suffix, one of `FORMATS`, selects the format.
        runs: the epochs of each run by the run's name.
        title: the title above the panels; empty by default.
    """
    import matplotlib  # slow to import

    figure = _figure(runs, title)
    with (
        whole_file(path) as draft,
        matplotlib.rc_context({"svg.hashsalt": "curves"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # in the name of a run
        figure.savefig(draft, dpi=130, metadata=FORMATS[path.suffix.lower()])


def _figure(runs: Mapping[str, list[Epoch]], title: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(12, 3.8), layout=ConstrainedLayoutEngine(w_pad=0.1))
    figure.suptitle(title, fontsize=11, parse_math=False)
    last_epoch = max((e.epoch for history in runs.values() for e in history), default=1)
    pad, kinds = max(0.5, 0.04 * last_epoch), set()
    for axes, (label, columns) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        axes.set(xlabel="epoch", ylabel=label, xlim=(1 - pad, last_epoch + pad))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        for kind, column in columns.items():
            for i, history in enumerate(runs.values()):
                if points := _points(history, column):
                    axes.plot(*zip(*points, strict=True), **_style(kind, i, len(runs), len(points)))
                    kinds.add(kind)
        if label == "learning rate" and axes.lines:
            rates = [[rate for _, rate in _points(history, "learning_rate")] for history in runs.values()]
            _scale_rates(axes, [rates_of_run for rates_of_run in rates if rates_of_run])
        elif label == "accuracy (%)":
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, 0), min(high, 100))
        _widen(axes)
    _add_legend(figure, list(runs), sorted(kinds - {"rate"}), last_epoch)
    return figure


def _points(history: list[Epoch], column: str) -> list[tuple[int, float]]:
    """Return (epoch, value) for each epoch with a finite value; accuracies in percent."""
    scale = 100 if column.endswith("accuracy") else 1
    values = [(e.epoch, getattr(e, column)) for e in history]
    return [(epoch, scale * value) for epoch, value in values if value is not None and math.isfinite(value)]


def _style(kind: str, i: int, runs: int, epochs: int) -> dict[str, Any]:
    """Return the line properties for run `i` of `runs`, which has `epochs` points."""
    style: dict[str, Any] = {"lw": 1.5, "clip_on": False}  # do not cut off markers at 100 %
    if runs == 1:
        return {
            **style,
            "color": SINGLE_RUN_COLORS[kind],
            "marker": "o" if epochs <= 2 * MAX_MARKERS else "",
            "ms": 3.5,
        }
    style |= {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)], "ms": 5}
    style["markevery"] = -(-epochs // MAX_MARKERS)
    return {**style, "color": _lighter(style["color"]), "ls": "--", "mfc": "white"} if kind == "training" else style


def _lighter(color: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(0.5 + 0.5 * channel for channel in to_rgb(color))


def _scale_rates(axes: Axes, rates: Sequence[Sequence[float]]) -> None:
    """Choose the scale of the learning rates: linear from 0, or logarithmic if they span more than a decade.

    The scale stays linear if a rate is 0, or if the rates of similar runs span
    more than five decades: a one-cycle schedule ends near 0, and on a
    logarithmic scale that end would fill the panel.

    Args:
        axes: the panel.
        rates: the learning rates of each run.
    """
    maxima = [max(rates_of_run) for rates_of_run in rates]
    low, high = min(min(rates_of_run) for rates_of_run in rates), max(maxima)
    decades, decades_between_runs = (math.log10(high / x) if x > 0 else math.inf for x in (low, min(maxima)))
    if low > 0 and (1.1 < decades < 5.1 or decades_between_runs > 1.1):
        axes.set_yscale("log")
    else:
        axes.margins(y=0.1)
        axes.set_ylim(bottom=min(0, low))


def _widen(axes: Axes) -> None:
    """Widen each line for every later line that covers it, so that its edges remain visible."""
    axes.get_ylim()  # computes the limits of the axes, on which `transData` depends
    points_of_lines = [axes.transData.transform(line.get_xydata()) for line in axes.lines]
    heights = [{round(x): y for x, y in points} for points in points_of_lines]  # pixels
    covers = [sum(_coincide(line, later) for later in heights[i + 1 :]) for i, line in enumerate(heights)]
    step = min(1.6, 8 / max([1, *covers]))  # points
    for line, count in zip(axes.lines, covers, strict=True):
        line.set(linewidth=line.get_linewidth() + step * count, markersize=line.get_markersize() + step * count)


def _coincide(first: dict[int, float], second: dict[int, float]) -> bool:
    """Return whether two lines, as heights by horizontal positions, are about as close as a line is wide."""
    distances = [abs(first[x] - second[x]) for x in first.keys() & second.keys()]
    return bool(distances) and median(distances) < 1.5


def _add_legend(figure: Figure, names: Sequence[str], kinds: Sequence[str], epochs: int) -> None:
    """Add one legend below all panels: the runs, then the line styles of training and validation."""
    from matplotlib.lines import Line2D

    runs = len(names)
    if runs == 1:
        entries = [(kind, _style(kind, 0, 1, epochs)) for kind in kinds]
    else:
        entries = [(_shorten(printable(name)), _style("validation", i, runs, 1)) for i, name in enumerate(names)]
        black = COLORS.index("#000000")
        entries += [(kind, {**_style(kind, black, runs, 1), "marker": "o"}) for kind in kinds]
    if not entries:
        return
    width = 0.6 + 0.08 * max(len(text) for text, _ in entries)  # inches
    columns = max(1, min(len(entries), int(figure.get_figwidth() / width)))
    figure.set_figheight(figure.get_figheight() + 0.2 * (-(-len(entries) // columns) - 1))
    lines = [Line2D([], [], **style) for _, style in entries]
    legend = figure.legend(
        lines, ["-"] * len(lines), loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )
    for text, (name, _) in zip(legend.get_texts(), entries, strict=True):
        text.set(text=name, parse_math=False)  # set here, because matplotlib omits labels that begin with "_"


def _shorten(name: str) -> str:
    """Shorten a name to MAX_NAME_LENGTH characters by removing its middle."""
    return (
        name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH // 2]}…{name[1 - MAX_NAME_LENGTH // 2 :]}"
    )
