"""Parsing a CSV file of whole numbers, once: the result is kept in the user's cache folder, never beside the data."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TextIO

import numpy as np

from ..runs.errors import UserError
from ..runs.files import whole_file
from . import csv_columns
from .csv_columns import Layout

SEPARATORS = ",;\t"
PARSER_VERSION = 1  # part of a cache file's name; raise it whenever the same file is parsed differently
SHOWN = 40  # characters of a damaged cell in a message


@dataclass(frozen=True)
class Head:
    """What the first line of a file says about the others.

    Attributes:
        path: the file.
        line: the number, from 1, of its first line that is not blank.
        separator: one of `SEPARATORS`.
        columns: how many columns the line has.
        names: the header, or None.
        layout: what the header says about the columns, or None.
    """

    path: Path
    line: int
    separator: str
    columns: int
    names: list[str] | None
    layout: Layout | None

    @cached_property
    def wide(self) -> list[int]:
        """The columns whose values may exceed 255: the label, or without a header those that may be the label."""
        if self.layout is None:
            return sorted({0, min(1, self.columns - 1), self.columns - 1})
        return [] if self.layout.label is None else [self.layout.label]

    @cached_property
    def narrow(self) -> list[int]:
        """All other columns, except an index that the header names."""
        others = {*self.wide, *(self.layout.index if self.layout else ())}
        return [column for column in range(self.columns) if column not in others]


@dataclass(frozen=True)
class Table:
    """All rows of a file.

    Attributes:
        head: the description of the columns.
        wide: the columns of `head.wide`, (rows, columns) uint32.
        narrow: the columns of `head.narrow`, (rows, columns) uint8.
    """

    head: Head
    wide: np.ndarray
    narrow: np.ndarray

    @property
    def largest(self) -> int:
        """The largest value of the narrow columns, 0 if there are none."""
        return int(self.narrow.max(initial=0))

    def labels(self, column: int) -> np.ndarray:
        """Return one column, (rows,) int64."""
        wide = column in self.head.wide
        array, columns = (self.wide, self.head.wide) if wide else (self.narrow, self.head.narrow)
        return array[:, columns.index(column)].astype(np.int64)

    def pixels(self, layout: Layout) -> np.ndarray:
        """Return the columns that hold pixels, (rows, pixels) uint8.

        Args:
            layout: the columns to leave out if the file has no header; a header's own layout counts otherwise.

        Raises:
            UserError: a pixel is larger than 255.
        """
        head = self.head
        if head.layout is not None:
            return self.narrow
        blocks = {}
        for column, values in zip(head.wide, self.wide.T, strict=True):
            if column in layout.dropped:
                continue
            if values.max() > 255:
                row = int(np.argmax(values > 255))
                line, value = _line_of(head, row), str(values[row])
                raise UserError(
                    f"{head.path}: line {line}, column {column + 1}: {value!r}; expected a whole number from 0 to 255"
                )
            blocks[column] = values[:, None].astype(np.uint8)
        dropped = [head.narrow.index(column) for column in layout.dropped if column in head.narrow]
        if head.narrow:  # without a header, these are all between the second and the last column
            blocks[head.narrow[0]] = np.delete(self.narrow, dropped, axis=1) if dropped else self.narrow
        return np.concatenate([blocks[column] for column in sorted(blocks)], axis=1)


def read_head(path: Path) -> Head:
    """Read the first line of `path` that is not blank.

    Args:
        path: the file.

    Returns:
        What the line says.

    Raises:
        UserError: the file is unreadable or empty, or its header names two label columns.
    """
    with _reading(path), path.open(encoding="utf-8-sig") as file:
        number, first = next(((number, line) for number, line in enumerate(file, 1) if not line.isspace()), (0, ""))
    if not first:
        raise UserError(f"{path}: is empty; expected a label and its pixels in each row")
    separator = max(SEPARATORS, key=first.count)
    try:
        cells = _cells(first, separator)
    except csv.Error as error:
        raise UserError(f"{path}: line {number}: {error}; expected cells separated by commas") from error
    if not csv_columns.is_header(cells):
        return Head(path, number, separator, len(cells), None, None)
    return Head(path, number, separator, len(cells), cells, csv_columns.by_name(path, cells))


def load(head: Head) -> Table:
    """Read all rows, from the cache if a file with the same content was parsed before.

    Args:
        head: the first line of the file.

    Returns:
        The rows.

    Raises:
        UserError: the file is unreadable or ragged, or holds a value that is not a whole number in its range.
    """
    import platformdirs

    with _reading(head.path), head.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        kept = Path(platformdirs.user_cache_dir("minigrad", False)) / f"csv-{PARSER_VERSION}-{digest}.npz"
        table = _restore(kept, head)
        if table is None:
            file.seek(0)
            with io.TextIOWrapper(file, encoding="utf-8-sig") as text:
                table = _parse(head, text)
            _keep(kept, table)
        return table


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what happens while reading a file into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a text file; expected whole numbers separated by commas") from error


def _restore(kept: Path, head: Head) -> Table | None:
    """The table kept in the cache; None if there is none or it is damaged in any way."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with kept.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                wide, narrow = archive["wide"], archive["narrow"]  # zipfile checks the CRC of each
    except Exception:  # what NumPy raises for a damaged file depends on the damage
        return None
    if (wide.dtype, narrow.dtype, wide.ndim, narrow.ndim) != (np.uint32, np.uint8, 2, 2):
        return None
    rows = len(wide)
    if rows < 1 or wide.shape != (rows, len(head.wide)) or narrow.shape != (rows, len(head.narrow)):
        return None
    return Table(head, wide, narrow)


def _keep(kept: Path, table: Table) -> None:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as draft:
            np.savez(draft, wide=table.wide, narrow=table.narrow)
    except OSError:
        pass  # A cache that can't be written costs time, not the run.


def _parse(head: Head, file: TextIO) -> Table:
    """Parse all rows in one pass.

    Raises:
        UserError: a row has another number of columns or a value that is not a whole number in its range.
    """
    row = np.dtype([("wide", np.uint32, (len(head.wide),)), ("narrow", np.uint8, (len(head.narrow),))])
    lines: list[int] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of no rows, which is an error below
            table = np.loadtxt(
                _rows(head, file, lines),
                row,
                delimiter=head.separator,
                usecols=[*head.wide, *head.narrow],
                quotechar='"',
                comments=None,
                ndmin=1,
            )
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise UserError(f"{head.path}: {_explain(str(error), lines)}") from error
    if not len(table):
        raise UserError(f"{head.path}: has no rows below its header; expected a label and its pixels in each row")
    return Table(head, np.ascontiguousarray(table["wide"]), np.ascontiguousarray(table["narrow"]))


def _rows(head: Head, file: TextIO, lines: list[int]) -> Iterator[str]:
    """The rows of `file`, without blank lines and the header; collects their line numbers in `lines`.

    With `usecols`, NumPy would not notice a row that is too long.

    Raises:
        UserError: a row has another number of columns than the first line.
    """
    for number, line in enumerate(file, 1):
        if line.isspace() or (number == head.line and head.names):
            continue
        try:
            columns = len(_cells(line, head.separator)) if '"' in line else line.count(head.separator) + 1
        except csv.Error as error:
            raise UserError(f"{head.path}: line {number}: {error}; expected {head.columns} cells") from error
        if columns != head.columns:
            raise UserError(
                f"{head.path}: line {number}: {columns} columns; expected {head.columns} as in line {head.line}"
            )
        lines.append(number)
        yield line


def _cells(line: str, separator: str) -> list[str]:
    """The cells of one line, without quotes and surrounding spaces.

    Raises:
        csv.Error: a quote is not closed, or a quoted cell is very long.
    """
    if line.count('"') % 2:
        raise csv.Error("a quote is not closed")
    row = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    return [cell.strip() for cell in row]


def _explain(message: str, lines: list[int]) -> str:
    """NumPy's message, with the line as an editor counts it."""
    match = re.search(r"could not convert string (.+) to (uint\d+) at row (\d+), column (\d+)", message)
    if match is None:
        return f"{message}; expected whole numbers"
    cell, dtype, row, column = match.groups()
    shown = cell if len(cell) <= SHOWN else f"{cell[:SHOWN]}…"
    return f"line {lines[int(row)]}, column {column}: {shown}; expected a whole number from 0 to {np.iinfo(dtype).max}"


def _line_of(head: Head, row: int) -> int:
    """The number of the line that holds `row`."""
    with head.path.open(encoding="utf-8-sig") as file:
        lines: list[int] = []
        for _ in zip(range(row + 1), _rows(head, file, lines), strict=False):
            pass
    return lines[row]
