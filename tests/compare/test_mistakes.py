"""Planted mistakes of the kind that people make are found, at the first step and tensor that they touch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compare import contenders, jobs, parity
from compare.contenders.base import Batches, Contender
from compare.watches import Recorder
from minigrad import datasets, recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe


@pytest.fixture
def data(small: str) -> Dataset:
    return datasets.load(small)


def recording(path: Path, data: Dataset, change: Callable[[Recipe, dict, list], Recipe] | None = None) -> Path:
    """An epoch of by_hand, written down, after `change` spoilt recipe, weights or batches."""
    recipe = recipes.load("simple")
    recipe = replace(recipe, data=replace(recipe.data, batch_size=64))
    weights = jobs.starting_weights(recipe, data)
    batches = Batches(data.train, 64, 42, 1)
    order = batches.order(0)
    if change is not None:
        recipe = change(recipe, weights, order)
    contender: Contender = contenders.find("by_hand")()
    contender.build(recipe, data, weights, "float64")
    recorder = Recorder(len(order))
    object.__setattr__(batches, "order", lambda epoch: order)
    contender.fit(batches, recorder)
    recorder.save(path)
    return path


def wrong_rate(recipe: Recipe, weights: dict, order: list) -> Recipe:
    return replace(recipe, model=replace(recipe.model, learning_rate=0.1001))


def transposed_square(recipe: Recipe, weights: dict, order: list) -> Recipe:
    weights["output.weight"][:, :3] = weights["output.weight"][:, :3].T.copy()
    return recipe


def dropped_last_batch(recipe: Recipe, weights: dict, order: list) -> Recipe:
    order.pop()
    return recipe


def another_order(recipe: Recipe, weights: dict, order: list) -> Recipe:
    order[1], order[2] = order[2], order[1]
    return recipe


@pytest.mark.parametrize(
    ("mistake", "first"),
    [
        (wrong_rate, "step 1, weight of"),
        (transposed_square, "step 1, loss"),
        (dropped_last_batch, "ran 4 steps; expected 5"),
        (another_order, "step 2, loss"),
    ],
)
def test_a_planted_mistake_is_named(mistake: Callable, first: str, data: Dataset, tmp_path: Path) -> None:
    cell = parity.compare(recording(tmp_path / "a.npz", data), recording(tmp_path / "b.npz", data, mistake), 1e-12)
    assert cell["passed"] is False
    assert cell["first"].startswith(first)


def test_without_a_mistake_nothing_is_found(data: Dataset, tmp_path: Path) -> None:
    cell = parity.compare(recording(tmp_path / "a.npz", data), recording(tmp_path / "b.npz", data), 1e-12)
    assert cell["passed"] is True
    assert np.isclose(cell["max_abs_diff"], 0)
