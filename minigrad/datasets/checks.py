"""Checks of images and labels that apply to all file formats."""

from __future__ import annotations

import numpy as np

from ..runs.errors import UserError


def as_images(name: str, array: np.ndarray) -> np.ndarray:
    """Check images or vectors and convert them to uint8 or float32.

    Args:
        name: the name of the array, for messages.
        array: (n, ...), integers from 0 to 255 or floats.

    Returns:
        The images: integers as uint8 pixels, floats as float32.

    Raises:
        UserError: the array is empty, not numeric, contains integers that are not pixels, or floats that are not finite.
    """
    if array.ndim < 2 or 0 in array.shape:
        raise UserError(
            f"{name}: the shape is {array.shape}; expected (n, ...) with at least one image and one pixel per image"
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise UserError(
                f"{name}: the integers range from {low} to {high}; expected pixels from 0 to 255, or floats"
            )
        return array.astype(np.uint8)
    if array.dtype.kind != "f":
        raise UserError(f"{name}: the dtype is {array.dtype}; expected uint8 pixels or floats")
    with np.errstate(over="ignore"):
        converted = array.astype(np.float32)
    finite = np.isfinite(converted).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise UserError(
            f"{name}: image {row} contains NaN, inf or a number too large for float32; expected finite numbers"
        )
    return converted


def as_labels(name: str, array: np.ndarray, count: int) -> np.ndarray:
    """Check labels and convert them to int64.

    Args:
        name: the name of the array, for messages.
        array: (count,) or (count, 1), integers or floats.
        count: the number of images.

    Returns:
        The labels, (count,) int64.

    Raises:
        UserError: the shape or the number of labels is wrong, or a label is negative or not a whole number.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UserError(f"{name}: the shape is {array.shape}; expected one label per image, shape ({count},)")
    if len(array) != count:
        raise UserError(f"{name}: there are {len(array)} labels for {count} images; expected one label per image")
    if array.dtype.kind not in "iuf":
        raise UserError(f"{name}: the dtype is {array.dtype}; expected class numbers 0, 1, 2, ...")
    if array.dtype.kind == "f":
        array = array.astype(np.float64)  # float16 cannot represent 2^31
    invalid = ~((array >= 0) & (array == np.floor(array)) & (array < 2**31))
    if invalid.any():
        row = int(np.argmax(invalid))
        raise UserError(f"{name}: the label of image {row} is {array[row]}; expected a class number 0, 1, 2, ...")
    return array.astype(np.int64)


def count_classes(
    name: str, train: np.ndarray, test_name: str, test: np.ndarray, names: tuple[str, ...] | None = None
) -> int:
    """Return the number of classes: the largest training label plus one, or the number of class names.

    Args:
        name: the name of the training labels, for messages.
        train: the training labels, (n,) int64.
        test_name: the name of the test labels, for messages.
        test: the test labels, (m,) int64; may be empty.
        names: the class names, or None.

    Raises:
        UserError: there is only one class, far more classes than images, a label without a name, or a test label beyond
            the training labels.
    """
    count = int(train.max()) + 1
    if names is not None:
        if count > len(names):
            raise UserError(
                f"{name}: the largest label is {count - 1}; expected 0 to {len(names) - 1}, as in class_names"
            )
        count = len(names)
    if count < 2:
        raise UserError(f"{name}: every label is {repr(names[0]) if names else 0}; expected at least two classes")
    if count > max(1_000, len(train)):
        raise UserError(
            f"{name}: the largest label is {count - 1}, but there are only {len(train)} images;"
            " expected classes numbered from 0 without large gaps"
        )
    if test.max(initial=0) >= count:
        raise UserError(
            f"{test_name}: the label of image {int(test.argmax())} is {int(test.max())};"
            f" expected 0 to {count - 1}, the classes in {name}"
        )
    return count
