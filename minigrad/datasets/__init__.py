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
from ..runs.files import expand
from . import checks, csv, idx, npz
from .mnist_like import is_mnist_like
from .npz import MNIST
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
    "MAX_SHIFT", "Dataset", "Preprocess", "Split", "Unlabelled", "batches", "epoch_order", "epoch_shifts", "load", "load_images",
    "report", "report_notes", "resolve_validation_size", "shifted", "split", "steps_per_epoch",
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
            - `mnist`, the data set included in the package (default);
            - an .npz archive with the arrays x_train, y_train, x_test and
              y_test, of any input shape and number of classes;
            - a folder with mnist_train.csv and mnist_test.csv, as on Kaggle;
            - a folder with the four IDX files of MNIST, gzipped or not.
        validation_size: the number of training images to hold out (default
            0). None holds out a tenth of them, at most 5,000.
        seed: selects the images to hold out (default 42).

    Returns:
        The data set. Integer pixels become uint8, floats become float32.

    Raises:
        UserError: a file, a value in it or `validation_size` is invalid.

    Example:
        >>> data = load("mnist", validation_size=5_000)
        >>> data.train.images.shape
        (55000, 28, 28)
    """
    file = MNIST if str(path) == "mnist" else expand(path)
    arrays, notes = _read(file)
    name = {key: f"{path}: {key}" for key in arrays}
    x_train = checks.as_images(name["x_train"], arrays["x_train"])
    x_test = checks.as_images(name["x_test"], arrays["x_test"])
    if x_test.shape[1:] != x_train.shape[1:]:
        raise UserError(
            f"{name['x_test']}: the images have shape {x_test.shape[1:]}; expected {x_train.shape[1:]}, as in x_train"
        )
    if x_test.dtype != x_train.dtype:
        raise UserError(f"{name['x_test']}: the dtype is {x_test.dtype}; expected {x_train.dtype}, as in x_train")
    y_train = checks.as_labels(name["y_train"], arrays["y_train"], len(x_train))
    y_test = checks.as_labels(name["y_test"], arrays["y_test"], len(x_test))
    classes = checks.count_classes(name["y_train"], y_train, name["y_test"], y_test)
    train, empty = Split(x_train, y_train), Split(x_train[:0], y_train[:0])
    data = Dataset(train, empty, Split(x_test, y_test), classes, str(path), tuple(notes))
    return data.hold_out(validation_size, seed)


def _read(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the four arrays in whichever format `path` has, with the notes of the reader."""
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:  # a name that is too long or contains a zero byte
        raise UserError(
            f"data.path: {str(path)!r} is not a valid path; expected mnist, an .npz file, or a folder"
            " with CSV or IDX files"
        ) from error
    if is_folder:
        if tables := csv.find(path):
            return csv.read(tables)
        if files := idx.find(path):
            return {name: idx.read(file) for name, file in files.items()}, []
        raise UserError(
            f"data.path: the folder {path} contains no data set; expected {' and '.join(csv.FILES.values())},"
            " or the four IDX files of MNIST"
        )
    if not exists:
        raise UserError(
            f"data.path: {path} does not exist; expected mnist, an .npz file, or a folder with CSV or IDX files"
        )
    return npz.read(path), []
