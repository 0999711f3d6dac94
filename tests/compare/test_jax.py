"""The JAX contender agrees with minigrad step by step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare.parity import comparison, tolerances
from minigrad.recipes import Recipe

sys.path.insert(0, str(Path(__file__).parent))

import alone

CNN: dict[str, Any] = {"architecture": "cnn", "channels": [3, 4], "kernel_size": 3, "hidden": [5]}
MODELS: dict[str, dict[str, Any]] = {
    "sgd": {"batch_size": 32},
    "momentum": {"momentum": 0.9, "weight_decay": 0.01, "schedule": "cosine", "hidden": []},
    "rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.01, "schedule": "one_cycle", "activation": "tanh"},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.1, "hidden": [9, 7]},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "activation": "sigmoid"},
    "batch norm": {"batch_norm": True, "hidden": [9, 7], "optimizer": "adam", "learning_rate": 0.01},
    "cnn": {**CNN, "optimizer": "adam", "learning_rate": 0.01, "schedule": "one_cycle", "augment": "shift"},
    "cnn, batch norm": {**CNN, "batch_norm": True},
}
# Compiling takes most of the time of these tests; without LLVM's optimizations it takes two thirds.
FAST_COMPILE = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
BOTH = ("sgd", "cnn")  # in float32 too
# Both kinds of network in each test run; the optimizers, schedules and batch norm take twice as long as these.
GROUPS = {"networks": BOTH, "optimizers": tuple(model for model in MODELS if model not in BOTH)}


@pytest.fixture(scope="module")
def blots(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images of 9 x 8 pixels in two channels that are 0 or 255, so that max pooling has many ties."""
    rng = np.random.default_rng(0)
    centres, arrays = rng.normal(0, 1, (3, 9, 8, 2)), {}
    for part, n in (("train", 200), ("test", 60)):
        labels = np.arange(n) % 3
        seen = centres[labels] + rng.normal(0, 0.4, (n, 9, 8, 2)) > 0.8
        arrays |= {f"x_{part}": np.where(seen, 255, 0).astype(np.uint8), f"y_{part}": labels}
    path = tmp_path_factory.mktemp("blots") / "blots.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture(scope="module", params=["networks", pytest.param("optimizers", marks=pytest.mark.slow)])
def recorded(
    request: pytest.FixtureRequest, blots: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuple[str, ...], Path, list[dict]]:
    """Models, the recordings of minigrad and JAX for them, and what JAX measured."""
    models, folder = GROUPS[request.param], tmp_path_factory.mktemp("recorded")
    for name in ("minigrad", "jax"):
        trainings = [
            alone.asked(blots, folder / name / model, "record", dtype, **{"batch_size": 40, **MODELS[model]})
            for model in models
            for dtype in _dtypes(model)
        ]
        answers = alone.train(name, trainings, **FAST_COMPILE)
    return models, folder, answers


def test_every_step_agrees_with_minigrad(recorded: tuple[tuple[str, ...], Path, list[dict]]) -> None:
    models, folder, _ = recorded
    for model in models:
        ours, theirs = folder / "minigrad" / model, folder / "jax" / model
        keys = {key: value for key, value in MODELS[model].items() if key not in ("augment", "batch_size")}
        for dtype in _dtypes(model):
            double = tolerances.double(Recipe.from_dict({"model": keys}))
            allowed = double if dtype == "float64" else tolerances.read(ours / "tolerance.npz")
            cell = comparison.compare(ours / f"{dtype}.npz", theirs / f"{dtype}.npz", allowed)
            assert cell["passed"], (model, dtype, cell["first"])
            assert list(cell["share_by_step"]) == list(range(1, cell["steps"] + 1))


def test_weights_keep_their_dtype(recorded: tuple[tuple[str, ...], Path, list[dict]]) -> None:
    models, _, answers = recorded
    assert [answer["dtypes"] for answer in answers] == [[dtype] for model in models for dtype in _dtypes(model)]


def test_dropout_is_active_in_training_only(blots: str, tmp_path: Path) -> None:
    keys = {"hidden": [16], "learning_rate": 0.2}
    trainings = [alone.asked(blots, tmp_path / str(p), epochs=4, dropout=p, **keys) for p in (0.0, 0.5, 0.5)]
    without, dropped, again = alone.train("jax", trainings, **FAST_COMPILE)
    assert dropped["losses"] == again["losses"]  # the seed draws it
    assert dropped["sums"]["hidden.0.weight"] != without["sums"]["hidden.0.weight"]
    assert dropped["accuracy"] > 0.9  # what is predicted with is the whole network


def _dtypes(model: str) -> tuple[str, ...]:
    return ("float64", "float32") if model in BOTH else ("float64",)
