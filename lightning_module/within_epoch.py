"""What a checkpoint within an epoch needs in addition to Lightning's own content, so that a resumed run is exact."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from .data import TrainingLoader

if TYPE_CHECKING:
    from .model import LitClassifier

KEY = "within_epoch"  # in a checkpoint
NOT_BEGUN = {"ready": 0, "started": 0, "processed": 0, "completed": 0}
BEGUN = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


@lru_cache(maxsize=1)
def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def seed_step(device: torch.device, seed: int, epoch: int, rank: int, batch: int) -> None:
    """Seed torch's generators for one training step, so that a step draws the same numbers in a resumed run.

    `torch.manual_seed` takes 0.1 ms, since it seeds the generators of all kinds of devices.

    Args:
        device: the device of the network.
        seed: the seed of the run.
        epoch: the epoch, from 0.
        rank: the rank of this process.
        batch: the batch within the epoch, from 0.
    """
    value = _epoch_seed(seed, epoch, rank) + batch
    torch.default_generator.manual_seed(value)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(value)


def save(module: LitClassifier, checkpoint: dict[str, Any]) -> None:
    """Add the state of an unfinished epoch to a checkpoint. All ranks call it, since each has sums and gradients of its own.

    Args:
        module: the module that is trained.
        checkpoint: the checkpoint of Lightning; its `loops` may change, see `complete_step`.
    """
    trainer = module.trainer
    complete_step(trainer, checkpoint["loops"]["fit_loop"])
    sums = list(zip(*(_of_all_ranks(module, value).tolist() for value in module.train_metric.sums()), strict=True))
    state: dict[str, Any] = {}
    if any(images for *_, images in sums):
        state["sums"] = [list(values) for values in sums]
    progress = trainer.fit_loop.epoch_loop.batch_progress
    if progress.current.ready % trainer.accumulate_grad_batches and not progress.is_last_batch:
        gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        state["gradients"] = {name: _of_all_ranks(module, gradient) for name, gradient in gradients.items()}
    if state:
        checkpoint[KEY] = state


def restore(module: LitClassifier, state: dict[str, Any]) -> None:
    """Restore the running metrics of the epoch and the gradients that are being accumulated.

    Args:
        module: the module that will be trained, on its device.
        state: what `save` has added to the checkpoint.
    """
    rank, ranks = module.trainer.global_rank, module.trainer.world_size
    sums = state.get("sums", [])
    if len(sums) != ranks:  # another number of devices: the first rank takes all
        sums = [[sum(values) for values in zip(*sums, strict=True)], *([[0, 0, 0]] * (ranks - 1))] if sums else []
    if sums:
        for value, saved in zip(module.train_metric.sums(), sums[rank], strict=True):
            value.fill_(saved)
    parameters = dict(module.named_parameters())
    for name, gradients in state.get("gradients", {}).items():
        own = gradients[rank] if len(gradients) == ranks else gradients.mean(0)
        parameters[name].grad = own.to(parameters[name])


def complete_step(trainer: Trainer, loops: dict[str, Any]) -> None:
    """Let a run that continues from a checkpoint do what was due after the training step in which it was saved.

    ModelCheckpoint saves after a step, but before the validation and the end
    of the epoch that may follow it. Lightning would leave both out when it
    continues. So the saved progress says that the step is completed, and the
    validation has begun.

    Args:
        trainer: the Trainer that saves.
        loops: the state of its fit loop, which is changed.
    """
    batches, validation = loops["epoch_loop.batch_progress"], loops["epoch_loop.val_loop.batch_progress"]
    total = batches["total"]
    if not total["ready"] == total["started"] == total["processed"] == total["completed"] + 1:
        return  # not saved after a step
    validates = _validation_is_due(trainer, last=batches["is_last_batch"])
    if not validates and not (batches["is_last_batch"] and isinstance(trainer.train_dataloader, TrainingLoader)):
        return
    for progress in (total, batches["current"]):
        progress["completed"] += 1
    validation |= {"total": dict(BEGUN), "current": dict(NOT_BEGUN), "is_last_batch": False}
    if not validates:
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1  # otherwise Lightning adds it after the validation


def _validation_is_due(trainer: Trainer, *, last: bool) -> bool:
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if not trainer.enable_validation or (every is not None and (trainer.current_epoch + 1) % every):
        return False
    if interval is None or interval == float("inf"):
        return last
    loop = trainer.fit_loop
    return ((loop.total_batch_idx if every is None else loop.batch_idx) + 1) % interval == 0


def _of_all_ranks(module: LitClassifier, value: Tensor) -> Tensor:
    """Return the values of all ranks, (ranks, *shape)."""
    gathered = module.all_gather(value.detach())
    assert isinstance(gathered, Tensor)
    return gathered.reshape(-1, *value.shape)
