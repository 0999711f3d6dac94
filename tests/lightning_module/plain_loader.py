"""A control in plain Lightning: a DataLoader with workers and a sampler that shuffles anew in each epoch.

When Lightning continues a run, it creates the iterator of the loader before it
calls `set_epoch`. The workers then fetch batches of epoch 0 again. And it
starts at the first batch, even if the checkpoint was saved within an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Sampler, TensorDataset


class Shuffled(Sampler[int]):
    """A random order per epoch, which depends on the epoch only."""

    def __init__(self, size: int) -> None:
        self.size, self.epoch = size, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(self.size, generator=torch.Generator().manual_seed(self.epoch)).tolist())


def plain_loader(images: torch.Tensor, labels: torch.Tensor, workers: int) -> DataLoader[Any]:
    data = TensorDataset(images, labels)
    return DataLoader(data, batch_size=16, sampler=Shuffled(len(data)), num_workers=workers)


class Batches(Callback):
    """Keeps the labels of each training batch, by epoch and index of the batch."""

    def __init__(self) -> None:
        self.labels: dict[tuple[int, int], list[int]] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.labels[trainer.current_epoch, batch_idx] = batch[1].tolist()

    def epoch(self, number: int) -> list[int]:
        """Return the labels of an epoch, in the order of training."""
        return [label for (epoch, _), labels in sorted(self.labels.items()) if epoch == number for label in labels]


def train(
    module: LightningModule, data: LightningDataModule | DataLoader[Any], folder: Path, checkpoint: Path | None = None
) -> Batches:
    """Train for three epochs with a plain Trainer, with a checkpoint after every second step; return the batches."""
    batches = Batches()
    saver = ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=-1)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_epochs=3, accelerator="cpu", use_distributed_sampler=False, callbacks=[batches, saver], **quiet
    )
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    return batches
