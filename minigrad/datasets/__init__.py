"""Data for all three packages: `load` reads it, `order` shuffles it.

`load(path)` gives uint8 images (or float vectors) and integer labels: train,
validation (cut from train by the seed) and test. `load_images` reads what
is to be predicted.
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
from .npz import MNIST
from .order import MAX_SHIFT, batches, epoch_order, epoch_shifts, held_out, shifted, split, steps_per_epoch
from .review import report, report_notes
from .unlabelled import Unlabelled, load_images

__all__ = [
    "MAX_SHIFT", "Dataset", "Split", "Unlabelled", "batches", "epoch_order", "epoch_shifts", "held_out", "load",
    "load_images", "report", "report_notes", "shifted", "split", "steps_per_epoch",
]  # fmt: skip


class Split(NamedTuple):
    """Images, (n, *input_shape) uint8 or float32, and their labels, (n,) int64."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Three splits of one kind of image; `validation` may be empty, `test` is for the end.

    Attributes:
        train: what is trained on.
        validation: what training is judged by; may be empty.
        test: what the trained network is tested on, once.
        classes: how many there are, the largest training label plus one.
        path: what was loaded, for messages.
        notes: a sentence for each decision that the reader took, such as which column of a CSV file is the label.
    """

    train: Split
    validation: Split
    test: Split
    classes: int
    path: str = ""
    notes: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image or vector."""
        return self.train.images.shape[1:]

    @property
    def input_scale(self) -> float:
        """What a network multiplies its input by: 1/255 for uint8 pixels, 1 for floats."""
        return 1 / 255 if self.train.images.dtype == np.uint8 else 1.0

    @cached_property
    def digest(self) -> str:
        """A short name for exactly these images and labels, in these splits and this order: 16 hexadecimal digits."""
        found = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for array in part:
                found.update(str((array.shape, array.dtype)).encode())
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()[:16]

    def hold_out(self, validation_size: int | None, seed: int) -> Dataset:
        """Move images from `train` to `validation`.

        Args:
            validation_size: how many; None takes a tenth of the training images, at most 5,000.
            seed: draws them.

        Raises:
            UserError: no image would be left to train on.
        """
        images, labels = self.train
        size = held_out(len(labels), validation_size)
        kept, rest = split(len(labels), size, seed)
        train = Split(images[kept], labels[kept]) if size else self.train
        return replace(self, train=train, validation=Split(images[rest], labels[rest]))


def load(path: str | Path = "mnist", validation_size: int | None = 0, seed: int = 42) -> Dataset:
    """Load a data set.

    Args:
        path: `mnist` (embedded), a folder with Kaggle's mnist_train.csv and
            mnist_test.csv, a folder with IDX files, or an .npz with x_train,
            y_train, x_test and y_test of any one shape and number of classes.
        validation_size: how many training images to hold out; None takes a tenth of them, at most 5,000.
        seed: draws the ones held out.

    Raises:
        UserError: the file or a value in it can't be used; the sentence says which.
    """
    where = MNIST if str(path) == "mnist" else expand(path)
    arrays, notes = _read(where)
    name = {key: f"{path}: {key}" for key in arrays}
    x_train = checks.images(name["x_train"], arrays["x_train"])
    x_test = checks.images(name["x_test"], arrays["x_test"])
    if x_test.shape[1:] != x_train.shape[1:]:
        raise UserError(
            f"{name['x_test']}: images of shape {x_test.shape[1:]}; expected {x_train.shape[1:]} as in x_train"
        )
    if x_test.dtype != x_train.dtype:
        raise UserError(f"{name['x_test']}: {x_test.dtype}; expected {x_train.dtype} as in x_train")
    y_train = checks.labels(name["y_train"], arrays["y_train"], len(x_train))
    y_test = checks.labels(name["y_test"], arrays["y_test"], len(x_test))
    classes = checks.classes(name["y_train"], y_train, name["y_test"], y_test)
    train, nothing = Split(x_train, y_train), Split(x_train[:0], y_train[:0])
    data = Dataset(train, nothing, Split(x_test, y_test), classes, str(path), tuple(notes))
    return data.hold_out(validation_size, seed)


def _read(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The four arrays, by whichever reader knows what is there, and what it decided."""
    try:
        there, folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        raise UserError(f"data.path: {str(path)!r} can't be a path; expected mnist, an .npz or a folder") from error
    if folder:
        if tables := csv.find(path):
            return csv.read(tables)
        if files := idx.find(path):
            return {name: idx.read(file) for name, file in files.items()}, []
        raise UserError(f"data.path: the folder {path} holds neither mnist_train.csv and mnist_test.csv nor IDX files")
    if not there:
        raise UserError(f"data.path: {path} does not exist; expected mnist, an .npz, or a folder with CSV or IDX files")
    return npz.read(path), []
