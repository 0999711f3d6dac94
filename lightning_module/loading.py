"""Whole batches out of memory, in the package's one order, dealt out to the ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (everybody's name for it)
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from minigrad import datasets

Batch = tuple[Tensor, ...]

# Asked for at each batch, drawn once an epoch.
epoch_shifts = lru_cache(maxsize=1)(datasets.epoch_shifts)


class InMemory(Dataset[Any]):
    """Arrays of equal length; a batch is one gather from each, not one for each image."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = [torch.from_numpy(array) for array in arrays]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> Batch:
        return tuple(array[index] for array in self.arrays)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        at = torch.from_numpy(np.array(indices))
        return tuple(array.index_select(0, at) for array in self.arrays)


class SeededOrder(Sampler[int]):
    """The package's one batch order: a function of the seed and the epoch, dealt out to the ranks in turn.

    Lightning calls `set_epoch`. With several ranks, the few indices that
    would leave them with unequal counts sit this epoch out.
    """

    def __init__(self, size: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.size, self.seed, self.rank, self.ranks, self.epoch = size, seed, rank, ranks, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.ranks

    def __iter__(self) -> Iterator[int]:
        order = datasets.epoch_order(self.size, self.seed, self.epoch)
        return iter(order[self.rank : self.size - self.size % self.ranks : self.ranks].tolist())


class Share(SequentialSampler):
    """Every index once, in order, dealt out to the ranks in turn: for validation and test."""

    def __init__(self, data: InMemory, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(data)
        self.indices = range(rank, len(data), ranks)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


class Moving(InMemory):
    """Training images, their labels, and how far each image is moved in this epoch, (n, 2).

    That follows from the seed, the epoch and the image's index alone, so it
    does not matter which rank draws a batch, or when a run was resumed. The
    moving itself is left to the data module, on the device.
    """

    def __init__(self, split: datasets.Split, order: SeededOrder) -> None:
        super().__init__(*split)
        self.order = order

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        shifts = epoch_shifts(len(self), self.order.seed, self.order.epoch)
        return *super().__getitems__(indices), torch.from_numpy(shifts[indices])


def shifted(images: Tensor, shifts: Tensor) -> Tensor:
    """`datasets.shifted` on the images' device: (n, height, width, ...) by (n, 2) pixels down and right, zeros move in."""
    height, width, m = images.shape[1], images.shape[2], datasets.MAX_SHIFT
    channels = (0, 0) * (images.ndim - 3)
    windows = F.pad(images, (*channels, m, m, m, m)).unfold(1, height, 1).unfold(2, width, 1)
    moved = windows[torch.arange(len(images), device=images.device), m - shifts[:, 0], m - shifts[:, 1]]
    return moved.movedim(1, -1) if channels else moved


def loader(data: InMemory, sampler: Sampler[int], batch_size: int) -> DataLoader[Any]:
    """Batches of `data` in the sampler's order."""
    # In memory there is nothing for workers to do in parallel; sending batches between processes would cost more.
    return DataLoader(data, batch_size=batch_size, sampler=sampler, collate_fn=whole, num_workers=0)


def whole(batch: Any) -> Any:
    """The collate function of a data set that hands out whole batches."""
    return batch
