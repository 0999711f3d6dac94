"""report.html: one file that needs no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from minigrad import recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import write_text

from .. import contenders
from ..results import source_code as code
from . import images as pictures
from . import marks, pad
from . import page_charts as charts
from . import page_tables as tables
from . import parity_chart as agreement
from . import text as words
from . import width_chart as crossover

Networks = Mapping[str, Mapping[str, np.ndarray]]


def write(path: Path, results: dict[str, Any], recipe: Recipe, data: Dataset, networks: Networks) -> None:
    """Write the page, whole or not at all. Everything in it is escaped, and all that it shows is inside.

    Args:
        path: of the page.
        results: as in results.json. Whatever a comparison that was stopped, or
            that found no agreement, lacks is left out.
        recipe: by which all were trained.
        data: whose test images are shown.
        networks: trained weights by contender, for the drawing pad.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    titles = tables.names(results)
    raw = base64.b64encode(json.dumps(results, indent=2).encode()).decode()
    page = templates.get_template("report.html.jinja").render(
        results=results,
        words=words,
        marks=marks,
        titles=titles,
        raw=raw,
        recipe=recipes.dump(recipe),
        agreement=agreement.chart(results),
        agreement_table=tables.agreement(results),
        figures=_figures(results, recipe, data, networks, titles) if _raced(results) else None,
    )
    write_text(path, page)


def _raced(results: dict[str, Any]) -> bool:
    """Whether there is anything but the verdict on parity."""
    return results["parity"]["passed"] is not False and bool(words.raced(results))


def _figures(
    results: dict[str, Any], recipe: Recipe, data: Dataset, networks: Networks, titles: dict[str, str]
) -> dict[str, Any]:
    """All that rests on the races."""
    found = results.get("digits") or {"disagree": [], "hardest": [], "disputed": 0}
    return {
        "measured": tables.measured(results),
        "steps": tables.steps(results),
        "accuracies": tables.accuracies(results),
        "equal_work": tables.equal_work(results),
        "opened": tables.opened(results),
        "width": crossover.chart(results),
        "crossovers": crossover.sentences(results),
        "phases": charts.phases(results),
        "curves": charts.curves(results),
        "seeds": charts.seeds(results),
        "pairs": tables.pairs(results),
        "latency": charts.latency(results),
        "footprint": tables.footprint(results),
        "disagree": pictures.pictures(found["disagree"], data, titles),
        "hardest": pictures.pictures(found["hardest"], data, titles),
        "disputed": found["disputed"],
        "drawable": pictures.drawable(data),
        "pad": pad.payload(recipe, data, {titles[name]: weights for name, weights in networks.items()}),
        "code": {
            row["name"]: [code.source(place) for place in contenders.find(row["name"]).code]
            for row in words.raced(results)
            if contenders.find(row["name"]).code
        },
    }
