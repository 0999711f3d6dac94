"""A table of values, each column with the way it is shown, so that it can be read and saved as CSV."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

NONE = "–"
Columns = list[tuple[str, Callable[[Any], str]]]


@dataclass(frozen=True)
class Table:
    """What it holds, its columns as (heading, how a value is shown), and a row of values each."""

    caption: str
    columns: Columns
    rows: Sequence[Sequence[Any]]

    @property
    def cells(self) -> list[list[str]]:
        """As text; a value that is missing is a dash."""
        shows = [show for _, show in self.columns]
        return [
            [NONE if value is None else show(value) for show, value in zip(shows, row, strict=True)]
            for row in self.rows
        ]

    @property
    def kinds(self) -> list[str]:
        """Each column's class: words stand left, figures right."""
        return ["words" if show is str else "figure" for _, show in self.columns]

    @property
    def csv(self) -> str:
        """The values themselves, as a data: URI."""
        out = io.StringIO()
        csv.writer(out).writerows([[heading for heading, _ in self.columns], *self.rows])
        return "data:text/csv;base64," + base64.b64encode(out.getvalue().encode()).decode()


def as_is(value: str) -> str:
    """A figure that is text already."""
    return value


def whole(value: float) -> str:
    return f"{value:,.0f}"


def micros(value: float) -> str:
    """Microseconds, to a tenth where they are few."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def seconds(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.3f}"


def percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def gap(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def times(value: float) -> str:
    """A ratio, to three digits or two decimals."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
