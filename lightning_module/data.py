"""Any data set that minigrad.datasets reads, as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (everybody's name for it)
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from minigrad import datasets
from minigrad.recipes.schema import Augment

Batch = tuple[Tensor, ...]

# Asked for at each batch, drawn once an epoch.
epoch_shifts = lru_cache(maxsize=1)(datasets.epoch_shifts)


class InMemory(Dataset[Batch]):
    """Images and labels in memory; a batch is one indexing operation, not one for each image."""

    def __init__(self, split: datasets.Split) -> None:
        self.images, self.labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.images[index], self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        at = torch.as_tensor(indices)
        return self.images[at], self.labels[at]


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


class Moving(InMemory):
    """Training images, their labels, and how far each image is moved in this epoch, (n, 2).

    That follows from the seed, the epoch and the image's index alone, so it
    does not matter which rank draws a batch, or when a run was resumed. The
    moving itself is left to the data module, on the device.
    """

    def __init__(self, split: datasets.Split, order: SeededOrder) -> None:
        super().__init__(split)
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


class Share(SequentialSampler):
    """Every index once, in order, dealt out to the ranks in turn: for validation."""

    def __init__(self, data: InMemory, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(data)
        self.indices = range(rank, len(data), ranks)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def whole(batch: Any) -> Any:
    """The collate function of a data set that hands out whole batches."""
    return batch


class ImageDataModule(LightningDataModule):
    """Train, validation and test loaders over one data set.

    Args:
        path: mnist, an .npz, or a folder with Kaggle's CSV or IDX files.
        batch_size: images a step, on each device.
        validation_size: images held out of training, drawn by the seed.
        augment: what is done to training images: none, or shift, which moves each by up to a pixel in each direction.
        seed: of the held-out images, the batch order and the shifts.

    Raises:
        UserError: on first use, if the data can't be used or a batch is larger than they are.
    """

    def __init__(
        self,
        path: str = "mnist",
        batch_size: int = 128,
        validation_size: int = 5000,
        augment: Augment = "none",
        seed: int = 42,
    ) -> None:
        super().__init__()
        self.path, self.batch_size, self.validation_size, self.seed = path, batch_size, validation_size, seed
        self.augment = augment

    @cached_property
    def dataset(self) -> datasets.Dataset:
        """Loaded on first use."""
        data = datasets.load(self.path, self.validation_size, self.seed)
        datasets.steps_per_epoch(len(data.train.labels), self.batch_size)
        return data

    @property
    def input_shape(self) -> list[int]:
        return list(self.dataset.input_shape)

    @property
    def classes(self) -> int:
        return self.dataset.classes

    @property
    def input_scale(self) -> float:
        return self.dataset.input_scale

    def train_dataloader(self) -> DataLoader[Batch]:
        split = self.dataset.train
        order = SeededOrder(len(split.labels), self.seed, *self._ranks())
        return self._loader(Moving(split, order) if self.augment == "shift" else InMemory(split), order)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        if not self.validation_size:
            return []
        validation = InMemory(self.dataset.validation)
        return self._loader(validation, Share(validation, *self._ranks()))

    def test_dataloader(self) -> DataLoader[Batch]:
        test = InMemory(self.dataset.test)
        return self._loader(test, Share(test, *self._ranks()))

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        images, labels, *shifts = batch
        return (shifted(images, *shifts), labels) if shifts else batch

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, data: InMemory, sampler: Sampler[int]) -> DataLoader[Batch]:
        # In memory there is nothing for workers to do in parallel; sending batches between processes would cost more.
        return DataLoader(data, batch_size=self.batch_size, sampler=sampler, collate_fn=whole, num_workers=0)
