"""Notes and warnings about a data set, printed before training: one sentence each."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from . import labels

if TYPE_CHECKING:
    from . import Dataset

MIN_IMAGES_PER_CLASS = 100
MIN_PIXELS = 9  # in shorter vectors, equal values are not unusual
CHANNELS = (1, 3, 4)


def report(data: Dataset) -> None:
    """Print the decisions of the reader, and print warnings about probable mistakes on standard error."""
    report_notes(data)
    for warning in warnings(data):
        print(f"warning: {data.path}: {warning}", file=sys.stderr)


def report_notes(data: Dataset) -> None:
    """Print the decisions of the reader, without warnings; for commands that do not train."""
    for note in data.notes:
        print(note)


def warnings(data: Dataset) -> list[str]:
    """Return one sentence per probable mistake in the data set.

    Args:
        data: the data set, after the validation images are held out.

    Returns:
        Sentences that start with the name of the array, for example `y_train: class 3 has no training images`.
    """
    sentences = [_empty_classes(data), _few_images_per_class(data), _similar_names(data)]
    for name, images in (("x_train", data.train.images), ("x_test", data.test.images)):
        sentences += [_float_pixels(name, images), _constant_images(name, images), _channels_first(name, images)]
    return [sentence for sentence in sentences if sentence is not None]


def _empty_classes(data: Dataset) -> str | None:
    counts = np.bincount(data.train.labels, minlength=data.classes)
    empty = np.flatnonzero(counts == 0).tolist()
    if data.classes - len(empty) == 1:
        only = labels.name_of(int(counts.argmax()), data.class_names)
        return f"y_train: all training images belong to class {only}; expected at least two classes"
    if not empty:
        return None
    if empty == [0] and not data.class_names:
        return "y_train: class 0 has no training images; if the labels start at 1, subtract 1 from each of them"
    listed = labels.listed([labels.name_of(k, data.class_names) for k in empty])
    return f"y_train: {f'class {listed} has' if len(empty) == 1 else f'classes {listed} have'} no training images"


def _few_images_per_class(data: Dataset) -> str | None:
    size = len(data.train.labels)
    if data.classes * MIN_IMAGES_PER_CLASS <= size:
        return None
    return (
        f"y_train: there are only {size:,} training images for {data.classes} classes,"
        f" fewer than {MIN_IMAGES_PER_CLASS} per class"
    )


def _similar_names(data: Dataset) -> str | None:
    first: dict[str, str] = {}
    for name in data.class_names:
        key = name.casefold() if len(name) > 1 else name  # `a` and `A` are different classes
        key = key.lstrip("0") if labels.WHOLE.fullmatch(key) else key
        if key in first:
            return f"class_names: {first[key]!r} and {name!r} are different classes; if they are the same, rename one of them"
        first[key] = name
    return None


def _float_pixels(name: str, images: np.ndarray) -> str | None:
    if images.dtype == np.uint8:
        return None
    low, high = float(images.min()), float(images.max())
    # A maximum of at most 128 is as likely for other quantities, unless all values are whole numbers.
    if low < 0 or not 16 < high <= 255 or (high <= 128 and (images != np.floor(images)).any()):
        return None
    return (
        f"{name}: the floats range from {low:g} to {high:g} and are not scaled;"
        " if they are pixels, store them as uint8, which the network divides by 255"
    )


def _constant_images(name: str, images: np.ndarray) -> str | None:
    pixels = images.reshape(len(images), -1)
    if pixels.shape[1] < MIN_PIXELS:
        return None
    constant = np.flatnonzero((pixels == pixels[:, :1]).all(axis=1))
    if not len(constant):
        return None
    if len(constant) == 1:
        return f"{name}: all pixels of image {constant[0]} have the same value"
    return f"{name}: in {len(constant):,} images all pixels have the same value; the first one is image {constant[0]}"


def _channels_first(name: str, images: np.ndarray) -> str | None:
    shape = images.shape[1:]
    if len(shape) != 3 or shape[0] not in CHANNELS or shape[2] in CHANNELS:
        return None
    return (
        f"{name}: the image shape {shape} seems to be (channels, height, width);"
        " it is interpreted as (height, width, channels)"
    )
