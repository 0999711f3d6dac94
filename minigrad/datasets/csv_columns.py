"""Determines which column of a CSV file is the label, which one is a row index, and which ones are pixels.

If there is a header, its names decide. Without a header, only the first and
the last column are candidates for the label, and their values decide: labels
are small whole numbers that start at 0 or 1, each of them is frequent, and
their range differs from that of the pixels. If the values are ambiguous, the
first column is the label, by convention.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..runs.errors import UserError

LABEL_NAMES = ("label", "labels", "class", "classes", "target", "targets")
INDEX_NAMES = re.compile(r"index|id|imageid|unnamed: 0(\.\d+)*")

MIN_NUMBERED_COLUMNS = 8  # fewer consecutive numbers may be a row of data
FEW_ROWS = 5  # with fewer rows, values of columns cannot be compared
MANY_ROWS = 20  # with so many rows, a column that counts them is an index
WEAK_SCORE, CLEAR_SCORE, SCORE_RATIO = 0.1, 0.3, 1.5  # thresholds for `_label_score`
MIN_IMAGE_COLUMNS = 64  # from here on, a square number of columns is probably an image without a label


@dataclass(frozen=True)
class Layout:
    """The columns, from 0, that contain no pixels.

    Attributes:
        label: the label column, or None.
        index: the columns with row indices, which are ignored.
    """

    label: int | None
    index: tuple[int, ...] = ()

    @property
    def not_pixels(self) -> list[int]:
        """All of these columns."""
        return [*self.index, *([] if self.label is None else [self.label])]


class Choice(NamedTuple):
    """The column chosen as the label.

    Attributes:
        label: the column, from 0, or None if there is no label.
        by_convention: whether the values were ambiguous.
    """

    label: int | None
    by_convention: bool = False


def is_header(cells: list[str]) -> bool:
    """Return whether the first line is a header.

    It is a header if it contains the usual name of a label or an index, if
    most of its cells are words, or if its numbers count the columns from 0 or
    1. A single damaged number in a row of data does not make the row a header.

    Args:
        cells: the cells of the first line, without quotes and surrounding spaces.
    """
    numbers = [cell for cell in cells if is_number(cell)]
    words = [cell.lower() for cell in cells if cell and not is_number(cell)]
    has_known_name = any(word in LABEL_NAMES or INDEX_NAMES.fullmatch(word) for word in words)
    counts_columns = len(numbers) >= MIN_NUMBERED_COLUMNS and is_consecutive(numbers)
    return has_known_name or 2 * len(words) > len(cells) or counts_columns


def layout_from_header(path: Path, names: list[str]) -> Layout:
    """Return the layout that a header describes.

    Args:
        path: the file, for the message.
        names: one name per column. A first column with an empty name is an index, as pandas writes it.

    Raises:
        UserError: several columns are named as labels.
    """
    lower = [name.lower() for name in names]
    labels = [column for column, name in enumerate(lower) if name in LABEL_NAMES]
    if len(labels) > 1:
        listed = " and ".join(f"{names[column]!r} (column {column + 1})" for column in labels)
        raise UserError(f"{path}: has {len(labels)} label columns, {listed}; expected only one")
    index = [column for column, name in enumerate(lower) if INDEX_NAMES.fullmatch(name) or (column == 0 and not name)]
    return Layout(labels[0] if labels else None, tuple(index))


def missing_label_error(path: Path, names: list[str] | None, columns: int) -> UserError:
    """Return the error for a file without a label column.

    Args:
        path: the file.
        names: the header, or None.
        columns: the number of columns.
    """
    if names is None:
        return UserError(
            f"{path}: has no header, and neither the first nor the last of its {columns} columns looks like labels;"
            " expected class numbers 0, 1, 2, ... in one of them, or a header with a column named label"
        )
    named = f"{', '.join(LABEL_NAMES[:-1])} or {LABEL_NAMES[-1]}"
    if is_consecutive(names):
        return UserError(
            f"{path}: the header only numbers the columns from {names[0]} to {names[-1]};"
            f" expected a label column named {named}, or no header"
        )
    return UserError(f"{path}: the header has no label column; expected one named {named}")


def layout_from_values(edges: np.ndarray, columns: int, largest: int) -> tuple[Layout, str]:
    """Return the most probable layout of a labelled file without a header.

    Args:
        edges: the first, second and last column (or both columns if there are only two), (rows, 3) uint32.
        columns: the number of columns in the file.
        largest: the largest value in all other columns, 0 if there are none.

    Returns:
        The layout, whose label is None if neither column looks like labels, and a clause that explains the choice.
    """
    if columns > 2 and is_row_index(edges[:, 0]):
        choice = _choose(edges, 1, columns, largest)
        makes_image = _is_square(columns - 2) and not _is_square(columns - 1)
        is_clear = choice.label is not None and not choice.by_convention
        if len(edges) >= MANY_ROWS or (makes_image and is_clear):
            return Layout(choice.label, (0,)), _explain(edges, choice, columns, "used", has_index=True)
    choice = _choose(edges, 0, columns, largest)
    return Layout(choice.label), _explain(edges, choice, columns, "used")


def layout_of_text(edges: np.ndarray, edge_columns: list[int], columns: int, text: int) -> tuple[Layout, str]:
    """Return the layout of a file without a header in which one column contains text.

    Args:
        edges: the values of the columns `edge_columns`, (rows, n) uint32.
        edge_columns: those of the first, second and last column that contain numbers.
        columns: the number of columns in the file.
        text: the column that contains text.

    Returns:
        The layout, and a clause that explains the choice.
    """
    has_index = 0 in edge_columns and not _is_square(columns - 1) and is_row_index(edges[:, edge_columns.index(0)])
    position = "last" if text == columns - 1 else ("first", "second")[text]
    label = f"the {position} of its {columns} columns is used as the label, because it contains text"
    if has_index:
        return Layout(text, (0,)), f"{label}, and the first one is ignored as a row index"
    return Layout(text), label


def layout_for_pixels(edges: np.ndarray, columns: int, largest: int, pixels: int) -> tuple[Layout, str] | None:
    """Return the layout of a file without a header whose number of pixels is known.

    Args:
        edges, columns, largest: as for `layout_from_values`.
        pixels: the number of pixels per image.

    Returns:
        The layout, and a clause that explains the choice or is empty if all
        columns are pixels. None if the other columns are neither a label nor
        an index.
    """
    if columns == pixels:
        return Layout(None), ""
    if columns == pixels + 1:
        if is_row_index(edges[:, 0]):
            return Layout(None, (0,)), f"the first of its {columns} columns is ignored as a row index"
        choice = _choose(edges, 0, columns, largest, has_label=True)
        return Layout(choice.label), _explain(edges, choice, columns, "ignored")
    if columns == pixels + 2 and len(np.unique(edges[:, 0])) == len(edges):
        choice = _choose(edges, 1, columns, largest, has_label=True)
        return Layout(choice.label, (0,)), _explain(edges, choice, columns, "ignored", has_index=True)
    return None


def _choose(edges: np.ndarray, start: int, columns: int, largest: int, *, has_label: bool = False) -> Choice:
    """Choose the label from column `start`, 0 or 1, and the last column.

    With `has_label`, one of them is chosen even if neither looks like labels.
    """
    if start == 0 and columns > 2:
        largest = max(largest, int(edges[:, 1].max()))
    first, last = (_label_score(column, largest) for column in (edges[:, start], edges[:, -1]))
    few = len(edges) < FEW_ROWS
    if last >= CLEAR_SCORE and last > SCORE_RATIO * first and (not few or first == 0):
        return Choice(columns - 1)
    if first >= CLEAR_SCORE and first > SCORE_RATIO * last and not few:
        return Choice(start)
    is_image = columns - start >= MIN_IMAGE_COLUMNS and _is_square(columns - start)
    possible = first > 0 if few else first >= (CLEAR_SCORE if is_image else WEAK_SCORE)
    return Choice(start if possible or has_label or len(edges) == 1 else None, by_convention=True)


def _label_score(column: np.ndarray, largest: int) -> float:
    """Return how much a column looks like labels, from 0 to 1.

    The score is the entropy of the values, divided by the entropy of labels
    from 0 (or 1) to the largest value that are all equally frequent. A corner
    pixel, which is nearly always 0, scores close to 0. The score of a column
    with about the same range as the other columns is divided by 4, because it
    probably contains pixels.

    Args:
        column: (rows,) uint32.
        largest: the largest value in the other columns.
    """
    values, counts = np.unique(column, return_counts=True)
    low, high, rows = int(values[0]), int(values[-1]), len(column)
    if len(values) < 2 or high >= max(1000, rows) or len(values) == rows >= MANY_ROWS:
        return 0.0
    shares = counts / rows
    score = float(-(shares * np.log(shares)).sum()) / math.log(high - min(low, 1) + 1)
    return score / 4 if 0.75 * largest <= high <= min(largest / 0.75, 255) else score


def _explain(edges: np.ndarray, choice: Choice, columns: int, verb: str, *, has_index: bool = False) -> str:
    """Return a clause about the index and the label with the reason; empty if there is no label.

    Args:
        edges: as for `layout_from_values`.
        choice: the label column.
        columns: the number of columns in the file.
        verb: `used` or `ignored`.
        has_index: whether the first column is an index.
    """
    if choice.label is None:
        return ""
    is_last = choice.label == columns - 1
    column = edges[:, -1 if is_last else choice.label]
    position = "last" if is_last else ("first", "second")[choice.label]
    reason = f"because its values range from {column.min()} to {column.max()}"
    if choice.by_convention:
        reason = "by convention, because the values do not show whether the label is this column or the last one"
    if has_index:
        return (
            f"the first of its {columns} columns is ignored as a row index,"
            f" and the {position} one is {verb} as the label, {reason}"
        )
    return f"the {position} of its {columns} columns is {verb} as the label, {reason}"


def is_row_index(column: np.ndarray) -> bool:
    """Return whether a column counts the rows from 0 or 1."""
    rows = len(column)
    return rows >= FEW_ROWS and column[0] <= 1 and np.array_equal(column, np.arange(column[0], column[0] + rows))


def is_consecutive(cells: list[str]) -> bool:
    """Return whether cells are consecutive whole numbers from 0 or 1."""
    return any(cells == [str(number) for number in range(start, start + len(cells))] for start in (0, 1))


def _is_square(pixels: int) -> bool:
    return pixels >= 4 and math.isqrt(pixels) ** 2 == pixels


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
