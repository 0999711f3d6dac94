"""The data module has the data and the batches of minigrad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning_helpers import clouds, pixels

from lightning_module.data import ImageDataModule, InMemory, SeededOrder
from lightning_module.model import LitClassifier
from lightning_module.network import shifted
from minigrad import datasets


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_the_order_is_minigrads(epoch: int) -> None:
    order = SeededOrder(101, seed=7)
    order.set_epoch(epoch)
    assert list(order) == datasets.epoch_order(101, 7, epoch).tolist()
    assert len(order) == 101


def test_the_order_is_new_each_epoch_and_each_seed() -> None:
    seen = set()
    for seed in range(3):
        for epoch in range(3):
            order = SeededOrder(50, seed)
            order.set_epoch(epoch)
            seen.add(tuple(order))
            assert tuple(order) == tuple(order), "the same at the second iteration"
    assert len(seen) == 9


@pytest.mark.parametrize(("size", "ranks"), [(12, 2), (101, 2), (101, 3), (7, 4), (16, 1)])
def test_ranks_share_an_epoch_in_equal_parts_without_overlap(size: int, ranks: int) -> None:
    shares = [SeededOrder(size, 3, rank, ranks) for rank in range(ranks)]
    for share in shares:
        share.set_epoch(2)
    dealt = [list(share) for share in shares]
    assert {len(d) for d in dealt} == {size // ranks}
    assert {len(share) for share in shares} == {size // ranks}
    together = [index for d in dealt for index in d]
    assert len(set(together)) == len(together) == size - size % ranks
    # A step of all ranks together sees what one process would: the same indices as the next of the one order.
    interleaved = [index for step in zip(*dealt, strict=True) for index in step]
    assert interleaved == datasets.epoch_order(size, 3, 2)[: size - size % ranks].tolist()


@pytest.mark.parametrize("kind", ["vectors", "images"])
@pytest.mark.parametrize("epoch", [0, 3])
def test_batches_are_minigrads(kind: str, epoch: int) -> None:
    np.savez("a.npz", **(clouds(0, 100, 1.0, classes=5, width=4) if kind == "vectors" else pixels(0, 80, 4, (2, 3))))
    module = ImageDataModule("a.npz", batch_size=16, validation_size=10, seed=5)
    data = datasets.load("a.npz", 10, 5)
    loader = module.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
    batches = list(loader)
    expected = list(datasets.batches(len(data.train.labels), 16, 5, epoch))
    assert len(batches) == len(expected) == datasets.steps_per_epoch(len(data.train.labels), 16)
    for (images, labels), at in zip(batches, expected, strict=True):
        assert images.numpy().dtype == data.train.images.dtype
        np.testing.assert_array_equal(images.numpy(), data.train.images[at])
        np.testing.assert_array_equal(labels.numpy(), data.train.labels[at])


def test_validation_and_test_come_whole_and_in_order() -> None:
    np.savez("a.npz", **clouds(0, 100, 1.0))
    module, data = ImageDataModule("a.npz", 16, 10, seed=5), datasets.load("a.npz", 10, 5)
    for loader, split in (
        (module.val_dataloader(), data.validation),
        (module.test_dataloader(), data.test),
    ):
        parts = list(loader)
        np.testing.assert_array_equal(torch.cat([x for x, _ in parts]).numpy(), split.images)
        np.testing.assert_array_equal(torch.cat([y for _, y in parts]).numpy(), split.labels)


def test_without_validation_there_is_no_loader_for_it(easy: str) -> None:
    module = ImageDataModule(easy, 16, 0)
    assert list(module.val_dataloader()) == []
    assert sum(len(y) for _, y in module.train_dataloader()) == 160


@pytest.mark.parametrize(
    ("arrays", "shape", "classes", "scale"),
    [
        (clouds(0, 60, 1.0, classes=7, width=9), (9,), 7, 1.0),
        (pixels(0, 60, 4, (2, 5)), (2, 5), 4, 1 / 255),
        (pixels(0, 60, 2, (2, 5, 3)), (2, 5, 3), 2, 1 / 255),
    ],
)
def test_it_has_the_shape_classes_and_scale_of_the_data(
    arrays: Any, shape: tuple[int, ...], classes: int, scale: float
) -> None:
    np.savez("a.npz", **arrays)
    data = ImageDataModule("a.npz", 8, 5).dataset
    assert (data.input_shape, data.classes, data.input_scale) == (shape, classes, scale)


def test_one_index_and_many_agree(easy: str) -> None:
    split = datasets.load(easy).train
    data = InMemory(*split)
    images, labels = data.__getitems__([5, 2, 9])
    assert len(data) == 160
    for row, index in enumerate((5, 2, 9)):
        image, label = data[index]
        assert torch.equal(image, images[row])
        assert label == labels[row] == split.labels[index]


def test_nothing_is_loaded_before_it_is_needed() -> None:
    module = ImageDataModule("later.npz", 8, 5)
    np.savez("later.npz", **clouds(0, 60, 1.0))
    assert module.dataset.classes == 3
    Path("later.npz").unlink()
    assert module.dataset.input_shape == (6,), "loaded once"


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (1, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_move_as_minigrads_do(shape: tuple[int, ...], dtype: str) -> None:
    images, shifts = pixels(0, 30, shape=shape)["x_train"].astype(dtype), datasets.epoch_shifts(30, 7, 2)
    moved = shifted(torch.from_numpy(images), torch.from_numpy(shifts)).numpy()
    assert moved.dtype == images.dtype
    np.testing.assert_array_equal(moved, datasets.shifted(images, shifts))


class KeepImages(Callback):
    """Keeps the images of training and validation."""

    def __init__(self) -> None:
        self.train: list[np.ndarray] = []
        self.validation: list[np.ndarray] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.train.append(batch[0].numpy().copy())

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
        self.validation.append(batch[0].numpy().copy())


def test_training_sees_moved_images_anew_each_epoch_and_validation_none(few: str) -> None:
    module, data, seen = ImageDataModule(few, 16, 20, "shift", seed=5), datasets.load(few, 20, 5), KeepImages()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", num_sanity_val_steps=0, enable_model_summary=False, callbacks=[seen], **quiet
    )  # type: ignore[arg-type]
    trainer.fit(LitClassifier(input_shape=module.dataset.input_shape, classes=module.dataset.classes), module)
    expected = [
        datasets.shifted(data.train.images[at], datasets.epoch_shifts(100, 5, epoch)[at])
        for epoch in (0, 1)
        for at in datasets.batches(100, 16, 5, epoch)
    ]
    np.testing.assert_array_equal(np.concatenate(seen.train), np.concatenate(expected))
    np.testing.assert_array_equal(np.concatenate(seen.validation), np.concatenate([data.validation.images] * 2))
