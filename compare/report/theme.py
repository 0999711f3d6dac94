"""The colors of the page and its charts, and each contender's color and shape.

A chart refers to a color as `var(--NAME)`. In the page, the style sheet gives it
the value of the light or the dark theme; a PNG has the value of the light one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import altair as alt
from markupsafe import Markup

from minigrad.runs import whole_file

# Name: value in the light and in the dark theme.
COLORS = {
    "ink": ("#1f2226", "#e4e2de"),
    "paper": ("#fdfcfa", "#17191c"),
    "soft": ("#5d6268", "#a3a8ae"),
    "line": ("#dedad3", "#35383d"),
    "accent": ("#2b5d92", "#86b5e4"),
    "raised": ("#f5f3ef", "#1f2226"),
    "band": ("#e9e4da", "#2a2d31"),
    "faster": ("#d9ebf7", "#1d3a52"),
    "slower": ("#f8e3d3", "#4d321f"),
    "products": ("#2b5d92", "#5b94cf"),
    "overhead": ("#d98b3a", "#e0a05e"),
    "rest": ("#c9c4ba", "#5c6066"),
}
# Colors that people with a color vision deficiency distinguish (Okabe and Ito, 2008), darker where text needs contrast;
# and one shape per contender, an SVG path from -1 to 1.
CONTENDERS = {
    "minigrad": ("#ad3405", "#f08a4b", "M-1,0A1,1 0 1,1 1,0A1,1 0 1,1 -1,0Z"),  # disc
    "by_hand": ("#bd8700", "#e0b23c", "M-.9,-.9L.9,-.9L.9,.9L-.9,.9Z"),  # square
    "torch": ("#0068a8", "#5aaee8", "M0,-1L1,.8L-1,.8Z"),  # triangle, up
    "lightning": ("#c05a97", "#e296c3", "M0,-1.2L1,0L0,1.2L-1,0Z"),  # diamond
    "keras": ("#006b50", "#3fc79c", "M0,1L1,-.8L-1,-.8Z"),  # triangle, down
    "jax": (
        "#4c4f54",
        "#c3c7cc",
        "M-.35,-1L.35,-1L.35,-.35L1,-.35L1,.35L.35,.35L.35,1L-.35,1L-.35,.35L-1,.35L-1,-.35L-.35,-.35Z",
    ),
    "keras_jax": ("#2f93c7", "#8fd0f0", "M1,0L-.8,-1L-.8,1Z"),  # triangle, right
    "keras_torch": ("#7d5c3c", "#c9a27a", "M-1,0L.8,-1L.8,1Z"),  # triangle, left
    "torch_gpu": (
        "#0b3f66",
        "#a9d1f7",
        "M0,-1L.22,-.31L.95,-.31L.36,.12L.59,.81L0,.38L-.59,.81L-.36,.12L-.95,-.31L-.22,-.31Z",
    ),
    "lightning_gpu": ("#6b2a50", "#f5c6e0", "M-.8,-.9L.8,-.9L-.8,.9L.8,.9Z"),  # hourglass
    "keras_gpu": ("#064a38", "#93e3c6", "M-.9,-.8L-.9,.8L.9,-.8L.9,.8Z"),  # bow tie
    "jax_gpu": (
        "#000000",
        "#ffffff",
        "M-.9,-.5L-.5,-.9L0,-.4L.5,-.9L.9,-.5L.4,0L.9,.5L.5,.9L0,.4L-.5,.9L-.9,.5L-.4,0Z",
    ),
}
OTHER = ("#666b70", "#a3a9b0", "M-1,-.5L1,-.5L1,.5L-1,.5Z")  # bar

_TEXT = {"labelColor": "var(--soft)", "titleColor": "var(--soft)", "labelFontSize": 12, "titleFontSize": 12}
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, 'Liberation Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {**_TEXT, "titleFontWeight": "normal", "gridColor": "var(--line)", "domain": False, "ticks": False,
             "labelPadding": 6, "titlePadding": 8},
    "axisY": {"labelColor": "var(--ink)", "labelFontSize": 13},
    "legend": {"labelColor": "var(--ink)", "labelFontSize": 13, "title": None, "symbolSize": 80, "orient": "top",
               "columnPadding": 14, "labelLimit": 0},
    "title": {"color": "var(--ink)", "subtitleColor": "var(--soft)", "anchor": "start", "fontSize": 15,
              "subtitleFontSize": 13, "fontWeight": 600},
    "text": {"fill": "var(--ink)", "fontSize": 13},
    "rule": {"stroke": "var(--soft)"},
}  # fmt: skip


def variables(names: Iterable[str], dark: bool) -> Markup:
    """Return the declarations of all colors for the page's :root; `names` are contenders."""
    colors = {name: pair[dark] for name, pair in COLORS.items()}
    colors |= {f"contender-{name}": CONTENDERS.get(name, OTHER)[int(dark)] for name in names}
    return Markup("").join(Markup("--{}: {}; ").format(name, value) for name, value in colors.items())


def color(name: str) -> str:
    """Return a contender's color."""
    return f"var(--contender-{name})"


def shape(name: str) -> str:
    """Return a contender's shape."""
    return CONTENDERS.get(name, OTHER)[2]


def spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """Return a chart of the page as a Vega-Lite specification with this theme. The page has its own legends."""
    config = {**CONFIG, "legend": {"disable": True}}
    return {**chart.to_dict(validate=False), "config": config, "autosize": {"type": "fit-x", "contains": "padding"}}  # type: ignore[attr-defined]


def draw(path: Path, chart: alt.TopLevelMixin, legend: bool = False) -> None:
    """Write a chart as a PNG in the light theme, completely or not at all."""
    import vl_convert

    def value(match: re.Match[str]) -> str:
        name = match[1].removeprefix("contender-")
        return (CONTENDERS.get(name, OTHER) if name != match[1] else COLORS[name])[0]

    config = CONFIG if legend else {**CONFIG, "legend": {"disable": True}}
    text = re.sub(
        r"var\(--([\w-]+)\)",
        value,
        json.dumps({**chart.to_dict(validate=False), "config": config, "background": "white", "padding": 16}),
    )
    with whole_file(path) as draft:
        draft.write_bytes(vl_convert.vegalite_to_png(text, scale=2))
