"""The plots of operations: the value and its gradient along one variable t, and finite differences to compare with."""

from __future__ import annotations

import functools
import html
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

import numpy as np

from minigrad import Tensor, ops

STEP = 1e-5  # of the central differences
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 440, 250, 40, 10, 8, 24  # in the units of the picture


@dataclass(frozen=True)
class Plot:
    """What is plotted.

    Attributes:
        y: an expression whose value is one number.
        operands: the arrays in it, by name, as nested lists. One element is "t".
        low: the smallest t.
        high: the largest t.
        kinks: where the slope or the value jumps.
        poles: where the value is infinite.
        limits: the limits of the vertical axis; by default those of the curves.
    """

    y: str
    operands: dict[str, Any]
    low: float
    high: float
    kinks: tuple[float, ...] = ()
    poles: tuple[float, ...] = ()
    limits: tuple[float, float] | None = None

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Plot:
        """Read a plot from YAML: `y`, `range`, optionally `kinks`, `poles` and `limits`, and the operands."""
        rest = dict(entry)
        low, high = rest.pop("range")
        kinks, poles, limits = (tuple(rest.pop(key, ())) for key in ("kinks", "poles", "limits"))
        return cls(rest.pop("y"), rest, low, high, kinks, poles, limits or None)

    def value(self, t: float) -> float:
        """Compute y from plain arrays, without the tape."""
        return float(self._evaluate({name: np.array(_filled(x, t)) for name, x in self.operands.items()}))

    def value_and_gradient(self, t: float) -> tuple[float, float]:
        """Compute y and dy/dt with tensors and `backward`."""
        arrays: dict[str, Any] = {name: np.array(_filled(x, t)) for name, x in self.operands.items()}
        varied = next(name for name, x in self.operands.items() if "t" in _elements(x))
        arrays[varied] = Tensor(arrays[varied].astype(np.float64), requires_grad=True)
        y = self._evaluate(arrays)
        y.backward()
        position = list(_elements(self.operands[varied])).index("t")
        return y.item(), float(arrays[varied].grad.flat[position])

    def difference(self, t: float) -> float:
        """The slope at t by a central difference."""
        return (self.value(t + STEP) - self.value(t - STEP)) / (2 * STEP)

    def _evaluate(self, arrays: dict[str, Any]) -> Any:
        return eval(_compiled(self.y), {"ops": ops, "np": np, **arrays})


@dataclass(frozen=True)
class Kink:
    """The slopes on both sides of a kink, and what the engine returns there."""

    t: float
    gradient: float
    left: float
    right: float
    jumps: bool  # whether the value itself jumps


@dataclass(frozen=True)
class Curves:
    """The numbers of a plot.

    Attributes:
        segments: per part between kinks or poles, an array of rows (t, value, gradient).
        dots: rows (t, central difference), away from kinks and poles.
        kinks: the kinks.
        error: the largest difference between the gradient and the finite differences at the dots.
    """

    segments: list[np.ndarray]
    dots: np.ndarray
    kinks: list[Kink] = field(default_factory=list)
    error: float = 0.0


@functools.cache
def _compiled(expression: str) -> CodeType:
    return compile(expression, "<plot>", "eval")


def sample(plot: Plot, points: int = 81, dots: int = 15) -> Curves:
    """Compute the curves and the finite differences of a plot."""
    span = plot.high - plot.low
    breaks = sorted({plot.low, plot.high, *plot.kinks, *plot.poles})
    segments = []
    for start, stop in itertools.pairwise(breaks):
        first = start + _gap(plot, start)
        last = stop - _gap(plot, stop)
        count = max(2, round(points * (stop - start) / span))
        segments.append(np.array([(t, *plot.value_and_gradient(t)) for t in np.linspace(first, last, count).tolist()]))
    middles = plot.low + span * (np.arange(dots) + 0.5) / dots
    clear = [t for t in middles.tolist() if all(abs(t - x) > 0.02 * span for x in (*plot.kinks, *plot.poles))]
    rows = np.array([(t, plot.difference(t)) for t in clear]).reshape(-1, 2)
    errors = [abs(plot.value_and_gradient(t)[1] - slope) for t, slope in rows.tolist()]
    return Curves(segments, rows, [_kink(plot, t) for t in plot.kinks], max(errors, default=0.0))


def _gap(plot: Plot, t: float) -> float:
    """How far from t a curve ends: short of a pole, and just beside a kink."""
    return (plot.high - plot.low) * (1e-2 if t in plot.poles else 1e-9 if t in plot.kinks else 0)


def _kink(plot: Plot, t: float) -> Kink:
    near = 10 * STEP
    jumps = abs(plot.value(t + near) - plot.value(t - near)) > 0.01
    return Kink(t, plot.value_and_gradient(t)[1], plot.difference(t - near), plot.difference(t + near), jumps)


def _filled(x: Any, t: float) -> Any:
    """`x` with t instead of "t"."""
    return [_filled(item, t) for item in x] if isinstance(x, list) else t if x == "t" else x


def _elements(x: Any) -> Iterator[Any]:
    if isinstance(x, list):
        for item in x:
            yield from _elements(item)
    else:
        yield x


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    return [round(i * step, 10) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def number(x: float) -> str:
    """A number with at most 3 digits, without a negative zero."""
    return f"{x + 0.0 if abs(x) > 1e-9 else 0.0:.3g}"


def _limits(plot: Plot, curves: Curves) -> tuple[float, float]:
    if plot.limits:
        return plot.limits
    heights = np.concatenate([segment[:, 1:].ravel() for segment in curves.segments])
    low, high = float(heights.min()), float(heights.max())
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def svg(plot: Plot, curves: Curves, description: str, *, small: bool = False) -> str:
    """Return a plot as SVG. The style sheet of the site has its colors, for the light and the dark theme.

    Args:
        plot: the plot.
        curves: its numbers.
        description: what the plot shows, for readers who cannot see it.
        small: without labels and dots, for an overview.
    """
    low, high = _limits(plot, curves)
    left, right, top, bottom = (4, 4, 4, 4) if small else (LEFT, RIGHT, TOP, BOTTOM)
    width, height = WIDTH - left - right, HEIGHT - top - bottom

    def x(t: float) -> float:
        return (t - plot.low) / (plot.high - plot.low) * width

    def y(value: float) -> float:
        return (high - min(max(value, 2 * low - high), 2 * high - low)) / (high - low) * height

    # The inner picture cuts off what is outside the limits.
    lines = [
        f'<svg class="op-plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(description)}">',
        *([] if small else _axes(plot, (low, high), x, y)),
        f'<svg x="{left}" y="{top}" width="{width}" height="{height}">',
    ]
    if low < 0 < high:
        lines.append(f'<path class="zero" d="M0 {y(0):.1f}h{width}"/>')
    for column, name in ((2, "gradient"), (1, "value")):
        points = [[f"{x(row[0]):.1f} {y(row[column]):.1f}" for row in s.tolist()] for s in curves.segments]
        lines.append(f'<path class="{name}" d="{"".join("M" + "L".join(part) for part in points)}"/>')
    if not small:
        lines += [f'<circle class="dot" cx="{x(t):.1f}" cy="{y(d):.1f}" r="3.2"/>' for t, d in curves.dots.tolist()]
        lines += [f'<circle class="kink" cx="{x(k.t):.1f}" cy="{y(k.gradient):.1f}" r="4"/>' for k in curves.kinks]
    return "\n".join([*lines, "</svg>", "</svg>"])


def _axes(
    plot: Plot, limits: tuple[float, float], x: Callable[[float], float], y: Callable[[float], float]
) -> Iterator[str]:
    """The grid and the numbers along the axes."""
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    for t in ticks(plot.low, plot.high, 6):
        yield f'<path class="grid" d="M{LEFT + x(t):.1f} {TOP}v{height}"/>'
        yield f'<text x="{LEFT + x(t):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{number(t)}</text>'
    for value in ticks(*limits, 5):
        yield f'<path class="grid" d="M{LEFT} {TOP + y(value):.1f}h{width}"/>'
        yield f'<text x="{LEFT - 5}" y="{TOP + y(value) + 4:.1f}" text-anchor="end">{number(value)}</text>'
