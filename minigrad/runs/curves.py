"""`curves.png`: loss, accuracy and learning rate, epoch by epoch, of one run or of several side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

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
ALONE = {"training": "#9a9a9a", "validation": "#1f6feb", "rate": "#24292f"}
# Okabe and Ito's, which colour-blind eyes tell apart, and four more; with nine markers, 90 runs differ.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#000000", "#8c5a2b", "#332288")
MARKERS = "os^DvP<X>"
LETTERS = 48  # of a run's name, at most
MARKED = 12  # points of a line: those of many epochs would clot
# Each format with what leaves the date out, so that the same histories give the same bytes.
FORMATS: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def draw(path: Path, history: list[Epoch], title: str) -> None:
    """Draw one run: training grey, validation blue."""
    draw_runs(path, {title: history}, title)


def draw_runs(path: Path, runs: Mapping[str, list[Epoch]], title: str = "") -> None:
    """Draw runs by their names: a colour each, training dashed, validation solid; one alone as `draw` does.

    The suffix of `path`, one of FORMATS, says which. Imports matplotlib only here, since it is slow to load.
    """
    import matplotlib

    figure = _figure(runs, title)
    with whole_file(path) as draft, matplotlib.rc_context({"svg.hashsalt": "curves"}):
        figure.savefig(draft, dpi=130, metadata=FORMATS[path.suffix.lower()])


def _figure(runs: Mapping[str, list[Epoch]], title: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(12, 3.8), layout=ConstrainedLayoutEngine(w_pad=0.1))
    figure.suptitle(title, fontsize=11, parse_math=False)
    last = max((e.epoch for history in runs.values() for e in history), default=1)
    pad, kinds = max(0.5, 0.04 * last), set()
    for axes, (label, columns) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        axes.set(xlabel="epoch", ylabel=label, xlim=(1 - pad, last + pad))
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
            found = [[rate for _, rate in _points(history, "learning_rate")] for history in runs.values()]
            _scale_rates(axes, [rates for rates in found if rates])
        elif label == "accuracy (%)":
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, 0), min(high, 100))  # there is no 102 %
        _widen(axes)
    _add_legend(figure, list(runs), sorted(kinds - {"rate"}), last)
    return figure


def _points(history: list[Epoch], column: str) -> list[tuple[int, float]]:
    """(epoch, value) of those that have one; accuracies in percent."""
    scale = 100 if column.endswith("accuracy") else 1
    values = [(e.epoch, getattr(e, column)) for e in history]
    return [(epoch, scale * value) for epoch, value in values if value is not None and math.isfinite(value)]


def _style(kind: str, i: int, runs: int, epochs: int) -> dict[str, Any]:
    """How a line of run `i` of `runs` is drawn, through so many epochs."""
    style: dict[str, Any] = {"lw": 1.5, "clip_on": False}  # a marker at 100 % is drawn whole
    if runs == 1:
        return {**style, "color": ALONE[kind], "marker": "o" if epochs <= 2 * MARKED else "", "ms": 3.5}
    style |= {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)], "ms": 5}
    style["markevery"] = -(-epochs // MARKED)
    return {**style, "color": _lighter(style["color"]), "ls": "--", "mfc": "white"} if kind == "training" else style


def _lighter(color: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple(0.5 + 0.5 * part for part in to_rgb(color))


def _scale_rates(axes: Axes, rates: Sequence[Sequence[float]]) -> None:
    """From zero; or by a logarithm, where the rates of one run or of several lie more than a decade apart.

    Not where one is zero, nor where a run alone takes more than five decades:
    the end of a one-cycle schedule is as good as zero, and would take all the room.
    """
    tops = [max(each) for each in rates]
    low, high = min(min(each) for each in rates), max(tops)
    if low > 0 and (1.1 < math.log10(high) - math.log10(low) < 5.1 or math.log10(high) - math.log10(min(tops)) > 1.1):
        axes.set_yscale("log")
    else:
        axes.margins(y=0.1)
        axes.set_ylim(bottom=min(0, low))


def _widen(axes: Axes) -> None:
    """Widen each line by every later one that lies on it, so that it can be seen below."""
    axes.get_ylim()  # settles where the lines lie
    drawn = [axes.transData.transform(line.get_xydata()) for line in axes.lines]
    heights = [{round(x): y for x, y in points} for points in drawn]  # pixels
    above = [sum(_lie_together(own, other) for other in heights[i + 1 :]) for i, own in enumerate(heights)]
    step = min(1.6, 8 / max([1, *above]))  # points
    for line, count in zip(axes.lines, above, strict=True):
        more = step * count
        line.set(linewidth=line.get_linewidth() + more, markersize=line.get_markersize() + more)


def _lie_together(one: dict[int, float], other: dict[int, float]) -> bool:
    gaps = [abs(one[x] - other[x]) for x in one.keys() & other.keys()]
    return bool(gaps) and median(gaps) < 1.5


def _add_legend(figure: Figure, names: Sequence[str], kinds: Sequence[str], epochs: int) -> None:
    """One for all panels, below them: each run once, then what is dashed and solid."""
    from matplotlib.lines import Line2D

    runs = len(names)
    if runs == 1:
        entries = [(kind, _style(kind, 0, 1, epochs)) for kind in kinds]
    else:
        entries = [(_shorten(name), _style("validation", i, runs, 1)) for i, name in enumerate(names)]
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
        text.set(text=name, parse_math=False)  # here, since a label may not begin with "_"


def _shorten(name: str) -> str:
    """A name of at most LETTERS letters: its two ends."""
    return name if len(name) <= LETTERS else f"{name[: LETTERS // 2]}…{name[1 - LETTERS // 2 :]}"
