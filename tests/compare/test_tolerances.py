"""Tolerances in float32: how they are measured, and that no framework exceeds them with any seed."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from compare import contenders, machine
from compare.contenders.base import Observer
from compare.jobs import shared
from compare.parity import matrix, perturbation, recorder, tolerances
from compare.parity.perturbation import Perturbation, Perturbing
from compare.parity.recording import Recording
from compare.parity.tolerances import Tolerances
from minigrad import datasets, recipes
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe

EPS = 2.0**-23


def recording(losses: list[float], **arrays: list[float]) -> Recording:
    """Return a recording; the argument `weight_3` is the weight w after step 3."""
    keyed = {f"{kind} w {step}": np.array(a) for key, a in arrays.items() for kind, step in [key.split("_")]}
    return Recording(keyed | {"loss": np.array(losses), "images 1": np.zeros((2, 2), np.uint8)})


def test_the_movement_is_the_largest_over_all_runs_and_earlier_steps() -> None:
    reference = recording([3.0, 2.0, 1.0], weight_1=[1.0, 2.0], weight_3=[1.0, 2.0], gradient_1=[0.5])
    runs = [
        recording([3.0, 2.5, 1.25], weight_1=[1.0, 1.75], weight_3=[1.0, 2.0], gradient_1=[0.5]),
        recording([3.125, 2.0, 1.0], weight_1=[1.0, 2.0], weight_3=[1.125, 2.0], gradient_1=[0.25]),
    ]
    assert tolerances.movement(reference, iter(runs)) == {
        "loss 1": 0.125,
        "loss 2": 0.5,
        "loss 3": 0.5,
        "weight w 1": 0.25,
        "weight w 3": 0.25,
        "gradient w 1": 0.25,
    }


def test_a_tolerance_is_a_multiple_of_the_movement_and_of_the_magnitude() -> None:
    reference = recording([2.0], weight_1=[1.0, -4.0], weight_2=[0.0, 0.0])
    moved = recording([2.0], weight_1=[1.0, -4.5], weight_2=[0.0, 0.0])
    measured = tolerances.measure(reference, [moved])
    assert measured.dtype == "float32"
    assert measured.of("loss 1") == tolerances.FLOOR * 2 * EPS
    assert measured.of("weight w 1") == tolerances.FACTOR * 0.5 + tolerances.FLOOR * 4 * EPS
    assert measured.of("weight w 2") == tolerances.FACTOR * 0.5


def test_an_overflow_does_not_enlarge_a_tolerance() -> None:
    reference, run = recording([2.0], weight_1=[math.inf, math.nan]), recording([math.nan], weight_1=[1.0, math.inf])
    assert tolerances.measure(reference, [run]).by_key == {"loss 1": tolerances.FLOOR * 2 * EPS, "weight w 1": 0.0}


def test_tolerances_are_read_as_they_were_saved(tmp_path: Path) -> None:
    measured = Tolerances("float32", by_key={"loss 1": 1e-6, "loss 2": 2e-6, "weight output.bias 2": 3e-7})
    measured.save(tmp_path / "tolerance.npz")
    assert tolerances.read(tmp_path / "tolerance.npz") == measured


def test_a_share_is_the_difference_divided_by_the_tolerance() -> None:
    allowed = Tolerances("float32", by_key={"loss 1": 0.5, "weight w 0": 0.0})
    assert allowed.share("loss 1", 0.25) == 0.5
    assert allowed.share("loss 1", math.nan) == math.inf
    assert allowed.share("weight w 0", 1e-30) == math.inf
    assert allowed.share("weight w 0", 0.0) == 0


def test_a_pair_of_perturbations_moves_each_element_in_opposite_directions() -> None:
    array = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    array[3] = 0
    up, down, other = array.copy(), array.copy(), array.copy()
    Perturbation(0, 1)(up)
    Perturbation(0, -1)(down)
    Perturbation(1, 1)(other)
    moved = (up.astype(np.float64) - array) / np.where(array, array, 1) / EPS
    assert (up[3] == 0).all()
    np.testing.assert_allclose(np.abs(np.delete(moved, 3, 0)), perturbation.ULPS, atol=0.51)
    np.testing.assert_allclose(up.astype(np.float64) - array, array - down.astype(np.float64), atol=2 * EPS * 4)
    assert 0.4 < (moved > 0).mean() < 0.6
    assert 0.3 < (up == other).mean() < 0.7


@pytest.fixture
def data() -> Dataset:
    """96 images of 6 x 6 noise in three classes."""
    rng = np.random.default_rng(0)
    train = Split(rng.integers(0, 256, (96, 6, 6)).astype(np.uint8), rng.integers(0, 3, 96))
    return Dataset(train, Split(train.images[:0], train.labels[:0]), train, 3)


def test_perturbed_images_are_scaled_copies(data: Dataset) -> None:
    before = data.train.images.copy()
    perturbed = Perturbation(0, 1).data(data)
    assert (perturbed.input_scale, perturbed.train.images.dtype) == (1.0, np.float32)
    np.testing.assert_allclose(perturbed.train.images, before / 255, rtol=(perturbation.ULPS + 2) * EPS)
    assert not np.array_equal(perturbed.train.images, before.astype(np.float32) * np.float32(1 / 255))
    np.testing.assert_array_equal(data.train.images, before)
    np.testing.assert_array_equal(perturbed.train.labels, data.train.labels)


def test_the_weights_are_perturbed_after_they_were_recorded(data: Dataset) -> None:
    seen: list[np.ndarray] = []

    class Sees(Observer):
        def after_steps(self, steps, loss, weights, gradients) -> None:  # type: ignore[no-untyped-def]
            seen.append(weights()["output.weight"])

    contender, recipe = contenders.find("minigrad")(), Recipe()
    contender.load()
    contender.build(recipe, data, shared.starting_weights(recipe, data), "float32")
    state = contender.net.state_dict
    Perturbing(contender, Perturbation(0, 1), Sees()).after_steps(1, lambda: 0.0, state, dict)
    assert not np.array_equal(seen[0], state()["output.weight"])
    np.testing.assert_allclose(seen[0], state()["output.weight"], rtol=(perturbation.ULPS + 1) * EPS)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_tolerances_of_a_short_training_are_small(data: Dataset, tmp_path: Path, optimizer: str) -> None:
    recipe = Recipe.from_dict({"model": {"optimizer": optimizer, "learning_rate": 0.01}, "data": {"batch_size": 32}})
    contender, weights = contenders.find("minigrad")(), shared.starting_weights(recipe, data)
    contender.load()
    recorder.record(contender, recipe, data, weights, tmp_path)
    recorder.measure_tolerances(contender, recipe, data, weights, tmp_path)
    measured = tolerances.read(tmp_path / "tolerance.npz")
    assert measured.by_key.keys() == Recording.read(tmp_path / "float32.npz").tensors.keys()
    assert min(measured.by_key.values()) > 0
    assert max(measured.of(f"loss {step}") for step in (1, 2, 3)) < 1e-4
    assert max(measured.by_key.values()) < (1e-4 if optimizer == "sgd" else 2 * 0.01 * tolerances.FACTOR)


FRAMEWORKS = ("by_hand", "torch", "lightning", "keras", "jax", "keras_jax")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 1 + int(os.environ.get("TOLERANCE_SEEDS", "2"))))
def test_no_framework_exceeds_half_a_tolerance(seed: int) -> None:
    cells = matrix.matrix_recipes(recipes.names(), matrix.OPTIMIZERS)
    for name, recipe in list(cells.items()):
        if name.startswith("advanced"):
            normed = replace(recipe, model=replace(recipe.model, batch_norm=True))
            cells[name.replace("advanced", "advanced with batch norm")] = normed
    cells = {name: replace(recipe, seed_everything=seed) for name, recipe in cells.items()}
    largest = max(recipe.data.batch_size for recipe in cells.values())
    data = recorder.first_steps(datasets.load("mnist"), largest, 24)
    found = matrix.run(FRAMEWORKS, cells, data, 24, machine.cores(), Console(quiet=True))
    rows = {(c["name"], name): row for c in found["cells"] for name, row in c["contenders"].items()}
    shares = {name: row["float32"]["share"] for name, row in rows.items() if row["passed"] is not None}
    assert {name for _, name in shares} == set(FRAMEWORKS)
    assert {name: share for name, share in shares.items() if share is None or share > 0.5} == {}
    assert found["passed"] is True
