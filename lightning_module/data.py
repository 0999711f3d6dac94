"""Any data set of `minigrad.datasets` as a LightningDataModule, with whole batches from memory."""

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

# The shifts are needed for each batch, but are drawn only once per epoch.
epoch_shifts = lru_cache(maxsize=1)(datasets.epoch_shifts)


class ImageDataModule(LightningDataModule):
    """Loaders of the training, validation and test images of one data set, and of the images for `predict`.

    Args:
        path: mnist, digits, an .npz file, or a folder with CSV files, IDX files or one subfolder of pictures per class;
            predict accepts images in more formats.
        batch_size: the number of images per step and device.
        validation_size: the number of training images that are held out for validation, chosen by the seed; null takes a
            tenth of them, at most 5,000. Tests and predictions do not depend on it.
        augment: none, or shift: moves each training image by up to one pixel in each direction, by a new random amount in
            each epoch.
        seed: the seed of the validation images, the batch order and the shifts.

    Attributes:
        preprocess: how `predict` prepares pictures: auto, none, or None for the default of `datasets.load_images`.
        unlabelled: the images of `predict`, after the predict loader was created.

    Raises:
        UserError: on first use, if the data cannot be used, or a batch is larger than the training set.

    Example:
        data = ImageDataModule("mnist", batch_size=128)
        Trainer(max_epochs=10, use_distributed_sampler=False).fit(LitClassifier(), data)
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
        self.save_hyperparameters()  # so that checkpoints contain them
        self.path, self.batch_size, self.validation_size, self.seed = path, batch_size, validation_size, seed
        self.augment = augment
        self.preprocess: datasets.Preprocess | None = None
        self.unlabelled: datasets.Unlabelled | None = None

    @cached_property
    def _unsplit(self) -> datasets.Dataset:
        """The data without a validation split, loaded on first use."""
        return datasets.load(self.path)

    @property
    def loaded(self) -> datasets.Dataset:
        """The data, with a validation split only if `dataset` has been used before."""
        return self.__dict__.get("dataset") or self._unsplit

    @cached_property
    def dataset(self) -> datasets.Dataset:
        """The data with the validation split, for training."""
        data = self._unsplit.hold_out(self.validation_size, self.seed)
        del self._unsplit  # otherwise the training images would be in memory twice
        datasets.steps_per_epoch(len(data.train.labels), self.batch_size)
        return data

    def align(self, names: Sequence[str], source: object) -> None:
        """Number the classes as a network does.

        Args:
            names: the class names of the network; empty changes nothing.
            source: the file of the network, for messages.

        Raises:
            UserError: the classes of the data have other names.
        """
        part = "dataset" if "dataset" in self.__dict__ else "_unsplit"
        self.__dict__[part] = datasets.align_classes(self.loaded, names, source)

    def setup(self, stage: str) -> None:
        """Number the classes as the module does that will be tested."""
        module = self.trainer.lightning_module if self.trainer else None
        if stage in ("test", "validate") and isinstance(module, LightningModule):
            hparams: Any = module.hparams
            self.align(tuple(hparams.get("class_names", ())), "the network")

    def images_for(self, module: LightningModule) -> datasets.Unlabelled:
        """Load the images at `path` for `predict`, in the shape and scale that `module` was trained on."""
        hparams: Any = module.hparams
        return datasets.load_images(
            self.path,
            tuple(hparams.input_shape),
            hparams.input_scale,
            mnist_like=hparams.get("mnist_like"),
            preprocess=self.preprocess,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        split = self.dataset.train
        order = SeededOrder(len(split.labels), self.seed, *self._ranks())
        data = WithShifts(split, order) if self.augment == "shift" else InMemory(*split)
        return loader(data, order, self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        validation = self.dataset.validation
        return self._in_order(InMemory(*validation)) if len(validation.labels) else []

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._in_order(InMemory(*self.loaded.test))

    def predict_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        self.unlabelled = self.images_for(self.trainer.lightning_module)
        return self._in_order(InMemory(self.unlabelled.images))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return tuple(part.to(device, non_blocking=True) for part in batch)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if len(batch) < 3:
            return batch
        images, labels, shifts = batch  # from WithShifts
        return shifted(images, shifts), labels

    def _in_order(self, data: InMemory) -> DataLoader[Batch]:
        return loader(data, Share(data, *self._ranks()), self.batch_size)

    def _ranks(self) -> tuple[int, int]:
        """Return the rank of this process and the number of ranks."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


class InMemory(Dataset[Any]):
    """Arrays of equal length. A batch is one `index_select` per array, instead of one item per image.

    Args:
        arrays: (n, ...), such as the images and the labels.
    """

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = [torch.from_numpy(array) for array in arrays]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> Batch:
        return tuple(array[index] for array in self.arrays)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        selected = torch.from_numpy(np.array(indices))
        return tuple(array.index_select(0, selected) for array in self.arrays)


class WithShifts(InMemory):
    """Training images, their labels, and the shift of each image in the current epoch, (n, 2).

    A shift depends on the seed, the epoch and the index of the image only. So
    it is the same on any number of devices, and in a resumed run. The data
    module moves the images after their transfer to the device.

    Args:
        split: the training images and labels.
        order: the sampler, whose seed and epoch determine the shifts.
    """

    def __init__(self, split: datasets.Split, order: SeededOrder) -> None:
        super().__init__(*split)
        self.order = order

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        shifts = epoch_shifts(len(self), self.order.seed, self.order.epoch)
        return *super().__getitems__(indices), torch.from_numpy(shifts[indices])


class SeededOrder(Sampler[int]):
    """The order of the training images that all packages use, split among the ranks.

    The order depends on the seed and the epoch only; Lightning calls
    `set_epoch`. A step of all ranks together has the same images as a step of
    one process with a batch of that size. If the number of images is not a
    multiple of the number of ranks, the last few images of the order are
    skipped in this epoch.

    Args:
        size: the number of training images.
        seed: the seed of the order.
        rank: the rank of this process.
        ranks: the number of processes.
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
    """Every index once, in order, split among the ranks; for validation and test.

    Args:
        data: its length is the number of indices.
        rank: the rank of this process.
        ranks: the number of processes.
    """

    def __init__(self, data: InMemory, rank: int = 0, ranks: int = 1) -> None:
        super().__init__(data)
        self.indices = range(rank, len(data), ranks)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def loader(data: InMemory, sampler: Sampler[int], batch_size: int) -> DataLoader[Any]:
    """Return a loader of batches of `data` in the order of `sampler`."""
    # No workers: since the data are in memory, they would only add the cost of sending batches between processes.
    return DataLoader(data, batch_size=batch_size, sampler=sampler, collate_fn=whole, num_workers=0)


def whole(batch: Any) -> Any:
    """Return `batch` unchanged: the collate function of a data set that returns whole batches."""
    return batch
