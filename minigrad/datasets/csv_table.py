"""Parses CSV files of whole numbers and caches the result in the user's cache folder, never next to the data."""

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

from ..runs.errors import UnwritableError, UserError
from ..runs.files import whole_file
from . import csv_columns
from .csv_columns import Layout

SEPARATORS = ",;\t"
SEPARATED = "separated by commas, semicolons or tabs"
PARSER_VERSION = 1  # part of the name of a cache file; increase it if a change makes the parser return other values
MAX_SHOWN = 40  # characters of an invalid cell in a message


@dataclass(frozen=True)
class Head:
    """The columns of a file, as described by its first line.

    Attributes:
        path: the file.
        line: the number, from 1, of the first line that is not blank.
        separator: one of `SEPARATORS`.
        columns: the number of columns.
        names: the header, or None.
        layout: the layout that the header describes, or None.
    """

    path: Path
    line: int
    separator: str
    columns: int
    names: list[str] | None
    layout: Layout | None

    @cached_property
    def wide(self) -> list[int]:
        """The columns whose values may exceed 255: the label, or without a header all candidates for it."""
        if self.layout is None:
            return sorted({0, min(1, self.columns - 1), self.columns - 1})
        return [] if self.layout.label is None else [self.layout.label]

    @cached_property
    def narrow(self) -> list[int]:
        """All other columns, except an index named in the header."""
        excluded = {*self.wide, *(self.layout.index if self.layout else ())}
        return [column for column in range(self.columns) if column not in excluded]


@dataclass(frozen=True)
class Table:
    """All rows of a file.

    Attributes:
        head: the description of the columns.
        wide: the values of the columns `head.wide`, (rows, columns) uint32.
        narrow: the values of the columns `head.narrow`, (rows, columns) uint8.
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
        is_wide = column in self.head.wide
        array, columns = (self.wide, self.head.wide) if is_wide else (self.narrow, self.head.narrow)
        return array[:, columns.index(column)].astype(np.int64)

    def pixels(self, layout: Layout) -> np.ndarray:
        """Return the columns that hold pixels, (rows, pixels) uint8.

        Args:
            layout: the columns to leave out if the file has no header; ignored if it has one.

        Raises:
            UserError: a pixel is larger than 255.
        """
        head = self.head
        if head.layout is not None:
            return self.narrow
        blocks = {}
        for column, values in zip(head.wide, self.wide.T, strict=True):
            if column in layout.not_pixels:
                continue
            if values.max() > 255:
                row = int(np.argmax(values > 255))
                cell = repr(str(values[row]))
                raise UserError(f"{head.path}: {_invalid_cell(_line_of(head, row), column + 1, cell, 255)}")
            blocks[column] = values[:, None].astype(np.uint8)
        excluded = [head.narrow.index(column) for column in layout.not_pixels if column in head.narrow]
        if head.narrow:  # without a header, these are the columns between the second and the last one
            blocks[head.narrow[0]] = np.delete(self.narrow, excluded, axis=1) if excluded else self.narrow
        return np.concatenate([blocks[column] for column in sorted(blocks)], axis=1)


def read_head(path: Path) -> Head:
    """Read the first line of `path` that is not blank.

    Args:
        path: the file.

    Returns:
        The columns that the line describes.

    Raises:
        UserError: the file cannot be read or is empty, or its header names several label columns.
    """
    with _reading(path), path.open(encoding="utf-8-sig") as file:
        number, first = next(((number, line) for number, line in enumerate(file, 1) if not line.isspace()), (0, ""))
    if not first:
        raise UserError(f"{path}: is empty; expected one image per row")
    separator = max(SEPARATORS, key=first.count)
    try:
        cells = _cells(first, separator)
    except csv.Error as error:
        raise UserError(f"{path}: line {number}: {error}; expected whole numbers, {SEPARATED}") from error
    if not csv_columns.is_header(cells):
        return Head(path, number, separator, len(cells), None, None)
    return Head(path, number, separator, len(cells), cells, csv_columns.layout_from_header(path, cells))


def load(head: Head) -> Table:
    """Read all rows, from the cache if a file with the same content was parsed before.

    Args:
        head: the columns of the file, as returned by `read_head`.

    Returns:
        The rows.

    Raises:
        UserError: the file cannot be read, its rows differ in length, or a value is not a whole number in its range.
    """
    import platformdirs

    with _reading(head.path), head.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        cache_file = Path(platformdirs.user_cache_dir("minigrad", False)) / f"csv-{PARSER_VERSION}-{digest}.npz"
        table = _read_cache(cache_file, head)
        if table is None:
            file.seek(0)
            with io.TextIOWrapper(file, encoding="utf-8-sig") as text:
                table = _parse(head, text)
            _write_cache(cache_file, table)
        return table


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Convert errors while reading a file to a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a CSV file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a text file in UTF-8; expected whole numbers, {SEPARATED}") from error


def _read_cache(cache_file: Path, head: Head) -> Table | None:
    """Return the cached table, or None if it does not exist or is damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with cache_file.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                wide, narrow = archive["wide"], archive["narrow"]  # zipfile verifies the CRC of each array
    except Exception:  # NumPy raises many kinds of exceptions for damaged files
        return None
    if (wide.dtype, narrow.dtype, wide.ndim, narrow.ndim) != (np.uint32, np.uint8, 2, 2):
        return None
    rows = len(wide)
    if rows < 1 or wide.shape != (rows, len(head.wide)) or narrow.shape != (rows, len(head.narrow)):
        return None
    return Table(head, wide, narrow)


def _write_cache(cache_file: Path, table: Table) -> None:
    try:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(cache_file) as draft:
            np.savez(draft, wide=table.wide, narrow=table.narrow)
    except (OSError, UnwritableError):
        pass  # without a cache, the file is only parsed again the next time


def _parse(head: Head, file: TextIO) -> Table:
    """Parse all rows.

    Raises:
        UserError: a row has a different number of columns, or a value is not a whole number in its range.
    """
    dtype = np.dtype([("wide", np.uint32, (len(head.wide),)), ("narrow", np.uint8, (len(head.narrow),))])
    lines: list[int] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a file without rows, which is an error below
            table = np.loadtxt(
                _rows(head, file, lines),
                dtype,
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
        raise UserError(f"{head.path}: has no rows below its header; expected one image per row")
    return Table(head, np.ascontiguousarray(table["wide"]), np.ascontiguousarray(table["narrow"]))


def _rows(head: Head, file: TextIO, lines: list[int]) -> Iterator[str]:
    """Yield the rows of `file` without blank lines and the header, and append their line numbers to `lines`.

    The number of columns is checked here, because `np.loadtxt` with `usecols` accepts rows that are too long.

    Raises:
        UserError: a row has a different number of columns than the first line.
    """
    for number, line in enumerate(file, 1):
        if line.isspace() or (number == head.line and head.names):
            continue
        try:
            columns = len(_cells(line, head.separator)) if '"' in line else line.count(head.separator) + 1
        except csv.Error as error:
            raise UserError(f"{head.path}: line {number}: {error}; expected {head.columns} columns") from error
        if columns != head.columns:
            raise UserError(
                f"{head.path}: line {number} has {columns} columns; expected {head.columns}, as in line {head.line}"
            )
        lines.append(number)
        yield line


def _cells(line: str, separator: str) -> list[str]:
    """Return the cells of one line, without quotes and surrounding spaces.

    Raises:
        csv.Error: a quotation mark is not closed, or a quoted cell is too long.
    """
    if line.count('"') % 2:
        raise csv.Error("a quotation mark is not closed")
    row = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    return [cell.strip() for cell in row]


def _explain(message: str, lines: list[int]) -> str:
    """Convert NumPy's error message to ours, with the line number in the file instead of the row number."""
    match = re.search(r"could not convert string (.+) to (uint\d+) at row (\d+), column (\d+)", message)
    if match is None:
        return f"{message}; expected whole numbers"
    cell, dtype, row, column = match.groups()
    return _invalid_cell(lines[int(row)], int(column), cell, np.iinfo(dtype).max)


def _invalid_cell(line: int, column: int, cell: str, largest: int) -> str:
    shown = cell if len(cell) <= MAX_SHOWN else f"{cell[:MAX_SHOWN]}…"
    return f"line {line}, column {column} contains {shown}; expected a whole number from 0 to {largest}"


def _line_of(head: Head, row: int) -> int:
    """Return the line number, from 1, of a row."""
    with head.path.open(encoding="utf-8-sig") as file:
        lines: list[int] = []
        for _ in zip(range(row + 1), _rows(head, file, lines), strict=False):
            pass
    return lines[row]
