"""Plots as inline SVG. Their text keeps its size at any width, since x is in percent and y in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

CHARACTER = 7.2  # pixels that one takes at most, on average, in the page's 13 pixel labels
LABEL = 16  # pixels from one line of text to the next
Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """From values to fractions of an axis; `low` may be the larger."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, values: Iterable[float], log: bool = False) -> Scale:
        """A little more than the values span."""
        found = [math.log10(v) if log else v for v in values]
        low, high = min(found), max(found)
        room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
        low, high = low - room, high + room
        return cls(10**low, 10**high, True) if log else cls(low, high)

    def place(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values within, `most` at most: of a long logarithmic axis powers of ten."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            for digits in ((1, 2, 5), (1, 3), (1,)):
                found = [m * 10.0**e for e in range(first, last + 1) for m in digits]
                found = [v for v in found if self.low <= v <= self.high]
                if 1 < len(found) <= most:
                    return found
            if len(found) > most:
                return found[:: math.ceil(len(found) / most)]
        unit = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        step = next(unit * m for m in (1, 2, 5, 10) if unit * m * most >= self.high - self.low)
        return [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def rows(count: int) -> Scale:
    """An axis of `count` rows, the first, 0, on top."""
    return Scale(count - 0.5, -0.5)


def number(value: float) -> str:
    """A tick's label."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e7):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def room(labels: Iterable[str]) -> int:
    """Pixels for the longest of these labels."""
    return round(14 + CHARACTER * max(map(len, labels), default=0))


class Plot:
    """One pair of axes.

    Args:
        x, y: the scales.
        height: of the field between the axes, in pixels.
        left, right, top, bottom: room for labels around it, in pixels.
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
        return f"{100 * self.x.place(value):.2f}%"

    def down(self, value: float) -> float:
        return round((1 - self.y.place(value)) * self.height, 1)

    def x_axis(self, name: str, ticks: Sequence[float] | None = None) -> None:
        """Ticks with upright lines, and under them what they measure."""
        for value in self.x.ticks() if ticks is None else ticks:
            at = self.across(value)
            self.parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="0" y2="{self.height}"/>')
            self.text(at, self.height + 17, number(value), "middle", "soft")
        self.text("50%", self.height + 37, name, "middle", "soft")

    def y_axis(self, ticks: Sequence[float] | None = None) -> None:
        for value in self.y.ticks() if ticks is None else ticks:
            y = self.down(value)
            self.parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
            self.text(-8, y + 4, number(value), "end", "soft")

    def row_names(self, names: Sequence[str]) -> None:
        for i, name in enumerate(names):
            self.text(-self.left, self.down(i) + 4, name, "start")

    def text(self, x: str | float, y: float, words: str, anchor: str = "start", style: str = "", dx: int = 0) -> None:
        shift = f' dx="{dx}"' if dx else ""
        kind = f' class="{style}"' if style else ""
        self.parts.append(f'<text x="{x}" y="{y}"{shift} text-anchor="{anchor}"{kind}>{escape(words)}</text>')

    def line(self, points: Sequence[Point], color: str, style: str = "") -> None:
        """A line through (x, y); `style` is one of the page's classes, such as `dashed`."""
        path = " ".join(f"{100 * self.x.place(x):.2f},{self.down(y)}" for x, y in points)
        self.parts.append(
            f'<svg class="stretched" width="100%" height="{self.height}" viewBox="0 0 100 {self.height}"'
            f' preserveAspectRatio="none"><polyline class="{style}" style="stroke:{color}" points="{path}"/></svg>'
        )

    def level(self, value: float, color: str, style: str = "dashed", words: str = "") -> None:
        """A line across at a value of y."""
        y = self.down(value)
        self.parts.append(f'<line class="{style}" style="stroke:{color}" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        if words:
            self.text(4, y - 6, words, style="soft")

    def mark(self, x: float, y: float, name: str, style: str = "") -> None:
        """A contender's sign."""
        kind = f' class="{style}"' if style else ""
        self.parts.append(f'<use href="#mark-{escape(name)}" x="{self.across(x)}" y="{self.down(y)}"{kind}/>')

    def bar(self, row: int, low: float, high: float, thickness: float, fill: str) -> None:
        """A bar along x in a row."""
        y, width = self.down(row) - thickness / 2, 100 * (self.x.place(high) - self.x.place(low))
        self.parts.append(
            f'<rect x="{self.across(low)}" y="{y:.1f}" width="{width:.2f}%" height="{thickness}" style="fill:{fill}"/>'
        )

    def upright(self, x: float, row: int, length: float, color: str = "var(--ink)") -> None:
        """A short upright line in a row, as for a median."""
        at, y = self.across(x), self.down(row)
        self.parts.append(
            f'<line style="stroke:{color}" class="median" x1="{at}" x2="{at}" y1="{y - length / 2}" y2="{y + length / 2}"/>'
        )

    def beside(self, ends: Mapping[str, float], titles: Mapping[str, str]) -> None:
        """Contenders' signs and titles right of their lines, which end at these y, moved apart where they would touch."""
        for y, name in apart([(self.down(value), name) for name, value in ends.items()]):
            self.parts.append(f'<use href="#mark-{escape(name)}" x="100%" y="{y:.1f}" transform="translate(12 0)"/>')
            self.text("100%", y + 4, titles[name], dx=22)

    def svg(self, name: str, title: str, description: str) -> Markup:
        """The whole; `name` is of this plot alone in the page."""
        return Markup(
            f'<svg class="plot" role="img" aria-labelledby="{name}-title {name}-words" style="{self.style}">'
            f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-words">{escape(description)}</desc>'
            f"{''.join(self.parts)}</svg>"
        )


def apart(labels: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Labels at y, no two closer than a line of text; those that would touch are spread around their middle."""
    groups: list[list[tuple[float, str]]] = []

    def top(group: list[tuple[float, str]]) -> float:
        return sum(y for y, _ in group) / len(group) - LABEL * (len(group) - 1) / 2

    for label in sorted(labels):
        group = [label]
        while groups and top(group) < top(groups[-1]) + LABEL * len(groups[-1]):
            group = groups.pop() + group
        groups.append(group)
    return [(top(group) + LABEL * i, name) for group in groups for i, (_, name) in enumerate(group)]
