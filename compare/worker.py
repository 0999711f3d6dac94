"""One contender's process: python -m compare.worker JOB.json.

Reads the job, trains as it says, and answers in files beside it. It prints
nothing that anyone parses.
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter()  # before NumPy is loaded, which is a part of every contender

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe
from minigrad.runs import metrics, write_json

from . import contenders
from .contenders.base import Batches, Contender, Weights
from .environment import peak_memory_mb
from .watches import Recorder, Stopwatch

LATENCY_LOOKS = 200


def read_data(folder: Path) -> Dataset:
    """The data set that `jobs.share` laid out, mapped, not copied."""
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("x_train", "y_train", "x_test", "y_test")
    }
    train = Split(np.asarray(arrays["x_train"]), np.asarray(arrays["y_train"]))
    test = Split(np.asarray(arrays["x_test"]), np.asarray(arrays["y_test"]))
    empty = Split(train.images[:0], train.labels[:0])
    return Dataset(train, empty, test, int(json.loads((folder / "data.json").read_text())["classes"]))


def parity(contender: Contender, recipe: Recipe, data: Dataset, weights: Weights, out: Path) -> None:
    """Train one epoch in float64 and one in float32, each written down step by step."""
    # Each framework draws its own dropout masks, so there is nothing to agree on.
    recipe = replace(recipe, model=replace(recipe.model, dropout=0.0))
    batches = Batches(data.train, recipe.data.batch_size, recipe.seed_everything, 1, recipe.data.augment)
    for dtype in ("float64", "float32"):
        contender.build(recipe, data, weights, dtype)
        recorder = Recorder(batches.steps)
        contender.fit(batches, recorder)
        recorder.save(out / f"{dtype}.npz")


def race(
    contender: Contender, recipe: Recipe, data: Dataset, weights: Weights, import_seconds: float
) -> dict[str, Any]:
    """Train by the recipe as given, in float32, timing each phase."""
    work, seed, epochs = recipe.data, recipe.seed_everything, recipe.trainer.max_epochs
    batches = Batches(data.train, work.batch_size, seed, epochs, work.augment)
    began = time.perf_counter()
    contender.build(recipe, data, weights, "float32")
    built = time.perf_counter()
    stopwatch = Stopwatch()
    contender.fit(batches, stopwatch)
    trained = time.perf_counter()
    logits = contender.predict(data.test.images)
    evaluated = time.perf_counter()

    looks = []
    for i in range(min(LATENCY_LOOKS, len(data.test.images)) + 20):
        one = data.test.images[i % len(data.test.images)][None]
        look = time.perf_counter()
        contender.predict(one)
        looks.append(time.perf_counter() - look)
    updates, train = sum(stopwatch.steps), trained - stopwatch.began
    return {
        **metrics.test_metrics(logits, data.test.labels),
        "updates": updates,
        "seconds": {
            "import": import_seconds,
            "build": built - began,
            "first_step": stopwatch.first_step(),
            "train": train,
            "evaluate": evaluated - trained,
            "total": import_seconds + evaluated - began,
        },
        "step_us": train / updates * 1e6,
        "steady_step_us": stopwatch.steady_step() * 1e6,
        "images_per_second": batches.epochs * len(data.train.labels) / train,
        "latency_us": float(np.median(looks[20:])) * 1e6,
        **contender.describe(),
    }


def main(path: str) -> None:
    """Do the job in the file at `path`."""
    job = json.loads(Path(path).read_text())
    out = Path(path).parent
    contender = contenders.find(job["contender"])()
    contender.load()
    import_seconds = time.perf_counter() - BEGAN

    recipe, shared = Recipe.from_dict(job["recipe"]), Path(job["shared"])
    if recipe.model.schedule == "reduce_on_plateau":  # it watches a validation loss, and here nobody validates
        recipe = replace(recipe, model=replace(recipe.model, schedule="constant"))
    data = read_data(shared)
    with np.load(shared / "weights.npz") as archive:
        weights = dict(archive)
    if job["stage"] == "parity":
        parity(contender, recipe, data, weights, out)
    else:
        answer = race(contender, recipe, data, weights, import_seconds)
        write_json(out / "race.json", answer | {"peak_memory_mb": peak_memory_mb()})


if __name__ == "__main__":
    main(sys.argv[1])
