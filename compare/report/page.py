"""report.html: a single file that needs no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from minigrad import recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import write_text

from .. import contenders
from ..results import schema, source_code
from ..results.schema import Results
from . import charts, images, pad, sweep_charts, sweep_text, tables, text, theme, training_charts

Networks = Mapping[str, Mapping[str, np.ndarray]]
Panels = list[tuple[str, Any]]


def write(path: Path, results: Results, recipe: Recipe, data: Dataset, networks: Networks) -> None:
    """Write the page, completely or not at all. All values in it are escaped.

    Args:
        path: the file.
        results: as in results.json. Parts that a stopped comparison, or one
            without agreement, lacks are left out.
        recipe: the recipe that was trained.
        data: the data set, of which test images are shown.
        networks: trained weights by contender, for the drawing pad.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    parity, titles = results["parity"], text.parity_titles(results)
    trained = schema.agreed(results) and bool(schema.measured(results))
    ratio = charts.ratio(results)
    panels = {
        "ratio": [("", ratio)] if ratio is not None else [],
        "agreement": charts.agreement(parity, titles) if parity else [],
        **(_panels(results) if trained else {}),
    }
    page = templates.get_template("report.html.jinja").render(
        results=results,
        text=text,
        theme=theme,
        titles=titles,
        raw=base64.b64encode(json.dumps(results, separators=(",", ":")).encode()).decode(),
        recipe=recipes.dump(recipe),
        panels=panels,
        legends=_legends(results, titles),
        specs={f"{name}-{i}": theme.spec(c) for name, shown in panels.items() for i, (_, c) in enumerate(shown)},
        vega=Markup(_vega()),
        agreement=tables.agreement(parity, titles) if parity else None,
        measured=_measured(results) if trained else None,
        digits=_digits(results, data, titles) if trained else None,
        pad=pad.payload(recipe, data, {titles[name]: weights for name, weights in networks.items()})
        if trained
        else None,
        programs=_programs(results) if trained else [],
    )
    write_text(path, page)


@cache
def _vega() -> str:
    """Return the library that draws the charts in the page: Vega, Vega-Lite and Vega-Embed, as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")


def _panels(results: Results) -> dict[str, Panels]:
    """Return the charts of the measurements: (heading, chart) pairs by name."""
    sweep, titles = results.get("sweep"), schema.titles(results)
    return {
        "rounds": [("", training_charts.rounds(results))]
        if any(r["stage"] == "closed" for r in results["rounds"])
        else [],
        "times": [*training_charts.times(results)],
        "composition": [*sweep_charts.composition(sweep, titles)] if sweep else [],
        "width": [*sweep_charts.by_width(sweep, titles)] if sweep else [],
        "accuracy": [("", charts.accuracy(results))],
        "target": [*training_charts.to_target(results)],
        "latency": [*training_charts.latency(results)],
    }


def _legends(results: Results, titles: Mapping[str, str]) -> dict[str, list[tuple[str, str, str]]]:
    """Return the legends of charts: (label, color, shape) of each entry."""
    parity, sweep = results["parity"], results.get("sweep")
    shown = {
        "agreement": list(parity["contenders"]) if parity else [],
        "width": [row["contender"] for row in sweep["rows"]] if sweep else [],
    }
    legends = {
        key: [(titles[name], theme.color(name), theme.shape(name)) for name in names] for key, names in shown.items()
    }
    square = theme.shape("by_hand")
    return {**legends, "composition": [(name, f"var(--{part})", square) for part, name in sweep_charts.PARTS.items()]}


def _measured(results: Results) -> dict[str, Any]:
    """Return the tables and sentences of the measurements by name."""
    shown: dict[str, Callable[[Results], Any]] = {
        "overview": tables.overview,
        "matrix": tables.matrix,
        "pairs": tables.pairs,
        "steps": tables.steps,
        "work": tables.work,
        "accuracy_differences": tables.accuracy_differences,
        "products": tables.products,
        "phases": tables.phases,
        "latencies": tables.latencies,
        "footprint": tables.footprint,
        "runs": tables.runs,
        "rounds": tables.rounds,
        "sweep": tables.sweep,
        "crossovers": sweep_text.sentences,
    }
    others = {name: tables.division(results, name) for name in schema.DIVISIONS if name != "closed"}
    return {name: table(results) for name, table in shown.items()} | {"others": [*filter(None, others.values())]}


def _digits(results: Results, data: Dataset, titles: Mapping[str, str]) -> dict[str, Any]:
    digits = results.get("digits") or {"disagree": [], "hardest": [], "disputed": 0}
    embedded = {key: images.embed(digits[key], data, titles) for key in ("disagree", "hardest")}  # type: ignore[literal-required]
    return {**embedded, "disputed": digits["disputed"]}


@dataclass(frozen=True)
class Program:
    """The program that a user of a contender writes; `lines` of code, None if they were not counted."""

    title: str
    code: str
    lines: int | None


def _programs(results: Results) -> list[Program]:
    """Return the programs of the contenders that have one, if the examples are installed."""
    programs = []
    for row in schema.measured(results):
        name = contenders.find(row["name"]).program
        code = source_code.program(name) if name else None  # type: ignore[attr-defined]
        if code:
            programs.append(Program(row["title"], code.strip(), row["lines_of_code"]))
    return programs
