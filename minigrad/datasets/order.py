"""The one source of chance in the data: who is held out, and in which order the rest is seen.

Both are functions of the seed (and the epoch) alone. So every framework
sees the same batches, and a resumed run needs no generator state.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..runs.errors import UserError

# Second words of the seed sequences, so that the streams are independent.
_HELD_OUT, _ORDER = 0, 1


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
