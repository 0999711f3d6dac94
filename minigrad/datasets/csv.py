"""CSV files as Kaggle writes MNIST: one image per row, its label and its pixels in columns, with or without a header.

`csv_table` parses them, `csv_columns` knows which column holds what.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..runs.errors import UserError
from . import csv_columns
from .csv_columns import Layout
from .csv_table import Table, load, read_head

FILES = {"train": "mnist_train.csv", "test": "mnist_test.csv"}


def find(folder: Path) -> dict[str, Path] | None:
    """Return the two files in `folder`, or None if neither is there.

    Args:
        folder: where to look for the names in `FILES`.

    Returns:
        The paths of `train` and `test`, or None.

    Raises:
        UserError: one is there and the other is missing.
    """
    tables = {part: folder / name for part, name in FILES.items() if (folder / name).exists()}
    if not tables:
        return None
    for part, name in FILES.items():
        if part not in tables:
            raise UserError(f"{folder}: has no {name}; expected {' and '.join(FILES.values())}")
    return tables


def read(tables: dict[str, Path]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the images and labels of a data set.

    Args:
        tables: the files `train` and `test`, as `find` returns them.

    Returns:
        The arrays `x_train` and `x_test`, uint8 (n, side, side), or (n, pixels)
        if the number of pixels is not a square, and `y_train` and `y_test`,
        int64 (n,); and one sentence for each decision that no header made.

    Raises:
        UserError: a file is unreadable, empty or ragged, has no label column or
            two, or holds a value that is not a whole number in its range.
    """
    heads = {part: read_head(path) for part, path in tables.items()}
    for head in heads.values():
        if head.columns < 2:
            raise UserError(f"{head.path}: has one column; expected a label and its pixels in each row")
        if head.layout is not None and head.layout.label is None:
            raise csv_columns.no_label(head.path, head.names, head.columns)
        if head.layout is not None and not head.narrow:
            raise UserError(f"{head.path}: has no pixels beside the label; expected at least one column of pixels")
    train, test = load(heads["train"]), load(heads["test"])
    layout, notes = _layout(train)
    x_train, y_train = _images_and_labels(train, layout)
    if test.head.names or test.head.columns != train.head.columns:
        layout, more = _layout(test)
        notes += more
    elif train.head.names:
        notes.append(f"{test.head.path}: no header; the columns are taken to be those of {train.head.path}")
    x_test, y_test = _images_and_labels(test, layout)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}, notes


def read_pixels(path: Path, pixels: int) -> np.ndarray:
    """Read images without their labels.

    A label and an index are left out: by name if there is a header, otherwise
    by the number of columns and their values; what was left out is then printed.

    Args:
        path: the file.
        pixels: how many pixels an image has.

    Returns:
        The images, uint8 (n, pixels).

    Raises:
        UserError: the file is unreadable, empty or ragged, has columns that
            are neither, or holds a value that is not a whole number in its range.
    """
    head = read_head(path)
    wrong = UserError(
        f"{path}: has {head.columns} columns; expected {pixels} pixels, with or without a label and an index"
    )
    if head.layout is not None:
        if len(head.narrow) != pixels:
            raise wrong
        return load(head).narrow
    if not pixels <= head.columns <= pixels + 2:
        raise wrong
    table = load(head)
    decision = csv_columns.by_count(table.wide, head.columns, table.largest, pixels)
    if decision is None:
        raise wrong
    layout, clause = decision
    images = table.pixels(layout)
    if clause:
        print(f"{path}: no header; {clause}")
    return images


def _layout(table: Table) -> tuple[Layout, list[str]]:
    """The layout of a labelled file, and a note unless a header describes it."""
    head = table.head
    if head.layout is not None:
        return head.layout, []
    layout, clause = csv_columns.by_content(table.wide, head.columns, table.largest)
    return layout, [f"{head.path}: no header; {clause}"]


def _images_and_labels(table: Table, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Split a table.

    Raises:
        UserError: there is no label, or a pixel is larger than 255.
    """
    if layout.label is None:
        raise csv_columns.no_label(table.head.path, table.head.names, table.head.columns)
    pixels = table.pixels(layout)
    side = math.isqrt(pixels.shape[1])
    images = pixels.reshape(-1, side, side) if side * side == pixels.shape[1] else pixels
    return images, table.labels(layout.label)
