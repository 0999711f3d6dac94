"""Any data set of `minigrad.datasets` as a LightningDataModule, with whole batches from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from minigrad import datasets
from minigrad.recipes.schema import Augment, Data
from minigrad.runs import UserError, signals

from . import own_classes
from .network import shifted

Batch = tuple[Tensor, ...]
MOST_WORKERS = 256  # more of them could take all the memory of the machine

# The shifts are needed for each batch, but are drawn only once per epoch.
epoch_shifts = lru_cache(maxsize=1)(datasets.epoch_shifts)


class ImageDataModule(LightningDataModule):
    """Loaders of the training, validation and test images of one data set, and of the images for `predict`.

    Args:
        path: mnist, digits, an .npz file, or a folder with CSV files, IDX files or one subfolder of pictures per class;
            predict accepts images in more formats.
        batch_size: the number of images per step and device.
        validation_size: the number of training images that are held out for validation, chosen by the seed; null takes a
            tenth of them, at most 5,000.
        augment: none, or shift: moves each training image by up to one pixel in each direction, by a new random amount in
            each epoch.
        seed: the seed of the validation images, the batch order and the shifts, and of dropout.
        num_workers: the number of processes that load batches; 0 loads them in the main process, which is fastest for the
            data of this class, since they are in memory. It does not change the batches. Without effect in distributed
            training on CPUs.

    Attributes:
        preprocess: how `predict` prepares pictures: auto, none, or None for the default of `datasets.load_images`.
        unlabelled: the images of `predict`, after the predict loader was created.

    Raises:
        UserError: an argument is invalid; or on first use, if the data cannot be used, or a batch is larger than the
            training set.

    A subclass may override `load_dataset`, and `on_after_batch_transfer` to transform batches. Its `__init__` passes the
    arguments above on as keywords; further arguments of it are hyperparameters too, and must be numbers, texts or lists
    of them.

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
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if type(num_workers) is not int or not 0 <= num_workers <= MOST_WORKERS:
            raise UserError(f"data.num_workers: {num_workers!r}; expected 0 to {MOST_WORKERS}")
        self.save_hyperparameters()  # so that checkpoints contain them
        path = self.hparams["path"] = str(path)  # checkpoints cannot contain a Path
        own_classes.check_arguments("data", self.hparams)
        self.path, self.batch_size, self.validation_size, self.seed = path, batch_size, validation_size, seed
        self.augment, self.num_workers = augment, num_workers
        self.preprocess: datasets.Preprocess | None = None
        self.unlabelled: datasets.Unlabelled | None = None

    def load_dataset(self) -> datasets.Dataset:
        """Load the data, with an empty validation split. It is called on first use, and once."""
        return datasets.load(self.path)

    @cached_property
    def _unsplit(self) -> datasets.Dataset:
        """The data without a validation split, loaded on first use."""
        if type(self).load_dataset is ImageDataModule.load_dataset:
            return self.load_dataset()
        name = f"{type(self).__name__}.load_dataset"
        data = datasets.check_dataset(name, self.load_dataset())
        if count := len(data.validation.labels):
            raise UserError(
                f"{name}: the validation split has {count} images; expected none, since data.validation_size training images"
                " are held out"
            )
        return data

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

    @property
    def loads_own(self) -> bool:
        """Whether a subclass loads its own data, and not those at `path`."""
        return type(self).load_dataset is not ImageDataModule.load_dataset and self.path == Data.path

    def images_for(self, module: LightningModule) -> datasets.Unlabelled:
        """Load the images at `path` for `predict`, in the shape and scale that `module` was trained on.

        Those of a subclass that loads its own data are its test images, unless `path` is set.
        """
        hparams: Any = module.hparams
        if self.loads_own:
            data = self.loaded
            if data.input_shape != tuple(hparams.input_shape):
                name = type(self).__name__
                raise UserError(
                    f"{name}: the images have shape {data.input_shape}; expected {tuple(hparams.input_shape)}"
                )
            return datasets.Unlabelled(None, data.test.images)
        return datasets.load_images(
            self.path,
            tuple(hparams.input_shape),
            hparams.input_scale,
            mnist_like=hparams.get("mnist_like"),
            preprocess=self.preprocess,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        split = self.dataset.train
        return self.training_loader(
            WithIndices(*split) if self.augment == "shift" else InMemory(*split), collate_fn=whole
        )

    def training_loader(self, data: Dataset[Any], **options: Any) -> TrainingLoader:
        """Return the loader of the training images, from which a run can continue within an epoch.

        Args:
            data: one item per training image, in the order of `dataset.train`: an image and its label; with augment
                shift, its index too.
            options: further arguments of `torch.utils.data.DataLoader`, such as collate_fn.

        Example:
            class FromDisk(ImageDataModule):
                def train_dataloader(self):
                    return self.training_loader(MyImageFiles())
        """
        order = SeededOrder(len(self.dataset.train.labels), self.seed, *self._ranks())
        options = {"batch_size": self.batch_size, "sampler": order, **workers(self._workers()), **options}
        return TrainingLoader(data, self._position, **options)

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

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if len(batch) < 3:
            return batch
        # Not in the loader, whose workers do not know the epoch. A shift depends on the seed, the epoch and the index of
        # the image only, so it is the same on any number of devices, and in a resumed run.
        images, labels, indices = batch
        assert self.trainer is not None
        shifts = epoch_shifts(len(self.dataset.train.labels), self.seed, self.trainer.current_epoch)
        return images, labels, torch.from_numpy(shifts[indices.numpy()])

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if len(batch) < 3:
            return batch
        images, labels, shifts = batch
        return shifted(images, shifts), labels

    def _in_order(self, data: InMemory) -> DataLoader[Batch]:
        order = Share(data, *self._ranks())
        options = {"batch_size": self.batch_size, "sampler": order, **workers(self._workers())}
        return DataLoader(data, collate_fn=whole, **options)

    def _position(self, loader: TrainingLoader) -> tuple[int, int] | None:
        """Return the epoch and the batch at which the training is; None if it does not train with `loader`."""
        trainer = self.trainer
        if trainer is None or not trainer.training or trainer.train_dataloader is not loader:
            return None
        batch = trainer.fit_loop.batch_idx + 1
        return trainer.current_epoch, batch if batch < trainer.num_training_batches else len(loader)

    def _workers(self) -> int:
        """Return the number of processes that load batches.

        It is 0 in distributed training by gloo, which communicates in threads: a fork beside them can hang.
        """
        if distributed.is_available() and distributed.is_initialized() and distributed.get_backend() == "gloo":
            return 0
        return self.num_workers

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


class WithIndices(InMemory):
    """Arrays of equal length, and the index of each item."""

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return *super().__getitems__(indices), torch.tensor(indices)


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

    Attributes:
        epoch: the epoch, from 0.
        first: the position in the share of this rank at which an iteration begins.
    """

    def __init__(self, size: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.size, self.seed, self.rank, self.ranks = size, seed, rank, ranks
        self.epoch = self.first = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.ranks

    def __iter__(self) -> Iterator[int]:
        order = datasets.epoch_order(self.size, self.seed, self.epoch)
        return iter(order[self.rank : self.size - self.size % self.ranks : self.ranks][self.first :].tolist())


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


class TrainingLoader(DataLoader[Any]):
    """A loader that begins at the batch at which the training is, so that a run can continue within an epoch.

    Lightning creates the iterator of the first epoch before it tells the
    sampler which epoch that is. Workers would fetch batches of epoch 0 then.
    This iterator starts when the first batch is asked for, and asks the
    training for its position.

    Args:
        dataset: the training images.
        position: gets this loader and returns the epoch and the batch at which the training is, both from 0; None if no
            training uses this loader.
        options: arguments of `torch.utils.data.DataLoader`.
    """

    def __init__(
        self, dataset: Dataset[Any], position: Callable[[TrainingLoader], tuple[int, int] | None], **options: Any
    ) -> None:
        super().__init__(dataset, **options)
        self.position = position

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        position, order, skipped = self.position(self), self.sampler, 0
        if isinstance(order, SeededOrder):
            order.first = 0
        if position is not None:
            epoch, skipped = position
            if isinstance(order, SeededOrder) and self.batch_size is not None:
                order.set_epoch(epoch)
                order.first, skipped = skipped * self.batch_size, 0
        yield from islice(super().__iter__(), skipped, None)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: Lightning's own progress has the position. The method marks a loader that can be resumed."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing, see `state_dict`."""


def workers(count: int) -> dict[str, Any]:
    """Return the arguments of a DataLoader with `count` worker processes, which live as long as the loader."""
    return {"num_workers": count, "persistent_workers": count > 0, "worker_init_fn": end_with_main if count else None}


def end_with_main(worker: int) -> None:
    """End this worker process when the main process is killed, whose lock of the run folder it would keep."""
    signals.end_with_parent()


def whole(batch: Any) -> Any:
    """Return `batch` unchanged: the collate function of a data set that returns whole batches."""
    return batch
