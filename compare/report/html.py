"""report.html: one file that needs no network."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from minigrad.runs import write_text

from . import words


def write(path: Path, results: dict[str, Any], picture: Path) -> None:
    """Fill the template beside this file; everything is escaped, and the picture and data are inside."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = templates.get_template("report.html.jinja").render(
        results=results,
        columns=words.COLUMNS,
        rows=[(row, words.cells(row)) for row in words.raced(results)]
        if results["parity"]["passed"] is not False
        else [],
        verdict=words.verdict(results),
        conditions=words.conditions(results),
        dtypes=words.dtypes,
        difference=words.difference,
        titles={row["name"]: row["title"] for row in results["contenders"]},
        picture=base64.b64encode(picture.read_bytes()).decode(),
        data=base64.b64encode(json.dumps(results, indent=2).encode()).decode(),
    )
    write_text(path, page)
