"""All random choices about the data: which images are held out, the order of each epoch, and how images are shifted.

Each choice depends only on the seed and the epoch. Therefore all packages use
the same batches, and a resumed run does not need the state of a generator.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..runs.errors import UserError

# The second element of a seed sequence, so that the random streams are independent. `minigrad.classifier` uses 2.
_HELD_OUT, _ORDER, _SHIFT = 0, 1, 3
MAX_SHIFT = 1  # pixels
MAX_DEFAULT_VALIDATION_SIZE = 5000


def resolve_validation_size(size: int, validation_size: int | None) -> int:
    """Return the number of images to hold out.

    Args:
        size: the number of training images.
        validation_size: the number to hold out; None means a tenth of `size`, at most 5,000.
    """
    return min(MAX_DEFAULT_VALIDATION_SIZE, size // 10) if validation_size is None else validation_size


def split(size: int, validation_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide the indices 0 to `size` - 1 at random.

    Args:
        size: the number of training images.
        validation_size: the number of images to hold out.
        seed: selects the images to hold out.

    Returns:
        The training and the validation indices, each int64 in ascending order.

    Raises:
        UserError: the size is negative, or no training image would remain.
    """
    if not 0 <= validation_size < size:
        raise UserError(
            f"data.validation_size: {validation_size} of {size} training images; expected 0 to {size - 1},"
            " so that at least one image remains to train on"
        )
    shuffled = np.random.default_rng([seed, _HELD_OUT]).permutation(size)
    return np.sort(shuffled[validation_size:]), np.sort(shuffled[:validation_size])


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order in which an epoch visits the training images.

    Args:
        size: the number of training images.
        seed: the seed of the run.
        epoch: the number of the epoch, from 0.

    Returns:
        A permutation of 0 to `size` - 1, (size,) int64.
    """
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(size)


def epoch_shifts(size: int, seed: int, epoch: int) -> np.ndarray:
    """Return the random shift of each training image in an epoch.

    Args:
        size: the number of training images.
        seed: the seed of the run.
        epoch: the number of the epoch, from 0.

    Returns:
        Pixels down and right, from -MAX_SHIFT to MAX_SHIFT, (size, 2) int64.
    """
    return np.random.default_rng([seed, _SHIFT, epoch]).integers(-MAX_SHIFT, MAX_SHIFT, (size, 2), endpoint=True)


def shifted(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return shifted copies of images, filled with zeros.

    Args:
        images: (n, height, width) or (n, height, width, channels), any dtype.
        shifts: pixels down and right per image, from -MAX_SHIFT to MAX_SHIFT, (n, 2) int64.

    Returns:
        The shifted images, with the shape and dtype of `images`.
    """
    n, height, width, *channels = images.shape
    m = MAX_SHIFT
    padded = np.zeros((n, height + 2 * m, width + 2 * m, *channels), images.dtype)
    padded[:, m : m + height, m : m + width] = images
    windows = sliding_window_view(padded, (height, width), axis=(1, 2))
    selected = windows[np.arange(n), m - shifts[:, 0], m - shifts[:, 1]]
    return selected if not channels else np.moveaxis(selected, 1, -1)


def batches(size: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """Yield the index batches of an epoch.

    Args:
        size: the number of training images.
        batch_size: the number of images per batch.
        seed: the seed of the run.
        epoch: the number of the epoch, from 0.

    Yields:
        Indices, (batch_size,) int64. The last batch is smaller if `batch_size` does not divide `size`.
    """
    order = epoch_order(size, seed, epoch)
    for start in range(0, size, batch_size):
        yield order[start : start + batch_size]


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Return the number of batches per epoch, including a smaller last batch.

    Args:
        size: the number of training images.
        batch_size: the number of images per batch.

    Raises:
        UserError: the batch size is less than 1 or larger than `size`.
    """
    if not 1 <= batch_size <= size:
        raise UserError(f"data.batch_size: {batch_size}; expected 1 to {size}, the number of training images")
    return -(-size // batch_size)
