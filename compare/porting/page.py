"""diff.html: a single file that needs no network and no script."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from minigrad.runs import write_text

from . import text
from .result import STAGES, Difference, DiffResult

TENSORS = 200  # that differ, at most
# Largest difference relative to the tolerance, CSS class, text of the legend.
SCALE = (
    (0.0, "identical", "identical"),
    (0.01, "tiny", "up to 0.01"),
    (1.0, "allowed", "up to 1, the tolerance"),
    (100.0, "over", "up to 100"),
    (1e5, "far", "up to 100,000"),
    (float("inf"), "most", "more, or no number"),
)


@dataclass(frozen=True)
class Column:
    """A column of the table of layers: the tensors of a stage in one dtype and mode.

    Attributes:
        stage, dtype, mode: of its tensors.
        by_dtype, by_mode: whether the stage has columns for other dtypes and modes, so that the filters apply.
    """

    stage: str
    dtype: str
    mode: str
    by_dtype: bool
    by_mode: bool

    @property
    def classes(self) -> str:
        """The CSS classes by which the filters find its cells."""
        return " ".join([f"in-{self.dtype}"] * self.by_dtype + [f"in-{self.mode}"] * self.by_mode)


def write(path: Path, result: DiffResult) -> None:
    """Write the page, completely or not at all. All values in it are escaped."""
    from ..report import theme  # imports the library for charts, which takes a second

    folder = Path(__file__).parent
    templates = Environment(
        loader=FileSystemLoader([folder, folder.parent / "report"]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters["code"] = _code
    pairs = text.compared(result)
    columns = _columns(result)
    different = [d for d in result.differences if not d.equal]
    page = templates.get_template("diff.html.jinja").render(
        result=result,
        text=text,
        theme=theme,
        scale=SCALE,
        color=_color,
        columns=columns,
        rows=[(pair, [_worst(pair.differences, column) for column in columns]) for pair in pairs],
        different=different[:TENSORS],
        hidden=len(different) - TENSORS,
    )
    write_text(path, page)


def _columns(result: DiffResult) -> list[Column]:
    keys = {(d.stage, d.dtype, d.mode) for d in result.differences}
    order = sorted(keys, key=lambda key: (STAGES.index(key[0]), key[2], key[1] != "float64"))
    return [
        Column(
            *key,
            by_dtype=len({dtype for stage, dtype, _ in keys if stage == key[0]}) > 1,
            by_mode=len({mode for stage, _, mode in keys if stage == key[0]}) > 1,
        )
        for key in order
    ]


def _worst(differences: tuple[Difference, ...], column: Column) -> Difference | None:
    """Return the tensor of this column with the largest difference relative to its tolerance."""
    key = (column.stage, column.dtype, column.mode)
    return max((d for d in differences if (d.stage, d.dtype, d.mode) == key), key=lambda d: d.share, default=None)


def _code(sentence: str) -> Markup:
    """Return a sentence, escaped, with its words between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))


def _color(difference: Difference) -> str:
    """Return the CSS class of a cell."""
    return next(name for limit, name, _ in SCALE if difference.share <= limit)
