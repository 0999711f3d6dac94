"""A table of values with a format per column, so that it can be shown and saved as CSV."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

MISSING = "–"
Columns = list[tuple[str, Callable[[Any], str]]]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: shown above the table.
        columns: (heading, function that formats a value) pairs.
        rows: one sequence of values per row; None is a missing value.
    """

    caption: str
    columns: Columns
    rows: Sequence[Sequence[Any]]

    @property
    def cells(self) -> list[list[str]]:
        """The values as text."""
        formats = [show for _, show in self.columns]
        return [
            [MISSING if value is None else show(value) for show, value in zip(formats, row, strict=True)]
            for row in self.rows
        ]

    @property
    def kinds(self) -> list[str]:
        """The CSS class of each column: `words` are aligned left, `figure` right."""
        return ["words" if show is str else "figure" for _, show in self.columns]

    @property
    def csv(self) -> str:
        """The unformatted values as CSV in a data: URI."""
        out = io.StringIO()
        csv.writer(out).writerows([[heading for heading, _ in self.columns], *self.rows])
        return "data:text/csv;base64," + base64.b64encode(out.getvalue().encode()).decode()


def as_text(value: str) -> str:
    """Return a number that is already text; unlike `str`, aligned as a number."""
    return value


def whole(value: float) -> str:
    """Format without decimals."""
    return f"{value:,.0f}"


def micros(value: float) -> str:
    """Format microseconds, with one decimal below 10."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def seconds(value: float) -> str:
    """Format seconds, with two decimals from 1 on, else three."""
    return f"{value:,.2f}" if value >= 1 else f"{value:.3f}"


def percent(value: float) -> str:
    """Format a fraction as percent with two decimals."""
    return f"{100 * value:.2f} %"


def gap(value: float) -> str:
    """Format a difference in scientific notation."""
    return f"{value:.1e}" if value else "0"


def times(value: float) -> str:
    """Format a ratio with two decimals; without from 100 on, with two digits below 0.1."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def short(value: float) -> str:
    """Format a time with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
