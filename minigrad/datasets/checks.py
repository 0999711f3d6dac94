"""What every data set must satisfy, whatever file it came from."""

from __future__ import annotations

import numpy as np

from ..runs.errors import UserError


def images(name: str, array: np.ndarray) -> np.ndarray:
    """Images or vectors, (n, ...), as uint8 (pixels, scaled by 1/255 in the model) or float32 (taken as they are).

    Raises:
        UserError: no rows, no numbers, integers that are not pixels, NaN or inf.
    """
    if array.ndim < 2 or 0 in array.shape:
        raise UserError(f"{name}: shape {array.shape}; expected (n, ...) with at least one image and one pixel")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise UserError(f"{name}: integers from {low} to {high}; expected pixels from 0 to 255, or floats")
        return array.astype(np.uint8)
    if array.dtype.kind != "f":
        raise UserError(f"{name}: dtype {array.dtype}; expected uint8 pixels or floats")
    with np.errstate(over="ignore"):
        converted = array.astype(np.float32)
    finite = np.isfinite(converted).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise UserError(f"{name}: image {row} holds NaN, inf or a number beyond float32; expected finite numbers")
    return converted


def labels(name: str, array: np.ndarray, count: int) -> np.ndarray:
    """Labels, (n,), as int64, one for each of `count` images.

    Raises:
        UserError: another shape or count, a fractional or negative label.
    """
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UserError(f"{name}: shape {array.shape}; expected one label an image, shape ({count},)")
    if len(array) != count:
        raise UserError(f"{name}: {len(array)} labels for {count} images; expected as many labels as images")
    if array.dtype.kind not in "iuf":
        raise UserError(f"{name}: dtype {array.dtype}; expected whole numbers from 0")
    if array.dtype.kind == "f":
        array = array.astype(np.float64)  # a float16 could not be held against 2^31
    wrong = ~((array >= 0) & (array == np.floor(array)) & (array < 2**31))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(f"{name}: label {array[row]} of image {row}; expected a whole number from 0")
    return array.astype(np.int64)


def classes(name: str, train: np.ndarray, test_name: str, test: np.ndarray) -> int:
    """The number of classes, read from the training labels: the largest plus one.

    Raises:
        UserError: a single class, classes beyond counting, or a test label never seen in training.
    """
    count = int(train.max()) + 1
    if count < 2:
        raise UserError(f"{name}: every label is 0; expected at least two classes")
    if count > max(1_000, len(train)):
        raise UserError(
            f"{name}: label {count - 1} for {len(train)} images; expected classes numbered from 0 without large gaps"
        )
    if test.max() >= count:
        found = f"label {int(test.max())} of image {int(test.argmax())}"
        raise UserError(f"{test_name}: {found}; expected 0 to {count - 1}, the classes in {name}")
    return count
