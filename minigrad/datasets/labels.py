"""Converts labels of any kind to class numbers: whole numbers, names, and one-hot rows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..runs.errors import UserError
from . import checks

if TYPE_CHECKING:
    from . import Dataset

MAX_CLASSES = 10_000
MAX_NAME = 200  # characters
MAX_LISTED = 5  # names per message
WHOLE = re.compile(r"[0-9]+")
# Formatting characters that are part of words in some scripts; all others, such as those that reverse text, are removed.
JOINERS = "\u200c\u200d"
TEST_SHARE, MAX_TEST = 5, 10_000  # without a test split, one fifth of the images is held out, at most 10,000
_TEST_SEED = 4  # independent of the run's seed; see `hold_out_test`


class Labels(NamedTuple):
    """Labels as they are in a file.

    Attributes:
        name: the name of the array, for messages.
        values: (n,) or (n, 1) numbers or text, or (n, classes) one-hot rows.
        images: the number of images.
    """

    name: str
    values: np.ndarray
    images: int


class Classes(NamedTuple):
    """Labels as class numbers.

    Attributes:
        train: the labels of the training images, (n,) int64.
        test: the labels of the test images, (m,) int64; empty if there are none.
        classes: the number of classes.
        names: the name of each class; empty if the classes only have numbers.
        notes: one sentence per decision.
    """

    train: np.ndarray
    test: np.ndarray
    classes: int
    names: tuple[str, ...]
    notes: tuple[str, ...]


def encode(train: Labels, test: Labels | None, class_names: np.ndarray | None = None) -> Classes:
    """Convert labels to class numbers.

    Text that consists of numbers, such as "7" or "7.0", is treated as these
    numbers. Other text is the name of a class, and classes are numbered in the
    order of `class_names`, or else of their sorted names.

    Args:
        train: the labels of the training images.
        test: the labels of the test images; None if there are none.
        class_names: the name of each class, (classes,) text; None if the file has none.

    Returns:
        The class numbers and the names.

    Raises:
        UserError: a label or a name is invalid, there are too many classes, or a test label is no class of the training labels.
    """
    parts = [train] if test is None else [train, test]
    names = (
        None if class_names is None else _checked_names(f"{train.name.removesuffix('y_train')}class_names", class_names)
    )
    decoded, notes = [], []
    for part in parts:
        values, note = _decode(part)
        decoded.append(values)
        notes += note
    if all(_is_numeric(values) for values in decoded):
        return _from_numbers(parts, [_as_float(values) for values in decoded], names, notes)
    return _from_text(parts, decoded, names, notes)


def hold_out_test(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose test images for data without a test split: the same share of each class.

    The choice depends on the labels only, and not on the seed of a run. So a
    network is never tested on images that it was trained on, whatever the seed
    of the command that tests it.

    Args:
        labels: the labels of all images, (n,) int64.

    Returns:
        The indices of the training and of the test images, each int64 in ascending order.
    """
    rng = np.random.default_rng([_TEST_SEED])
    share = min(1 / TEST_SHARE, MAX_TEST / len(labels))
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    moved = []
    for members in np.split(by_class, np.flatnonzero(np.diff(labels[by_class])) + 1):
        moved.append(members[: max(int(len(members) * share), int(len(members) > 1))])
    test = np.sort(np.concatenate(moved))
    return np.delete(np.arange(len(labels)), test), test


def align_classes(data: Dataset, names: Sequence[str], source: object) -> Dataset:
    """Return a data set with its classes in the order that a network was trained with.

    If the network or the data has no names, nothing can be compared, and the numbers of the classes stay the same.

    Args:
        data: the data set.
        names: the class names of the network.
        source: the file of the network, for messages.

    Raises:
        UserError: the network was trained on classes with other names.
    """
    if not names or tuple(names) == data.class_names:
        return data
    if not data.class_names:
        note = f"{data.path} has no class names: its class numbers are assumed to be those of {source}"
        return replace(data, notes=(*data.notes, note))
    if sorted(names) != sorted(data.class_names):
        only_data, only_network = (
            [clean(name) for name in one if name not in set(other)]
            for one, other in ((data.class_names, names), (names, data.class_names))
        )
        raise UserError(
            f"data.path: {data.path} has other classes than {source} was trained on: only the data have"
            f" {listed(only_data) or 'none'}, and only the network has {listed(only_network) or 'none'};"
            " expected the same names"
        )
    number = {name: i for i, name in enumerate(names)}
    new = np.array([number[name] for name in data.class_names])
    splits = {
        part: split._replace(labels=new[split.labels])
        for part in ("train", "validation", "test")
        for split in [getattr(data, part)]
    }
    note = f"{data.path}: the classes are numbered in the order of {source}"
    return replace(data, **splits, class_names=tuple(names), notes=(*data.notes, note))


def sorted_names(names: Iterable[str]) -> list[str]:
    """Return names in the order in which classes are numbered: by value if all are whole numbers, else by character."""
    unique = sorted(set(names))
    numeric = all(WHOLE.fullmatch(name) and len(name) < 10 for name in unique)
    return sorted(unique, key=int) if numeric and len({int(name) for name in unique}) == len(unique) else unique


def are_plain_numbers(names: Sequence[str]) -> bool:
    """Return whether names are 0, 1, 2, ... in this order, perhaps with leading zeros."""
    return all(WHOLE.fullmatch(name) and len(name) < 10 and int(name) == i for i, name in enumerate(names))


def clean(name: str) -> str:
    """Return a name on one line, without control characters and characters that change the direction of the text."""
    kept = (c for c in " ".join(name.split()) if c in JOINERS or unicodedata.category(c)[0] != "C")
    return "".join(kept).strip()


def clean_names(source: object, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without control characters.

    Args:
        source: the file or the array that the names are from, for messages.
        names: one name per class.

    Raises:
        UserError: a name is empty or too long, two names are equal, or there are more than `MAX_CLASSES`.
    """
    if len(names) > MAX_CLASSES:
        raise UserError(f"{source}: there are {len(names):,} different classes; expected at most {MAX_CLASSES:,}")
    cleaned = tuple(map(clean, names))
    for name in cleaned:
        if len(name) > MAX_NAME:
            raise UserError(f"{source}: a class name has {len(name)} characters; expected at most {MAX_NAME}")
    if "" in cleaned:
        raise UserError(f"{source}: the name of class {cleaned.index('')} is empty; expected text that can be printed")
    if len(set(cleaned)) < len(cleaned):
        twice = next(name for i, name in enumerate(cleaned) if name in cleaned[:i])
        raise UserError(f"{source}: the class name {twice!r} occurs twice; expected different names")
    return cleaned


def name_of(label: int, names: Sequence[str]) -> str:
    """Return the name of a class, or its number if the classes have no names."""
    return names[label] if names else str(label)


def listed(names: Sequence[object]) -> str:
    """Return at most `MAX_LISTED` names as text, and the number of the others."""
    more = len(names) - MAX_LISTED
    return ", ".join(map(str, names[:MAX_LISTED])) + (f" and {more} more" if more > 0 else "")


def _decode(part: Labels) -> tuple[np.ndarray, list[str]]:
    """Return labels as (n,) numbers or text, with a note if they were one-hot."""
    name, values, count = part
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.dtype.kind in "iufb":
        return _from_one_hot(name, values, count)
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{name}: contains text that is not UTF-8; expected class numbers or names") from error
    if values.dtype.kind != "U":
        return checks.as_labels(name, values, count), []
    if values.shape != (count,):
        raise UserError(f"{name}: the shape is {values.shape}; expected one label per image, shape ({count},)")
    values = np.char.strip(values)
    empty = values == ""
    if empty.any():
        raise UserError(f"{name}: the label of image {int(empty.argmax())} is empty; expected the name of a class")
    return values, []


def _from_one_hot(name: str, rows: np.ndarray, count: int) -> tuple[np.ndarray, list[str]]:
    if len(rows) != count:
        raise UserError(f"{name}: there are {len(rows)} labels for {count} images; expected one label per image")
    if not rows.shape[1]:
        raise UserError(f"{name}: the shape is {rows.shape}; expected one label per image, shape ({count},)")
    ones = rows == 1
    valid = (ones.sum(axis=1) == 1) & ((rows == 0) | ones).all(axis=1)
    if not valid.all():
        raise UserError(
            f"{name}: the shape is {rows.shape}, but row {int(np.argmin(valid))} is not one-hot; expected class numbers"
            f" of shape ({count},), or rows with a single 1 and zeros"
        )
    labels = ones.argmax(axis=1).astype(np.int64)
    return labels, [f"{name}: the rows are one-hot; the position of the 1 is used as the class number"]


def _is_numeric(values: np.ndarray) -> bool:
    try:
        values.astype(np.float64)
    except ValueError:
        return False
    return True


def _as_float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64) if values.dtype.kind == "U" else values


def _from_numbers(
    parts: list[Labels], values: list[np.ndarray], names: tuple[str, ...] | None, notes: list[str]
) -> Classes:
    train, *tests = (checks.as_labels(part.name, array, part.images) for part, array in zip(parts, values, strict=True))
    test_name, test = (parts[1].name, tests[0]) if tests else ("", train[:0])
    count = checks.count_classes(parts[0].name, train, test_name, test, names)
    if count > MAX_CLASSES:
        raise UserError(f"{parts[0].name}: there are {count:,} classes; expected at most {MAX_CLASSES:,}")
    return Classes(train, test, count, _without_plain_numbers(names or ()), tuple(notes))


def _from_text(
    parts: list[Labels], values: list[np.ndarray], names: tuple[str, ...] | None, notes: list[str]
) -> Classes:
    values = [
        array.astype(np.str_) for array in values
    ]  # of names such as 0 to 9 and A to Z, a split may have only numbers
    train = parts[0]
    if names is None:
        unique = sorted_names(np.unique(values[0]).tolist())
        names = clean_names(train.name, unique)
        number = {name: i for i, name in enumerate(unique)} | {name: i for i, name in enumerate(names)}
    else:
        number = {name: i for i, name in enumerate(names)}
    if len(names) < 2:
        raise UserError(f"{train.name}: every label is {names[0]!r}; expected at least two classes")
    numbers = [_numbered(part.name, array, number, train.name) for part, array in zip(parts, values, strict=True)]
    test = numbers[1] if len(numbers) > 1 else numbers[0][:0]
    return Classes(numbers[0], test, len(names), _without_plain_numbers(names), tuple(notes))


def _numbered(name: str, values: np.ndarray, number: dict[str, int], known: str) -> np.ndarray:
    unique, inverse = np.unique(values, return_inverse=True)
    numbers = [number.get(str(label), number.get(clean(str(label)), -1)) for label in unique]
    if -1 in numbers:
        unknown = [repr(clean(str(label))[:MAX_NAME]) for label, n in zip(unique, numbers, strict=True) if n < 0]
        raise UserError(
            f"{name}: the labels {listed(unknown)} are not among the classes of {known}; expected {listed(list(number))}"
        )
    return np.array(numbers, np.int64)[inverse.ravel()]


def _checked_names(source: str, array: np.ndarray) -> tuple[str, ...]:
    """Return the names in the array `class_names`."""
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.ndim != 1 or array.dtype.kind != "U" or not len(array):
        raise UserError(f"{source}: has shape {array.shape} and dtype {array.dtype}; expected one text per class")
    return clean_names(source, array.tolist())


def _without_plain_numbers(names: tuple[str, ...]) -> tuple[str, ...]:
    return () if are_plain_numbers(names) else names
