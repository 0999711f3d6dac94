"""The loader of the data module in a plain Trainer, compared with a plain loader, which does not resume exactly."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_loader import Batches, plain_loader, train

from lightning_module.data import ImageDataModule
from lightning_module.model import LitClassifier


def network(data: ImageDataModule) -> LitClassifier:
    torch.manual_seed(0)
    shape, classes = data.dataset.input_shape, data.dataset.classes
    return LitClassifier(hidden=[8], dropout=0.3, optimizer="adam", input_shape=shape, classes=classes)


def continued(path: str, step: int, workers: int, *, plain: bool) -> tuple[Batches, Batches, float]:
    """Train in one go, and again from the checkpoint of `step`; return both, and how far the weights differ."""
    runs, weights = [], []
    for checkpoint in (None, Path("whole", f"step={step}.ckpt")):
        data = ImageDataModule(path, 16, 24, "none", seed=5, num_workers=workers)
        module, split = network(data), data.dataset.train
        loader: Any = plain_loader(torch.from_numpy(split.images), torch.from_numpy(split.labels), workers)
        runs.append(train(module, loader if plain else data, Path("parts" if checkpoint else "whole"), checkpoint))
        weights.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    return runs[0], runs[1], float((weights[0] - weights[1]).abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_plain_loader_repeats_batches(workers: int, few: str) -> None:
    """The control: within the second epoch of 6 steps, after 8 steps."""
    with pytest.warns(UserWarning, match="your dataloader is not resumable"):
        whole, parts, difference = continued(few, 8, workers, plain=True)
    rest = [label for batch in range(2, 6) for label in parts.labels[1, batch]]
    second, first = whole.epoch(1), whole.epoch(0)
    assert rest != second[32:]
    # The batches from the beginning; with workers, those of the first epoch.
    assert rest[:64] == (first if workers else second)[:64]
    assert parts.epoch(2) == whole.epoch(2)
    assert difference > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [8, 6])
def test_the_loader_of_the_data_module_continues_exactly(step: int, workers: int, few: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*not resumable.*")
        whole, parts, difference = continued(few, step, workers, plain=False)
    assert min(parts.labels) == (1, step - 6)
    assert all(whole.labels[key] == labels for key, labels in parts.labels.items())
    assert parts.epoch(2) == whole.epoch(2) != whole.epoch(1) != whole.epoch(0)
    assert difference == 0
