"""The one source of chance in the data: who is held out, in which order the rest is seen, and how it is moved.

All are functions of the seed (and the epoch) alone. So every framework
sees the same batches, and a resumed run needs no generator state.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..runs.errors import UserError

# Second words of the seed sequences, so that the streams are independent (2 is the network's).
_HELD_OUT, _ORDER, _SHIFT = 0, 1, 3
MAX_SHIFT = 1  # pixels


LARGEST_HELD_OUT, PART_HELD_OUT = 5000, 10


def held_out(size: int, validation_size: int | None) -> int:
    """Return how many of `size` training images to hold out: `validation_size`, or by default a tenth, at most 5,000."""
    return min(LARGEST_HELD_OUT, size // PART_HELD_OUT) if validation_size is None else validation_size


def split(size: int, validation_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut 0..size-1 into (train, validation) indices, each ascending, drawn by the seed.

    Raises:
        UserError: nothing would be left to train on, or the size is negative.
    """
    if not 0 <= validation_size < size:
        raise UserError(
            f"data.validation_size: {validation_size} of {size} training images; expected 0 to {size - 1},"
            " so that something is left to train on"
        )
    shuffled = np.random.default_rng([seed, _HELD_OUT]).permutation(size)
    return np.sort(shuffled[validation_size:]), np.sort(shuffled[:validation_size])


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The order of 0..size-1 in this epoch (counted from 0): int64, shape (size,)."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(size)


def epoch_shifts(size: int, seed: int, epoch: int) -> np.ndarray:
    """How far each image is moved in this epoch, down and right: int64 from -MAX_SHIFT to MAX_SHIFT, shape (size, 2)."""
    return np.random.default_rng([seed, _SHIFT, epoch]).integers(-MAX_SHIFT, MAX_SHIFT, (size, 2), endpoint=True)


def shifted(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """`images` (n, height, width, ...), each moved down and right by its row of `shifts` (n, 2); zeros move in."""
    n, height, width, *channels = images.shape
    m = MAX_SHIFT
    padded = np.zeros((n, height + 2 * m, width + 2 * m, *channels), images.dtype)
    padded[:, m : m + height, m : m + width] = images
    windows = sliding_window_view(padded, (height, width), axis=(1, 2))
    moved = windows[np.arange(n), m - shifts[:, 0], m - shifts[:, 1]]
    return moved if not channels else np.moveaxis(moved, 1, -1)


def batches(size: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The epoch's index batches in order; the last one is the remainder, smaller where sizes don't divide."""
    order = epoch_order(size, seed, epoch)
    for start in range(0, size, batch_size):
        yield order[start : start + batch_size]


def steps_per_epoch(size: int, batch_size: int) -> int:
    """How many batches an epoch has, the remainder's included.

    Raises:
        UserError: the batch is larger than the data.
    """
    if not 1 <= batch_size <= size:
        raise UserError(f"data.batch_size: {batch_size}; expected 1 to {size}, the number of training images")
    return -(-size // batch_size)
