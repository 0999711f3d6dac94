"""Data sets for all three packages: `load` reads a data set, `load_images` reads images without labels.

`load` returns uint8 images (or float32 vectors) and integer labels in three
splits: train, validation (held out from the training images) and test. The
order of the training images in each epoch depends only on the seed and the
epoch (see `order`), so it is the same in all packages.
"""

from __future__ import annotations

import hashlib
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
    "BUILT_IN", "MAX_SHIFT", "Dataset", "Preprocess", "Split", "Unlabelled", "align_classes", "batches", "epoch_order", "epoch_shifts",
    "load", "load_images", "report", "report_notes", "resolve_validation_size", "shifted", "split", "steps_per_epoch",
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
    data = Dataset(parts[0], empty, parts[1], classes.classes, str(path), all_notes, classes.names)
    return data.hold_out(validation_size, seed)


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
