"""Any data set that minigrad.datasets reads, as a LightningDataModule."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader

from minigrad import datasets
from minigrad.recipes.schema import Augment

from .loading import Batch, InMemory, Moving, SeededOrder, Share, loader, shifted


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
