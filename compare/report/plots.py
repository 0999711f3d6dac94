"""Parts that the charts share: encodings by contender, one row per contender, and values on hover."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import altair as alt

from . import theme

Rows = Sequence[Mapping[str, Any]]
Records = list[dict[str, Any]]
ROW, HEIGHT = 27, 240  # pixels
WIDE: Any = "container"  # as wide as the page


def chart(rows: Rows) -> alt.Chart:
    """Return a chart of these rows. The key `contender` of a row is its contender's title."""
    return alt.Chart(alt.Data(values=list(rows)))


def layered(*layers: alt.Chart, height: int, width: Any = WIDE) -> alt.LayerChart:
    """Return a chart of layers, with its size in pixels."""
    return cast(alt.LayerChart, alt.layer(*layers).properties(height=height, width=width))


def color(titles: Mapping[str, str]) -> alt.Color:
    """Return the color of the contenders; `titles` by name."""
    return alt.Color(
        "contender:N", scale=alt.Scale(domain=list(titles.values()), range=[theme.color(name) for name in titles])
    )


def shape(titles: Mapping[str, str]) -> alt.Shape:
    """Return the shape of the contenders; `titles` by name."""
    return alt.Shape(
        "contender:N", scale=alt.Scale(domain=list(titles.values()), range=[theme.shape(name) for name in titles])
    )


def rows_axis(labels: Sequence[str]) -> alt.Y:
    """Return the axis with one row per contender, in this order."""
    axis = alt.Axis(grid=False, title=None, labelLimit=180, labelPadding=8)
    return alt.Y("contender:N", sort=list(labels), axis=axis, scale=alt.Scale(domain=list(labels)))


def hover_rows(rows: Rows, y: alt.Y, tooltip: Sequence[alt.Tooltip]) -> alt.Chart:
    """Return an invisible layer that shows the values of a row wherever the pointer is in it."""
    return chart(rows).mark_rect(opacity=0).encode(y=y, tooltip=list(tooltip))


def hover_columns(
    lines: Mapping[str, Mapping[int, float]], titles: Mapping[str, str], x: alt.X, title: str, form: str
) -> alt.Chart:
    """Return an invisible layer that shows all values at the x position of the pointer.

    Args:
        lines: y by x, by contender.
        titles: titles by contender.
        x: the axis, whose field is `x`.
        title: its title.
        form: format of the values.
    """
    positions = sorted({x for line in lines.values() for x in line})
    rows = [{"x": x, **{name: line[x] for name, line in lines.items() if x in line}} for x in positions]
    tooltip = [alt.Tooltip("x:Q", title=title, format=",")]
    tooltip += [alt.Tooltip(f"{name}:Q", title=titles[name], format=form) for name in lines]
    return chart(rows).mark_rule(strokeWidth=24, opacity=0).encode(x=x, tooltip=tooltip)


def number(key: str, title: str, form: str = ",.4~r") -> alt.Tooltip:
    """Return a number of the tooltip."""
    return alt.Tooltip(f"{key}:Q", title=title, format=form)


def words(key: str, title: str) -> alt.Tooltip:
    """Return a text of the tooltip."""
    return alt.Tooltip(f"{key}:N", title=title)


def room(labels: Iterable[str], width: Any = WIDE) -> list[Any]:
    """Return the range of a horizontal scale that leaves room for the longest of these labels at its right."""
    pixels = round(22 + 7.5 * max(map(len, labels), default=0))
    return [0, alt.expr(f"width - {pixels}") if width == WIDE else width - pixels]


def span(values: Iterable[float], margin: float = 0.08) -> alt.Scale:
    """Return a logarithmic scale over positive values with a margin; linear from 0 to twice the value if all are equal."""
    low, high = _ends(values)
    factor = (high / low) ** margin if high > low else 1.3
    return alt.Scale(type="log", domain=[low / factor, high * factor], nice=False)


def ticks(values: Iterable[float], most: int = 6) -> list[float]:
    """Return at most `most` round values for a logarithmic axis over positive values."""
    low, high = _ends(values)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        candidates = [float(f"{digit}e{e}") for e in range(first, last + 1) for digit in digits]
        inside = [value for value in candidates if low * 0.8 <= value <= high * 1.25]
        if len(inside) <= most:
            return inside
    return inside[:: math.ceil(len(inside) / most)]


def _ends(values: Iterable[float]) -> tuple[float, float]:
    positive = [value for value in values if value > 0]
    return (min(positive), max(positive)) if positive else (1.0, 10.0)
