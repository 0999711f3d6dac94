"""Reads CSV files with one image per row, like Kaggle's MNIST: a label and pixels, with or without a header.

`csv_table` parses the files; `csv_columns` determines which column is the label.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..runs.errors import UserError
from . import csv_columns
from .csv_columns import Layout
from .csv_table import SEPARATED, Table, load, read_head


def read(tables: dict[str, Path]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the images and labels of a data set.

    Args:
        tables: the paths of `train`, and of `test` if there is one.

    Returns:
        The arrays `x_train` and `x_test`, uint8 (n, side, side), or (n, pixels)
        if the number of pixels is not a square, and `y_train` and `y_test`,
        (n,) int64 or text; and one sentence per file whose columns no header names.

    Raises:
        UserError: a file cannot be read or is empty, its rows differ in length,
            it has no label column or several, or a value is not a whole number
            in the expected range.
    """
    heads = {part: read_head(path) for part, path in tables.items()}
    for head in heads.values():
        if head.columns < 2:
            raise UserError(f"{head.path}: the first row has only one column; expected a label and pixels, {SEPARATED}")
        if head.layout is not None and head.layout.label is None:
            raise csv_columns.missing_label_error(head.path, head.names, head.columns)
        if head.layout is not None and not head.narrow:
            raise UserError(f"{head.path}: has a label column but no pixels; expected at least one column of pixels")
    train = load(heads["train"])
    layout, notes = _layout(train)
    x_train, y_train = _images_and_labels(train, layout)
    if "test" not in heads:
        return {"x_train": x_train, "y_train": y_train}, notes
    test = load(heads["test"])
    if test.head.names or test.head.columns != train.head.columns:
        layout, test_notes = _layout(test)
        notes += test_notes
    elif test.head.text is not None and train.head.names is None:
        layout, _ = _layout(test)
    elif train.head.names:
        notes.append(f"{test.head.path} has no header: its columns are assumed to be in the order of {train.head.path}")
    x_test, y_test = _images_and_labels(test, layout)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}, notes


def read_pixels(path: Path, pixels: int) -> np.ndarray:
    """Read images and ignore their labels.

    A header determines which columns are ignored. Without a header, the number
    of columns and their values determine it, and a note is printed.

    Args:
        path: the file.
        pixels: the number of pixels per image.

    Returns:
        The images, uint8 (n, pixels).

    Raises:
        UserError: the file cannot be read or is empty, its rows differ in length, the number of columns does not match
            `pixels`, or a value is not a whole number in the expected range.
    """
    head = read_head(path)
    if head.layout is not None:
        if len(head.narrow) != pixels:
            raise UserError(f"{path}: the header names {len(head.narrow)} columns of pixels; expected {pixels}")
        return load(head).narrow
    error = UserError(
        f"{path}: has {head.columns} columns; expected {pixels} columns of pixels,"
        " with or without a label column and a row index"
    )
    if not pixels <= head.columns <= pixels + 2:
        raise error
    table = load(head)
    if table.head.text is not None:
        layout, explanation = csv_columns.layout_of_text(table.wide, table.head.wide, head.columns, table.head.text)
        images = table.pixels(layout)
        if images.shape[1] != pixels:
            raise error
        print(f"{path} has no header: {explanation}")
        return images
    decision = csv_columns.layout_for_pixels(table.wide, head.columns, table.largest, pixels)
    if decision is None:
        raise error
    layout, explanation = decision
    images = table.pixels(layout)
    if explanation:
        print(f"{path} has no header: {explanation}")
    return images


def _layout(table: Table) -> tuple[Layout, list[str]]:
    """Return the layout of a labelled file, and a note unless a header describes the layout."""
    head = table.head
    if head.layout is not None:
        return head.layout, []
    if head.text is not None:
        layout, explanation = csv_columns.layout_of_text(table.wide, head.wide, head.columns, head.text)
        if len(table.texts) >= csv_columns.MANY_ROWS and len(np.unique(table.texts)) == len(table.texts):
            raise UserError(
                f"{head.path}: column {head.text + 1} contains a different text in each row; expected the names of"
                " classes, or a header with a column named label"
            )
    else:
        layout, explanation = csv_columns.layout_from_values(table.wide, head.columns, table.largest)
    return layout, [f"{head.path} has no header: {explanation}"]


def _images_and_labels(table: Table, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Separate a table into images and labels.

    Raises:
        UserError: there is no label, or a pixel is larger than 255.
    """
    if layout.label is None:
        raise csv_columns.missing_label_error(table.head.path, table.head.names, table.head.columns)
    pixels = table.pixels(layout)
    side = math.isqrt(pixels.shape[1])
    images = pixels.reshape(-1, side, side) if side * side == pixels.shape[1] else pixels
    return images, table.labels(layout.label)
