"""report.html: a single file that needs no network."""

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
from ..results import schema, source_code
from ..results.schema import Results
from . import images, marks, pad, page_charts, page_tables, parity_chart, text, width_chart

Networks = Mapping[str, Mapping[str, np.ndarray]]


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
    parity = results["parity"]
    assert parity is not None
    titles = page_tables.parity_titles(results, parity)
    timed = schema.agreed(results) and bool(schema.measured(results))
    page = templates.get_template("report.html.jinja").render(
        results=results,
        text=text,
        marks=marks,
        titles=titles,
        raw=base64.b64encode(json.dumps(results, indent=2).encode()).decode(),
        recipe=recipes.dump(recipe),
        agreement=parity_chart.chart(parity, titles),
        agreement_table=page_tables.agreement(parity, titles),
        figures=_figures(results, recipe, data, networks, titles) if timed else None,
    )
    write_text(path, page)


def _figures(
    results: Results, recipe: Recipe, data: Dataset, networks: Networks, titles: dict[str, str]
) -> dict[str, Any]:
    """Return the tables, charts and images of the measurements, as the template needs them."""
    digits = results.get("digits") or {"disagree": [], "hardest": [], "disputed": 0}
    return {
        "overview": page_tables.overview(results),
        "steps": page_tables.steps(results),
        "accuracies": page_tables.accuracies(results),
        "equal_work": page_tables.equal_work(results),
        "opened": page_tables.opened(results),
        "width": width_chart.chart(results),
        "crossovers": width_chart.sentences(results),
        "phases": page_charts.phases(results),
        "curves": page_charts.curves(results),
        "seeds": page_charts.seeds(results),
        "pairs": page_tables.pairs(results),
        "latency": page_charts.latency(results),
        "footprint": page_tables.footprint(results),
        "disagree": images.embed(digits["disagree"], data, titles),
        "hardest": images.embed(digits["hardest"], data, titles),
        "disputed": digits["disputed"],
        "pad": pad.payload(recipe, data, {titles[name]: weights for name, weights in networks.items()}),
        "code": {
            row["name"]: [source_code.source(reference) for reference in contenders.find(row["name"]).step_code]
            for row in schema.measured(results)
            if contenders.find(row["name"]).step_code
        },
    }
