"""What in a data set a person may not have meant: one sentence each, printed before training."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from . import Dataset

SHOWN = 5  # classes named in one sentence
IMAGES_PER_CLASS = 100
FEWEST_PIXELS = 9  # in a vector of fewer numbers, equal ones are nothing unusual
CHANNELS = (1, 3, 4)


def report(data: Dataset) -> None:
    """Print what the reader decided, and on standard error what looks unintended."""
    report_notes(data)
    for warning in warnings(data):
        print(f"warning: {data.path}: {warning}", file=sys.stderr)


def report_notes(data: Dataset) -> None:
    """Print what the reader decided: all that a command needs that does not train."""
    for note in data.notes:
        print(note)


def warnings(data: Dataset) -> list[str]:
    """Return a sentence for each thing in `data` that looks unintended, naming the array or the class."""
    found = [_classes(data), _class_count(data)]
    for name, images in (("x_train", data.train.images), ("x_test", data.test.images)):
        found += [_float_pixels(name, images), _constant_images(name, images), _channels_first(name, images)]
    return [sentence for sentence in found if sentence is not None]


def _classes(data: Dataset) -> str | None:
    """Classes without a training image; a single class that has any."""
    counts = np.bincount(data.train.labels, minlength=data.classes)
    empty = np.flatnonzero(counts == 0).tolist()
    if data.classes - len(empty) == 1:
        return f"y_train: all training images are of class {int(counts.argmax())}; a single class teaches nothing"
    if not empty:
        return None
    named = ", ".join(map(str, empty[:SHOWN])) + (f" and {len(empty) - SHOWN} more" if len(empty) > SHOWN else "")
    start = ", as if the labels started at 1" if empty == [0] else ""
    what = f"class {named} has" if len(empty) == 1 else f"classes {named} have"
    return f"y_train: {what} no training images{start}"


def _class_count(data: Dataset) -> str | None:
    size = len(data.train.labels)
    if data.classes * IMAGES_PER_CLASS <= size:
        return None
    return (
        f"y_train: {data.classes} classes for {size:,} training images, fewer than {IMAGES_PER_CLASS} images per class"
    )


def _float_pixels(name: str, images: np.ndarray) -> str | None:
    if images.dtype == np.uint8:
        return None
    low, high = float(images.min()), float(images.max())
    # Up to half of the range other quantities are as likely, unless they are whole numbers.
    if low < 0 or not 16 < high <= 255 or (high <= 128 and (images != np.floor(images)).any()):
        return None
    return f"{name}: floats from {low:g} to {high:g} are used as they are; pixels are scaled to 0 to 1 only as uint8"


def _constant_images(name: str, images: np.ndarray) -> str | None:
    pixels = images.reshape(len(images), -1)
    if pixels.shape[1] < FEWEST_PIXELS:
        return None
    constant = np.flatnonzero((pixels == pixels[:, :1]).all(axis=1))
    if not len(constant):
        return None
    which = f"image {constant[0]} is" if len(constant) == 1 else f"{len(constant):,} images are"
    first = "" if len(constant) == 1 else f", the first of them image {constant[0]}"
    return f"{name}: {which} constant, all pixels of one value{first}"


def _channels_first(name: str, images: np.ndarray) -> str | None:
    shape = images.shape[1:]
    if len(shape) != 3 or shape[0] not in CHANNELS or shape[2] in CHANNELS:
        return None
    return f"{name}: images of shape {shape} look like channels first; the last dimension is taken as the channels"
