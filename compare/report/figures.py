"""The PNG files, from the charts of the page: comparison.png, the answer at a glance, and crossover.png, the width sweep."""

from __future__ import annotations

import textwrap
from pathlib import Path

import altair as alt

from ..results import schema
from ..results.schema import Results
from . import charts, plots, ratios, sweep_charts, text, theme

WIDTH = 820  # pixels; the PNG has twice as many
HALF = WIDTH // 2 - 90  # without the labels at the left


def draw(path: Path, results: Results) -> None:
    """Draw comparison.png: the answer, ratios, agreement and accuracy; only the agreement if nothing was timed."""
    parity, titles = results["parity"], text.parity_titles(results)
    assert parity is not None
    parts: list[alt.Chart | alt.LayerChart | alt.HConcatChart] = []
    if (ratio := charts.ratio(results, WIDTH - 90)) is not None:
        parts.append(ratio)
    height = max(150, plots.ROW * len(ratios.timed(results, "closed")))
    panels = [
        panel.properties(title=heading, height=height, width=HALF)
        for heading, panel in charts.agreement(parity, titles)
    ]
    if ratios.timed(results, "closed"):
        panels = [*panels[:1], charts.accuracy(results, HALF).properties(title="test accuracy")]
    if panels:
        parts.append(alt.hconcat(*panels, spacing=40))
    heading = alt.TitleParams(text=textwrap.wrap(text.answer(results), 105), offset=16)
    theme.draw(path, alt.vconcat(*parts, spacing=28).properties(title=heading) if parts else _empty(heading))


def _empty(heading: alt.TitleParams) -> alt.Chart:
    """Return a chart of the heading alone."""
    return alt.Chart(alt.Data(values=[{}])).mark_point(opacity=0).properties(title=heading, width=WIDTH, height=10)


def draw_crossover(path: Path, results: Results) -> None:
    """Draw crossover.png: the time of a step by hidden width, one panel per batch size."""
    sweep = results.get("sweep")
    assert sweep
    panels = sweep_charts.by_width(sweep, schema.titles(results))
    shown = [panel.properties(title=heading, width=max(300, WIDTH / len(panels))) for heading, panel in panels]
    theme.draw(path, alt.hconcat(*shown, spacing=40), legend=True)
