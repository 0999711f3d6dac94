"""Data sets for all three packages: `load` reads one, `from_arrays` takes arrays, `load_images` reads unlabelled images.

`load` returns uint8 images (or float32 vectors) and integer labels in three
splits: train, validation (held out from the training images) and test. The
order of the training images in each epoch depends only on the seed and the
epoch (see `order`), so it is the same in all packages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..runs.errors import UserError
from . import checks, labels, layouts
from .labels import align_classes
from .layouts import BUILT_IN
from .mnist_like import is_mnist_like
from .npz import MNIST as MNIST
from .order import (
    MAX_SHIFT,
    batches,
    epoch_order,
    epoch_shifts,
    resolve_validation_size,
    shifted,
    split,
    steps_per_epoch,
)
from .review import report, report_notes
from .unlabelled import Preprocess, Unlabelled, load_images

__all__ = [
    "BUILT_IN", "MAX_SHIFT", "Dataset", "Preprocess", "Split", "Unlabelled", "align_classes", "batches", "check_dataset", "epoch_order",
    "epoch_shifts", "from_arrays", "load", "load_images", "report", "report_notes", "resolve_validation_size", "shifted", "split",
    "steps_per_epoch",
]  # fmt: skip


class Split(NamedTuple):
    """Images and their labels.

    Attributes:
        images: (n, *input_shape) uint8 or float32.
        labels: (n,) int64.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """A data set in three splits of the same input shape and dtype.

    Attributes:
        train: the images that the network is trained on.
        validation: the images held out from the training images; may be empty.
        test: the images that the trained network is tested on.
        classes: the number of classes, which is the largest training label plus one.
        path: the path that was loaded, for messages.
        notes: one sentence per decision of the reader, for example which column of a CSV file is the label.
        class_names: the name of each class; empty if the classes only have numbers.
    """

    train: Split
    validation: Split
    test: Split
    classes: int
    path: str = ""
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image or vector."""
        return self.train.images.shape[1:]

    @property
    def input_scale(self) -> float:
        """The factor by which the network multiplies its input: 1/255 for uint8 pixels, 1 for floats."""
        return 1 / 255 if self.train.images.dtype == np.uint8 else 1.0

    @cached_property
    def mnist_like(self) -> bool:
        """Whether the training images are light on dark and centered by mass, as in MNIST."""
        return is_mnist_like(self.train.images)

    @cached_property
    def digest(self) -> str:
        """A hash of all images and labels in their splits and order: 16 hexadecimal digits."""
        sha256 = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for array in part:
                sha256.update(str((array.shape, array.dtype)).encode())
                sha256.update(np.ascontiguousarray(array).data)
        return sha256.hexdigest()[:16]

    def hold_out(self, validation_size: int | None, seed: int) -> Dataset:
        """Move training images to the validation split.

        Args:
            validation_size: the number of images to move. None moves a tenth of the training images, at most 5,000.
            seed: selects the images.

        Returns:
            The new data set; this one is unchanged.

        Raises:
            UserError: the size is negative, or no training image would remain.
        """
        images, labels = self.train
        size = resolve_validation_size(len(labels), validation_size)
        kept, moved = split(len(labels), size, seed)
        train = Split(images[kept], labels[kept]) if size else self.train
        return replace(self, train=train, validation=Split(images[moved], labels[moved]))


def load(path: str | Path = "mnist", validation_size: int | None = 0, seed: int = 42) -> Dataset:
    """Load a data set.

    Args:
        path: one of
            - `mnist` (default) or `digits`, the data sets included in the
              package;
            - an .npz archive with the arrays x_train, y_train, x_test and
              y_test, of any input shape and number of classes;
            - a folder with a pair of CSV files, such as mnist_train.csv and
              mnist_test.csv, gzipped or not;
            - a folder with the four IDX files of MNIST, gzipped or not, or
              torchvision's folder that contains them;
            - a folder with one subfolder of pictures per class.
            If a folder contains several data sets, add the first part of the
            file names, as in `folder/emnist-letters`.
        validation_size: the number of training images to hold out (default
            0). None holds out a tenth of them, at most 5,000.
        seed: selects the images to hold out (default 42).

    Returns:
        The data set. Integer pixels become uint8, floats become float32. If there is no test split, a fifth of the images
        of each class is held out for it, independently of `seed`.

    Raises:
        UserError: a file, a value in it or `validation_size` is invalid.

    Example:
        >>> data = load("mnist", validation_size=5_000)
        >>> data.train.images.shape
        (55000, 28, 28)
    """
    arrays, notes = layouts.read(layouts.resolve(path))
    return _from_arrays(path, arrays, notes).hold_out(validation_size, seed)


def from_arrays(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    class_names: Sequence[str] | None = None,
    validation_size: int | None = 0,
    seed: int = 42,
) -> Dataset:
    """Return a data set of arrays in memory, checked and converted as `load` does with the arrays of an .npz.

    Args:
        x_train: training images or vectors, (n, *input_shape), integers from 0 to 255 or floats.
        y_train: their labels, (n,) integers or texts, or one-hot (n, classes).
        x_test: test images of the same shape; None (default) holds out a fifth of the training images of each class.
        y_test: their labels; None if `x_test` is None.
        class_names: the name of each class; None (default) if the classes only have numbers.
        validation_size: the number of training images to hold out (default 0). None holds out a tenth, at most 5,000.
        seed: selects the images to hold out (default 42).

    Raises:
        UserError: a value is invalid, or the arrays do not fit together.

    Example:
        >>> data = from_arrays(np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2)
        >>> len(data.train.labels), len(data.test.labels)
        (16, 4)
    """
    if (x_test is None) != (y_test is None):
        given, missing = ("x_test", "y_test") if y_test is None else ("y_test", "x_test")
        raise UserError(f"{given} without {missing}; expected both, or neither")
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, "class_names": class_names}
    given_arrays = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    return _from_arrays("arrays", given_arrays, []).hold_out(validation_size, seed)


def check_dataset(name: str, data: object) -> Dataset:
    """Return a data set that a user's code has built, with uint8 or float32 images and int64 labels.

    Args:
        name: what the data set is or comes from, for messages.
        data: the data set. Its validation split may be empty.

    Raises:
        UserError: it is not a `Dataset`, or its arrays, classes and class names do not fit together.
    """
    if not isinstance(data, Dataset):
        raise UserError(
            f"{name}: a value of type {type(data).__name__}; expected a Dataset, for example of minigrad.datasets.from_arrays"
        )
    classes = data.classes
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 2:
        raise UserError(f"{name}: classes is {classes!r}; expected a whole number of 2 or more")
    if data.class_names and len(data.class_names) != classes:
        raise UserError(f"{name}: there are {len(data.class_names)} class names; expected {classes}, one per class")
    splits: dict[str, Split] = {}
    for part in ("train", "test", "validation"):
        pair = getattr(data, part)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise UserError(f"{name}: {part} is of type {type(pair).__name__}; expected a Split of images and labels")
        given, given_labels = map(np.asarray, pair)
        if part == "validation" and not given.size and not given_labels.size:
            splits[part] = Split(*(array[:0] for array in splits["train"]))
            continue
        images = checks.as_images(f"{name}: {part}.images", given)
        if given_labels.dtype.kind not in "iu":
            raise UserError(
                f"{name}: {part}.labels: the dtype is {given_labels.dtype}; expected integers, such as int64"
            )
        numbers = checks.as_labels(f"{name}: {part}.labels", given_labels, len(images))
        if numbers.max() >= classes:
            row = int(numbers.argmax())
            raise UserError(
                f"{name}: {part}.labels: the label of image {row} is {numbers[row]}; expected 0 to {classes - 1}"
            )
        if splits:
            _check_same_kind(f"{name}: {part}.images", images, splits["train"].images)
        splits[part] = Split(given if given.dtype == images.dtype else images, numbers)
    parts, names = (splits["train"], splits["validation"], splits["test"]), tuple(data.class_names)
    return Dataset(*parts, int(classes), data.path, data.notes, names)


def _from_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], notes: list[str]) -> Dataset:
    """Return the data set without a validation split; `path` is for messages."""
    name = {key: f"{path}: {key}" for key in ("x_train", "y_train", "x_test", "y_test")}
    x_train = checks.as_images(name["x_train"], arrays["x_train"])
    train_labels = labels.Labels(name["y_train"], arrays["y_train"], len(x_train))
    if "x_test" in arrays:
        x_test = checks.as_images(name["x_test"], arrays["x_test"])
        _check_same_kind(name["x_test"], x_test, x_train)
        test = labels.Labels(name["y_test"], arrays["y_test"], len(x_test))
        classes = labels.encode(train_labels, test, arrays.get("class_names"))
        parts = Split(x_train, classes.train), Split(x_test, classes.test)
    else:
        classes = labels.encode(train_labels, None, arrays.get("class_names"))
        parts = _hold_out_test(name["x_train"], Split(x_train, classes.train))
        notes.append(
            f"{path} has no labelled test split: {len(parts[1].labels):,} of {len(x_train):,} images, the same share of"
            " each class, are held out as test images, independently of the seed"
        )
    empty = Split(x_train[:0], classes.train[:0])
    all_notes = (*notes, *classes.notes)
    return Dataset(parts[0], empty, parts[1], classes.classes, str(path), all_notes, classes.names)


def _check_same_kind(name: str, images: np.ndarray, train: np.ndarray) -> None:
    """Check that test images have the shape and the dtype of the training images."""
    if images.shape[1:] != train.shape[1:]:
        raise UserError(f"{name}: the images have shape {images.shape[1:]}; expected {train.shape[1:]}, as in x_train")
    if images.dtype != train.dtype:
        raise UserError(f"{name}: the dtype is {images.dtype}; expected {train.dtype}, as in x_train")


def _hold_out_test(name: str, images: Split) -> tuple[Split, Split]:
    kept, moved = labels.hold_out_test(images.labels)
    if not len(moved):
        raise UserError(f"{name}: there is one image per class; expected more, so that test images can be held out")
    return Split(*(array[kept] for array in images)), Split(*(array[moved] for array in images))
