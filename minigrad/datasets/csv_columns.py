"""Which column of a CSV file is the label, which one is an index, and which ones are pixels.

A header decides by its names. Without a header, only the first and the last
column may be the label, and the values decide between them: labels are small
whole numbers from 0 or 1, each of them frequent, and their range differs from
that of the pixels. Where the values do not decide, the first column is the
label, by convention.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..runs.errors import UserError

LABELS = ("label", "labels", "class", "classes", "target", "targets")
INDEX = re.compile(r"index|id|imageid|unnamed: 0(\.\d+)*")

POSITIONS = 8  # fewer numbers in order may be a row of data
FEW_ROWS, MANY_ROWS = 5, 20  # too few to compare columns by their values; enough to know an index by its values
FAINT, CLEAR, RATIO = 0.1, 0.3, 1.5  # thresholds of `_label_score`
SMALLEST_IMAGE = 64  # at least so many columns, if they make a square, are more probably an image without a label


@dataclass(frozen=True)
class Layout:
    """The positions, from 0, of the columns that hold no pixels: the label, if there is one, and ignored indices."""

    label: int | None
    index: tuple[int, ...] = ()

    @property
    def dropped(self) -> list[int]:
        """All of these positions."""
        return [*self.index, *([] if self.label is None else [self.label])]


class Choice(NamedTuple):
    """The column taken as the label, None if there is none, and whether only convention speaks for it."""

    label: int | None
    convention: bool = False


def is_header(cells: list[str]) -> bool:
    """Return whether the first line names the columns.

    It does if it contains a name that is known, if most of its cells are
    words, or if its numbers count the columns from 0 or 1. One damaged number
    in a row of data makes no header.

    Args:
        cells: the cells of the first line, without quotes and surrounding spaces.
    """
    numbers = [cell for cell in cells if _is_number(cell)]
    words = [cell.lower() for cell in cells if cell and not _is_number(cell)]
    known = any(word in LABELS or INDEX.fullmatch(word) for word in words)
    return known or 2 * len(words) > len(cells) or (len(numbers) >= POSITIONS and _count_up(numbers))


def by_name(path: Path, names: list[str]) -> Layout:
    """Return the layout that a header describes.

    Args:
        path: the file, for the message.
        names: one name per column. The first column is an index if its name is empty, as pandas writes it.

    Raises:
        UserError: two columns are named as labels.
    """
    lower = [name.lower() for name in names]
    labels = [position for position, name in enumerate(lower) if name in LABELS]
    if len(labels) > 1:
        listed = " and ".join(f"{names[position]!r} (column {position + 1})" for position in labels)
        raise UserError(f"{path}: has the label columns {listed}; expected a single one")
    index = [i for i, name in enumerate(lower) if INDEX.fullmatch(name) or (i == 0 and not name)]
    return Layout(labels[0] if labels else None, tuple(index))


def no_label(path: Path, names: list[str] | None, columns: int) -> UserError:
    """Return the error for a file without a label column.

    Args:
        path: the file.
        names: its header, or None.
        columns: how many columns it has.
    """
    if names is None:
        return UserError(
            f"{path}: no label column: neither the first nor the last of {columns} columns looks like labels;"
            " expected whole numbers from 0 there, or a header that names one of the columns label"
        )
    named = f"{', '.join(LABELS[:-1])} or {LABELS[-1]}"
    if _count_up(names):
        return UserError(
            f"{path}: no label column: the header only counts the columns from {names[0]} to {names[-1]};"
            f" expected one named {named}, or no header"
        )
    return UserError(f"{path}: no label column in the header; expected one named {named}")


def by_content(edges: np.ndarray, columns: int, largest: int) -> tuple[Layout, str]:
    """Return the layout that the values of a file without a header suggest.

    Args:
        edges: the first, second and last column (the first and the last if there are only two), (rows, 3) uint32.
        columns: how many columns the file has.
        largest: the largest value in all other columns, 0 if there are none.

    Returns:
        The layout, whose label is None if neither column looks like labels, and a clause that explains it.
    """
    if columns > 2 and _counts_rows(edges[:, 0]):
        choice = _choose(edges, 1, columns, largest)
        makes_image = _is_square(columns - 2) and not _is_square(columns - 1)
        clear = choice.label is not None and not choice.convention
        if len(edges) >= MANY_ROWS or (makes_image and clear):
            return Layout(choice.label, (0,)), _explain(edges, choice, columns, "taken", index=True)
    choice = _choose(edges, 0, columns, largest)
    return Layout(choice.label), _explain(edges, choice, columns, "taken")


def by_count(edges: np.ndarray, columns: int, largest: int, pixels: int) -> tuple[Layout, str] | None:
    """Return the layout of a file without a header whose number of pixels is known.

    Args:
        edges: as for `by_content`.
        columns: as for `by_content`.
        largest: as for `by_content`.
        pixels: how many of the columns are pixels.

    Returns:
        The layout and a clause that explains it, empty if all columns are
        pixels. None if the other columns are no label or index.
    """
    if columns == pixels:
        return Layout(None), ""
    if columns == pixels + 1:
        if _counts_rows(edges[:, 0]):
            return Layout(None, (0,)), f"the first of {columns} columns is ignored as an index"
        choice = _choose(edges, 0, columns, largest, labelled=True)
        return Layout(choice.label), _explain(edges, choice, columns, "ignored")
    if columns == pixels + 2 and len(np.unique(edges[:, 0])) == len(edges):
        choice = _choose(edges, 1, columns, largest, labelled=True)
        return Layout(choice.label, (0,)), _explain(edges, choice, columns, "ignored", index=True)
    return None


def _choose(edges: np.ndarray, start: int, columns: int, largest: int, *, labelled: bool = False) -> Choice:
    """Choose between column `start`, 0 or 1, and the last one.

    `labelled` says that one of them is the label, even if all images have the same.
    """
    if start == 0 and columns > 2:
        largest = max(largest, int(edges[:, 1].max()))
    first, last = (_label_score(column, largest) for column in (edges[:, start], edges[:, -1]))
    few = len(edges) < FEW_ROWS
    if last >= CLEAR and last > RATIO * first and (not few or first == 0):
        return Choice(columns - 1)
    if first >= CLEAR and first > RATIO * last and not few:
        return Choice(start)
    is_image = columns - start >= SMALLEST_IMAGE and _is_square(columns - start)
    possible = first > 0 if few else first >= (CLEAR if is_image else FAINT)
    return Choice(start if possible or labelled or len(edges) == 1 else None, convention=True)


def _label_score(column: np.ndarray, largest: int) -> float:
    """Return how much `column` looks like labels, from 0 to 1.

    This is the entropy of its values relative to that of labels from 0 (or 1)
    to its largest value that are all equally frequent. A corner pixel, which
    is nearly always 0, scores close to 0. A column with about the same range
    as the other columns, whose largest value is `largest`, is probably a pixel
    and scores a quarter.
    """
    values, counts = np.unique(column, return_counts=True)
    low, high, rows = int(values[0]), int(values[-1]), len(column)
    if len(values) < 2 or high >= max(1000, rows) or len(values) == rows >= MANY_ROWS:
        return 0.0
    shares = counts / rows
    score = float(-(shares * np.log(shares)).sum()) / math.log(high - min(low, 1) + 1)
    return score / 4 if 0.75 * largest <= high <= min(largest / 0.75, 255) else score


def _explain(edges: np.ndarray, choice: Choice, columns: int, verb: str, *, index: bool = False) -> str:
    """The clause that says which columns are the index and the label, and why; empty without a label."""
    if choice.label is None:
        return ""
    last = choice.label == columns - 1
    column = edges[:, -1 if last else choice.label]
    why = f", since its values are {column.min()} to {column.max()}"
    if choice.convention:
        why = " by convention, since the values do not tell it from the last one"
    which = "last" if last else ("first", "second")[choice.label]
    if index:
        return f"the first of {columns} columns is ignored as an index, and the {which} is {verb} as the label{why}"
    return f"the {which} of {columns} columns is {verb} as the label{why}"


def _counts_rows(column: np.ndarray) -> bool:
    """Whether `column` counts the rows from 0 or 1."""
    rows = len(column)
    return rows >= FEW_ROWS and column[0] <= 1 and np.array_equal(column, np.arange(column[0], column[0] + rows))


def _count_up(cells: list[str]) -> bool:
    """Whether `cells` are whole numbers in order from 0 or 1."""
    return any(cells == [str(number) for number in range(start, start + len(cells))] for start in (0, 1))


def _is_square(pixels: int) -> bool:
    return pixels >= 4 and math.isqrt(pixels) ** 2 == pixels


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
