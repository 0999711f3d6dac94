"""Parses CSV files of whole numbers and labels, and caches the result in the user's cache folder, never next to the data."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TextIO

import numpy as np

from ..runs import foreign
from ..runs.errors import UnwritableError, UserError
from ..runs.files import whole_file
from . import csv_columns
from .csv_columns import Layout

SEPARATORS = ",;\t"
SEPARATED = "separated by commas, semicolons or tabs"
PARSER_VERSION = 1  # part of the name of a cache file; increase it if a change makes the parser return other values
MAX_SHOWN = 40  # characters of an invalid cell in a message
MAX_LINE = 16_000_000  # characters; so that a gzipped file cannot fill the memory
MAX_LABEL = 200  # characters of a label that is text
# The share of text in a label column that a header does not name, and in one that it names. With less, text is an error.
TEXT_SHARES = (0.5, 0.1)
DECIMALS = re.compile(r"[0-9]+\.0*")


NO_TEXTS = np.empty(0, "U1")


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
        text: the label column if it contains text, or None; known only after the file is parsed.
    """

    path: Path
    line: int
    separator: str
    columns: int
    names: list[str] | None
    layout: Layout | None
    text: int | None = None

    @cached_property
    def wide(self) -> list[int]:
        """The columns whose values may exceed 255: the label, or without a header all candidates for it."""
        if self.layout is None:
            return sorted({0, min(1, self.columns - 1), self.columns - 1} - {self.text})
        return [] if self.layout.label in (None, self.text) else [self.layout.label]

    @cached_property
    def narrow(self) -> list[int]:
        """All other columns, except an index named in the header."""
        excluded = {self.text, *self.wide, *(self.layout.index if self.layout else ())}
        return [column for column in range(self.columns) if column not in excluded]


@dataclass(frozen=True)
class Table:
    """All rows of a file.

    Attributes:
        head: the description of the columns.
        wide: the values of the columns `head.wide`, (rows, columns) uint32.
        narrow: the values of the columns `head.narrow`, (rows, columns) uint8.
        texts: the cells of the column `head.text`, (rows,) text; empty if there is none.
    """

    head: Head
    wide: np.ndarray
    narrow: np.ndarray
    texts: np.ndarray

    @property
    def largest(self) -> int:
        """The largest value of the narrow columns, 0 if there are none."""
        return int(self.narrow.max(initial=0))

    def labels(self, column: int) -> np.ndarray:
        """Return one column, (rows,) int64 or text."""
        if column == self.head.text:
            return self.texts
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
    with _reading(path), open_text(path) as file:
        lines = enumerate(_lines(path, file), 1)
        number, first = next(((number, line) for number, line in lines if not line.isspace()), (0, ""))
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
            table = _parse(_with_text(head))
            _write_cache(cache_file, table)
        return table


def open_text(path: Path) -> TextIO:
    """Open a CSV file, which is decompressed if its suffix is .gz."""
    binary = gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # noqa: SIM115 (the caller closes it)
    return io.TextIOWrapper(binary, encoding="utf-8-sig")  # type: ignore[arg-type]


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """Yield the lines of a file.

    Raises:
        UserError: a line is too long, or a gzipped file expands too much.
    """
    size, expanded = path.stat().st_size, 0
    limit = foreign.expanded_limit(size) if path.suffix.lower() == ".gz" else math.inf
    while line := file.readline(MAX_LINE + 1):
        expanded += len(line)
        if len(line) > MAX_LINE:
            raise UserError(f"{path}: has a line of more than {MAX_LINE:,} characters; expected one image per line")
        if expanded > limit:
            raise UserError(f"{path}: expands beyond {limit:,} characters; expected at most that from {size:,} bytes")
        yield line


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Convert errors while reading a file to a UserError."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is damaged"
        raise UserError(f"{path}: cannot be read ({reason}); expected a CSV file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a text file in UTF-8; expected whole numbers, {SEPARATED}") from error


def _read_cache(cache_file: Path, head: Head) -> Table | None:
    """Return the cached table, or None if it does not exist or is damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with cache_file.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                wide, narrow = archive["wide"], archive["narrow"]  # zipfile verifies the CRC of each array
                texts, column = (
                    (archive["texts"], int(archive["text"])) if "texts" in archive.files else (NO_TEXTS, None)
                )
    except Exception:  # NumPy raises many kinds of exceptions for damaged files
        return None
    head = replace(head, text=column)
    if texts.dtype.kind != "U" or texts.shape != (0 if column is None else len(wide),):
        return None
    if (wide.dtype, narrow.dtype, wide.ndim, narrow.ndim) != (np.uint32, np.uint8, 2, 2):
        return None
    rows = len(wide)
    if rows < 1 or wide.shape != (rows, len(head.wide)) or narrow.shape != (rows, len(head.narrow)):
        return None
    return Table(head, wide, narrow, texts)


def _write_cache(cache_file: Path, table: Table) -> None:
    try:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(cache_file) as draft:
            text = {} if table.head.text is None else {"texts": table.texts, "text": np.array(table.head.text)}
            np.savez(draft, wide=table.wide, narrow=table.narrow, **text)  # type: ignore[arg-type]
    except (OSError, UnwritableError):
        pass  # without a cache, the file is only parsed again the next time


def _with_text(head: Head) -> Head:
    """Return a description with the label column if it contains text.

    Raises:
        UserError: without a header, both the first and the last column contain text.
    """
    candidates = [head.layout.label] if head.layout else [0, head.columns - 1]
    candidates = [column for column in dict.fromkeys(candidates) if column is not None]
    counts, rows = dict.fromkeys(candidates, 0), 0
    with open_text(head.path) as file:
        for line in _rows(head, file, []):
            rows += 1
            for column in candidates:
                counts[column] += _is_text(_cell(head, line, column))
    text = [column for column in candidates if counts[column] > TEXT_SHARES[head.layout is not None] * rows]
    if len(text) > 1:
        raise UserError(f"{head.path}: the first and the last column contain text; expected one label, and pixels")
    return replace(head, text=text[0]) if text else head


def _is_text(cell: str) -> bool:
    """Return whether a cell is text, or a whole number with decimals, such as 7.0, which pandas writes."""
    return not cell.isdigit() and (DECIMALS.fullmatch(cell) is not None or not csv_columns.is_number(cell))


def _cell(head: Head, line: str, column: int) -> str:
    """Return one cell of a line with the right number of columns."""
    if '"' in line:
        return _cells(line, head.separator)[column]
    if column == head.columns - 1:
        return line.rpartition(head.separator)[2].strip()
    return line.split(head.separator, column + 1)[column].strip()


def _parse(head: Head) -> Table:
    """Parse all rows.

    Raises:
        UserError: a row has a different number of columns, or a value is not a whole number in its range.
    """
    dtype = np.dtype([("wide", np.uint32, (len(head.wide),)), ("narrow", np.uint8, (len(head.narrow),))])
    lines: list[int] = []
    texts: list[str] | None = None if head.text is None else []
    try:
        with warnings.catch_warnings(), open_text(head.path) as file:
            warnings.simplefilter("ignore")  # about a file without rows, which is an error below
            table = np.loadtxt(
                _rows(head, file, lines, texts),
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
    wide, narrow = np.ascontiguousarray(table["wide"]), np.ascontiguousarray(table["narrow"])
    return Table(head, wide, narrow, np.array(texts) if texts else NO_TEXTS)


def _rows(head: Head, file: TextIO, lines: list[int], texts: list[str] | None = None) -> Iterator[str]:
    """Yield the rows of `file` without blank lines and the header.

    The line numbers are appended to `lines`, and the cells of the column `head.text` to `texts`.

    The number of columns is checked here, because `np.loadtxt` with `usecols` accepts rows that are too long.

    Raises:
        UserError: a row has a different number of columns than the first line, or a label is too long.
    """
    for number, line in enumerate(_lines(head.path, file), 1):
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
        if texts is not None and head.text is not None:
            texts.append(_cell(head, line, head.text))
            if len(texts[-1]) > MAX_LABEL:
                raise UserError(
                    f"{head.path}: line {number} has a label of {len(texts[-1])} characters; expected at most {MAX_LABEL}"
                )
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
    limit = f"from 0 to {largest}" if largest <= 255 else "from 0, such as a class number"
    return f"line {line}, column {column} contains {shown}; expected a whole number {limit}"


def _line_of(head: Head, row: int) -> int:
    """Return the line number, from 1, of a row."""
    with open_text(head.path) as file:
        lines: list[int] = []
        for _ in zip(range(row + 1), _rows(head, file, lines), strict=False):
            pass
    return lines[row]
