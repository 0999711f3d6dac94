"""Plots as inline SVG. Text has the same size at any width of the page, since x is in percent and y in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

CHARACTER = 7.2  # upper estimate of the average width of a character, in the page's 13 pixel labels
LABEL = 16  # pixels between two lines of text
Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """Maps values to fractions of an axis. `low` may be larger than `high`."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[float], log: bool = False) -> Scale:
        """Return a scale that spans the values with a margin."""
        positions = [math.log10(v) if log else v for v in values]
        low, high = min(positions), max(positions)
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
        low, high = low - margin, high + margin
        return cls(10**low, 10**high, True) if log else cls(low, high)

    def fraction(self, value: float) -> float:
        """Return the fraction of the axis at a value."""
        low, high, position = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return (position - low) / (high - low)

    def ticks(self, most: int = 5) -> list[float]:
        """Return at most `most` round values on the axis; powers of ten on a long logarithmic axis."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            for digits in ((1, 2, 5), (1, 3), (1,)):
                ticks = [m * 10.0**e for e in range(first, last + 1) for m in digits]
                ticks = [v for v in ticks if self.low <= v <= self.high]
                if 1 < len(ticks) <= most:
                    return ticks
            if len(ticks) > most:
                return ticks[:: math.ceil(len(ticks) / most)]
        unit = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        step = next(unit * m for m in (1, 2, 5, 10) if unit * m * most >= self.high - self.low)
        return [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def rows_scale(count: int) -> Scale:
    """Return an axis of `count` rows; row 0 is at the top."""
    return Scale(count - 0.5, -0.5)


def number(value: float) -> str:
    """Return the label of a tick."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e7):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def label_width(labels: Iterable[str]) -> int:
    """Return the width in pixels of the longest label."""
    return round(14 + CHARACTER * max(map(len, labels), default=0))


class Plot:
    """A pair of axes and the elements drawn in them.

    Args:
        x, y: the scales.
        height: the height of the plotting area, in pixels.
        left, right, top, bottom: margins for labels, in pixels.
    """

    def __init__(
        self, x: Scale, y: Scale, height: int, left: int = 48, right: int = 16, top: int = 12, bottom: int = 46
    ) -> None:
        self.x, self.y, self.height = x, y, height
        self.style = (
            f"height:{height}px;width:calc(100% - {left + right}px);margin:{top}px {right}px {bottom}px {left}px"
        )
        self.left = left
        self.parts: list[str] = []

    def across(self, value: float) -> str:
        """Return the x position of a value, in percent."""
        return f"{100 * self.x.fraction(value):.2f}%"

    def down(self, value: float) -> float:
        """Return the y position of a value, in pixels from the top."""
        return round((1 - self.y.fraction(value)) * self.height, 1)

    def x_axis(self, name: str, ticks: Sequence[float] | None = None) -> None:
        """Draw ticks with vertical lines, and the name of the axis."""
        for value in self.x.ticks() if ticks is None else ticks:
            x = self.across(value)
            self.parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{self.height}"/>')
            self.text(x, self.height + 17, number(value), "middle", "soft")
        self.text("50%", self.height + 37, name, "middle", "soft")

    def y_axis(self, ticks: Sequence[float] | None = None) -> None:
        """Draw ticks with horizontal lines."""
        for value in self.y.ticks() if ticks is None else ticks:
            y = self.down(value)
            self.parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
            self.text(-8, y + 4, number(value), "end", "soft")

    def row_names(self, names: Sequence[str]) -> None:
        """Write the name of each row at the left."""
        for i, name in enumerate(names):
            self.text(-self.left, self.down(i) + 4, name, "start")

    def text(self, x: str | float, y: float, label: str, anchor: str = "start", style: str = "", dx: int = 0) -> None:
        """Write text at (x, y), `dx` pixels further right."""
        shift = f' dx="{dx}"' if dx else ""
        kind = f' class="{style}"' if style else ""
        self.parts.append(f'<text x="{x}" y="{y}"{shift} text-anchor="{anchor}"{kind}>{escape(label)}</text>')

    def line(self, points: Sequence[Point], color: str, style: str = "") -> None:
        """Draw a line through the points; `style` is a CSS class of the page, such as `dashed`."""
        path = " ".join(f"{100 * self.x.fraction(x):.2f},{self.down(y)}" for x, y in points)
        self.parts.append(
            f'<svg class="stretched" width="100%" height="{self.height}" viewBox="0 0 100 {self.height}"'
            f' preserveAspectRatio="none"><polyline class="{style}" style="stroke:{color}" points="{path}"/></svg>'
        )

    def level(self, value: float, color: str, style: str = "dashed", label: str = "") -> None:
        """Draw a horizontal line at a value of y."""
        y = self.down(value)
        self.parts.append(f'<line class="{style}" style="stroke:{color}" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        if label:
            self.text(4, y - 6, label, style="soft")

    def mark(self, x: float, y: float, name: str, style: str = "") -> None:
        """Draw a contender's marker."""
        kind = f' class="{style}"' if style else ""
        self.parts.append(f'<use href="#mark-{escape(name)}" x="{self.across(x)}" y="{self.down(y)}"{kind}/>')

    def bar(self, row: int, low: float, high: float, thickness: float, fill: str) -> None:
        """Draw a horizontal bar in a row."""
        y, width = self.down(row) - thickness / 2, 100 * (self.x.fraction(high) - self.x.fraction(low))
        self.parts.append(
            f'<rect x="{self.across(low)}" y="{y:.1f}" width="{width:.2f}%" height="{thickness}" style="fill:{fill}"/>'
        )

    def upright(self, x: float, row: int, length: float, color: str = "var(--ink)") -> None:
        """Draw a short vertical line in a row, for example for a median."""
        position, y = self.across(x), self.down(row)
        self.parts.append(
            f'<line style="stroke:{color}" class="median" x1="{position}" x2="{position}" y1="{y - length / 2}"'
            f' y2="{y + length / 2}"/>'
        )

    def line_titles(self, ends: Mapping[str, float], titles: Mapping[str, str]) -> None:
        """Write contenders' markers and titles at the right end of their lines, without overlap.

        Args:
            ends: the y value of each line's end.
            titles: the title of each contender.
        """
        for y, name in spread([(self.down(value), name) for name, value in ends.items()]):
            self.parts.append(f'<use href="#mark-{escape(name)}" x="100%" y="{y:.1f}" transform="translate(12 0)"/>')
            self.text("100%", y + 4, titles[name], dx=22)

    def svg(self, name: str, title: str, description: str) -> Markup:
        """Return the plot.

        Args:
            name: an id that is unique in the page.
            title: the plot's accessible name.
            description: the plot in words.
        """
        return Markup(
            f'<svg class="plot" role="img" aria-labelledby="{name}-title {name}-description" style="{self.style}">'
            f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-description">{escape(description)}</desc>'
            f"{''.join(self.parts)}</svg>"
        )


def spread(labels: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return (y, label) pairs, moved so that no two labels are closer than a line of text."""
    groups: list[list[tuple[float, str]]] = []

    def top(group: list[tuple[float, str]]) -> float:
        return sum(y for y, _ in group) / len(group) - LABEL * (len(group) - 1) / 2

    for label in sorted(labels):
        group = [label]
        while groups and top(group) < top(groups[-1]) + LABEL * len(groups[-1]):
            group = groups.pop() + group
        groups.append(group)
    return [(top(group) + LABEL * i, name) for group in groups for i, (_, name) in enumerate(group)]
