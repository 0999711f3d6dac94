"""Convolutional networks: all contenders agree on shifted images with many equal pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare import cli, contenders
from compare.contenders.base import Batches
from compare.jobs import runners, shared
from compare.jobs.job import Job
from compare.parity import comparison
from compare.report import text
from compare.results.schema import DTYPES
from minigrad import datasets, recipes
from minigrad.recipes import Recipe
from minigrad.runs import UserError

MODEL: dict[str, Any] = {"architecture": "cnn", "channels": [3, 4], "kernel_size": 3, "hidden": [5]}
ADAM: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.01, "schedule": "one_cycle"}


@pytest.fixture(scope="module")
def blots(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images of 8 x 8 pixels in two channels that are 0 or 255, so that max pooling has many ties."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (3, 8, 8, 2))
    arrays = {}
    for part, n in (("train", 200), ("test", 60)):
        labels = np.arange(n) % 3
        arrays[f"x_{part}"] = np.where(centres[labels] + rng.normal(0, 0.4, (n, 8, 8, 2)) > 0.8, 255, 0).astype(
            np.uint8
        )
        arrays[f"y_{part}"] = labels
    path = tmp_path_factory.mktemp("blots") / "blots.npz"
    np.savez(path, **arrays)
    return str(path)


def test_all_agree_step_by_step(blots: str, tmp_path: Path) -> None:
    recipe = Recipe.from_dict({"model": MODEL | ADAM, "data": {"augment": "shift"}})
    recipe = replace(recipe, data=replace(recipe.data, path=blots, batch_size=20, validation_size=0))
    data = datasets.load(blots)
    shared.write(tmp_path, data, {42: shared.starting_weights(recipe, data)})
    planned = [Job("parity", name, 42, recipe, {}) for name in ("minigrad", "torch", "lightning", "keras")]
    engine = runners.start("local", tmp_path, tmp_path / "answers", 2)
    assert [failed for _, failed in engine.run(planned, at_once=2)] == [None] * 4
    found = {job.contender: tmp_path / "answers" / job.name for job in planned}
    parity = comparison.compare_all(recipe, found, {})
    assert parity["float64"]["limit"] == 1e-12
    for contender in ("torch", "lightning", "keras"):
        for dtype in DTYPES:
            cell = parity["contenders"][contender][dtype]
            assert cell["passed"], (contender, dtype, cell["first"])
            assert cell["steps"] == 10


@pytest.mark.slow
def test_batch_norm_agrees_and_is_reported(blots: str, tmp_path: Path) -> None:
    model = [
        "--model.architecture",
        "cnn",
        "--model.channels",
        "[3]",
        "--model.kernel_size",
        "3",
        "--model.hidden",
        "[]",
    ]
    more = ["--data.augment", "shift", "--model.batch_norm", "true", "--model.schedule", "one_cycle"]
    data = ["--data.path", blots, "--data.validation_size", "0", "--data.batch_size", "50", "--trainer.max_epochs", "2"]
    out = ["--contenders", "minigrad", "by_hand", "torch", "--threads", "1", "--out", str(tmp_path / "o")]
    out += ["--seeds", "1", "--widths", "[4]"]
    cli.main([*model, *more, *data, *out])
    results = json.loads((tmp_path / "o/results.json").read_text())
    assert [row["status"] == "ok" for row in results["contenders"]] == [True, False, True]
    assert results["parity"]["passed"] is True
    assert results["parity"]["rounding"]["max_abs_diff"] > 0
    said = text.conditions(results)
    for part in (
        "8x8x2, 3 channels of 3x3, then 48-3 with batch norm",
        "sgd with learning rate 0.1 and one_cycle schedule",
        "with augmentation shift",
    ):
        assert part in said


def test_all_start_from_the_same_running_statistics(blots: str) -> None:
    recipe, data = Recipe.from_dict({"model": MODEL | {"batch_norm": True}}), datasets.load(blots)
    shapes = recipes.sizes(recipe.model, data.input_shape, data.classes).shapes(recipe.model)
    assert {name: a.shape for name, a in shared.starting_weights(recipe, data).items()} == shapes
    assert any("running" in name for name in shapes)


def test_batches_use_the_shared_shifts(blots: str) -> None:
    train = datasets.load(blots).train
    assert Batches(train, 20, 7, 1).shifts(0) is None
    np.testing.assert_array_equal(Batches(train, 20, 7, 2, "shift").shifts(1), datasets.epoch_shifts(200, 7, 1))


def test_a_cnn_needs_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        f"{what}_{part}": rng.integers(0, 2, (20, 3) if what == "x" else 20)
        for what in "xy"
        for part in ("train", "test")
    }
    np.savez(tmp_path / "flat.npz", **arrays)
    words = ["--data.path", str(tmp_path / "flat.npz"), "--data.validation_size", "0", "--data.batch_size", "5"]
    with pytest.raises(UserError, match=r"model\.architecture: cnn on inputs of shape \(3,\)"):
        cli.main([*words, "--model.architecture", "cnn", "--out", str(tmp_path / "o")])
    assert not (tmp_path / "o").exists()


def test_every_default_contender_except_by_hand_supports_every_recipe() -> None:
    for name in recipes.names():
        able = [c for c in contenders.DEFAULT if contenders.find(c).unsupported(recipes.load(name)) is None]
        assert [c for c in contenders.DEFAULT if c != "by_hand"] == [c for c in able if c != "by_hand"]
