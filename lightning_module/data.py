"""Any data set that minigrad.datasets reads, as a LightningDataModule: whole batches out of memory, in the package's order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from minigrad import datasets
from minigrad.recipes.schema import Augment

from .network import shifted

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


def loader(data: InMemory, sampler: Sampler[int], batch_size: int) -> DataLoader[Any]:
    """Batches of `data` in the sampler's order."""
    # In memory there is nothing for workers to do in parallel; sending batches between processes would cost more.
    return DataLoader(data, batch_size=batch_size, sampler=sampler, collate_fn=whole, num_workers=0)


def whole(batch: Any) -> Any:
    """The collate function of a data set that hands out whole batches."""
    return batch


class ImageDataModule(LightningDataModule):
    """Train, validation and test loaders over one data set, or images for `predict`.

    Args:
        path: mnist, an .npz, or a folder with Kaggle's CSV or IDX files. For `predict`, images with or without
            labels: also a .csv, a PNG or JPEG, or a folder of them.
        batch_size: images a step, on each device.
        validation_size: images held out of training, drawn by the seed; null takes a tenth of the training images,
            at most 5,000. Tests and predictions do not depend on it.
        augment: what is done to training images: none, or shift, which moves each by up to a pixel in each direction.
        seed: of the held-out images, the batch order and the shifts.

    Raises:
        UserError: on first use, if the data can't be used or a batch is larger than they are.
    """

    def __init__(
        self,
        path: str = "mnist",
        batch_size: int = 128,
        validation_size: int | None = None,
        augment: Augment = "none",
        seed: int = 42,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()  # a checkpoint says what it was trained on
        self.path, self.batch_size, self.validation_size, self.seed = path, batch_size, validation_size, seed
        self.augment = augment

    @cached_property
    def _whole(self) -> datasets.Dataset:
        """The data without a validation split, loaded on first use."""
        return datasets.load(self.path)

    @property
    def loaded(self) -> datasets.Dataset:
        """The data, with a validation split only if training has asked for it: for what does not depend on one."""
        return self.__dict__.get("dataset") or self._whole

    @cached_property
    def dataset(self) -> datasets.Dataset:
        """The data to train on, with the validation split."""
        data = self._whole.hold_out(self.validation_size, self.seed)
        del self._whole  # which would keep the training images twice
        datasets.steps_per_epoch(len(data.train.labels), self.batch_size)
        return data

    def images_for(self, module: LightningModule) -> datasets.Unlabelled:
        """What `predict` answers: the images at `path`, as the module takes them."""
        h: Any = module.hparams
        return datasets.load_images(self.path, tuple(h.input_shape), h.input_scale)

    def train_dataloader(self) -> DataLoader[Batch]:
        split = self.dataset.train
        order = SeededOrder(len(split.labels), self.seed, *self._ranks())
        return loader(Moving(split, order) if self.augment == "shift" else InMemory(*split), order, self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        validation = self.dataset.validation
        return self._in_order(InMemory(*validation)) if len(validation.labels) else []

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._in_order(InMemory(*self.loaded.test))

    def predict_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        self.names, images = self.images_for(self.trainer.lightning_module)
        return self._in_order(InMemory(images))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return tuple(part.to(device, non_blocking=True) for part in batch)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if len(batch) < 3:
            return batch
        images, labels, shifts = batch  # of Moving
        return shifted(images, shifts), labels

    def _in_order(self, data: InMemory) -> DataLoader[Batch]:
        return loader(data, Share(data, *self._ranks()), self.batch_size)

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
