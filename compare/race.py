"""How long does each take, and how far does it get? Worker's side: one run. Parent's side: a row of many."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.classifier import Classifier
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import metrics

from .contenders.base import Batches, Contender, Weights
from .environment import peak_memory_mb
from .jobs import EPOCH, LOGITS, NETWORK, save_arrays
from .statistics import wilson
from .stopwatch import Stopwatch

LATENCY = {1: 200, 32: 100, 1024: 20}  # images at once, and how often
WARM = 5  # looks that don't count
PHASES = ("import", "build", "first_step", "train", "evaluate", "total")


@dataclass(frozen=True)
class Task:
    """What a worker has at hand for one stage."""

    contender: Contender
    recipe: Recipe
    data: Dataset
    weights: Weights
    out: Path
    options: dict[str, Any]
    import_seconds: float


def closed(task: Task) -> dict[str, Any]:
    """Train by the recipe as given, in float32, each phase timed; then how soon it answers, and what it takes."""
    contender = task.contender
    found, stopwatch = _train(task, contender.fit)
    found["latency"] = {str(n): _latency(contender, task.data.test.images, n, count) for n, count in LATENCY.items()}
    found["peak_memory_mb"] = peak_memory_mb()
    with tempfile.TemporaryDirectory(prefix="compare-") as place:
        found["saved_bytes"] = contender.save(Path(place)).stat().st_size
    return found | {"curve": _curve(task, stopwatch)}


def opened(task: Task) -> dict[str, Any]:
    """Train as the framework's own documentation recommends for speed."""
    found, stopwatch = _train(task, task.contender.fit_open)
    found["peak_memory_mb"] = peak_memory_mb()
    return found | {"curve": _curve(task, stopwatch)}


def _train(task: Task, fit: Any) -> tuple[dict[str, Any], Stopwatch]:
    """Build, train with `fit`, answer the test set."""
    recipe, data, contender = task.recipe, task.data, task.contender
    work, seed, epochs = recipe.data, recipe.seed_everything, recipe.trainer.max_epochs
    batches = Batches(data.train, work.batch_size, seed, epochs, work.augment)
    began = time.perf_counter()
    contender.build(recipe, data, task.weights, "float32")
    build = time.perf_counter() - began

    def heard(epoch: int) -> None:
        (task.out / EPOCH).write_bytes(b"." * epoch)  # whose length is looked at from outside

    stopwatch = Stopwatch(batches.steps // epochs, heard)
    fit(batches, stopwatch)
    train = stopwatch.seconds()
    began = time.perf_counter()
    logits = contender.predict(data.test.images)
    evaluate = time.perf_counter() - began

    metrics.check_outputs(logits, recipe.data.path, learning_rate=recipe.model.learning_rate)
    save_arrays(task.out / NETWORK, stopwatch.epochs[-1][1])
    save_arrays(task.out / LOGITS, {"logits": logits.astype(np.float32)})
    updates, phases = stopwatch.done, (task.import_seconds, build, stopwatch.first_step(), train, evaluate)
    total = task.import_seconds + build + train + evaluate
    found = {
        **metrics.test_metrics(logits, data.test.labels),
        "seed": seed,
        "updates": updates,
        "samples": epochs * len(data.train.labels),
        "seconds": dict(zip(PHASES, (*phases, total), strict=True)),
        "step_us": train / updates * 1e6,
        "steady_us": stopwatch.steady_us(),
        "images_per_second": epochs * len(data.train.labels) / train,
        **contender.describe(),
    }
    return found, stopwatch


def _curve(task: Task, stopwatch: Stopwatch) -> list[dict[str, float]]:
    """Seconds of training, and accuracy on the validation set, after each epoch; empty without such a set.

    minigrad answers for all, with the weights that each had: one ruler. It
    comes last, since its memory is not the contender's.
    """
    recipe, data = task.recipe, task.data
    if not len(data.validation.labels):
        return []
    net = Classifier(recipe.model, data.input_shape, data.classes, data.input_scale, recipe.seed_everything, np.float32)
    points = []
    for seconds, weights in stopwatch.epochs:
        net.load_state_dict(weights)
        found = metrics.score(net.predict(data.validation.images), data.validation.labels)
        points.append({"seconds": seconds, "accuracy": found["accuracy"]})
    return points


def _latency(contender: Contender, images: np.ndarray, n: int, count: int) -> dict[str, float]:
    """Microseconds that `n` images at once take to be answered: the median and the 99th percentile."""
    looks: list[float] = []
    for i in range(WARM + count):
        chosen = images.take(np.arange(i * n, (i + 1) * n), axis=0, mode="wrap")
        with clock(looks):
            contender.predict(chosen)
    p50, p99 = np.percentile(looks[WARM:], [50, 99]) * 1e6
    return {"p50": float(p50), "p99": float(p99)}


@contextmanager
def clock(looks: list[float]) -> Iterator[None]:
    """Append the seconds that the block takes."""
    began = time.perf_counter()
    yield
    looks.append(time.perf_counter() - began)


def row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One contender's figures: the medians over its seeds, and the runs that they are of."""

    def median(*keys: str) -> float:
        return float(np.median([_at(run, *keys) for run in runs]))

    first = runs[0]
    images = first["test_images"]
    found: dict[str, Any] = {name: first[name] for name in ("version", "parameters", "updates", "samples")}
    for name in ("test_accuracy", "test_loss", "step_us", "images_per_second", "peak_memory_mb", "saved_bytes"):
        if name in first:
            found[name] = median(name)
    found |= {
        "test_images": images,
        "accuracy_interval": list(wilson(found["test_accuracy"] * images, images)),
        "seconds": {phase: median("seconds", phase) for phase in PHASES},
        "steady_us": {name: median("steady_us", name) for name in first["steady_us"]},
        "seconds_to_target": _when(runs),
        "runs": runs,
    }
    if "latency" in first:
        found["latency"] = {n: {p: median("latency", n, p) for p in ("p50", "p99")} for n in first["latency"]}
    return found


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value[key]
    return value


def _when(runs: list[dict[str, Any]]) -> float | None:
    """The median of seconds until the target, if every run reached it."""
    found = [run.get("seconds_to_target") for run in runs]
    return None if None in found else float(np.median([x for x in found if x is not None]))


def mark_target(runs: list[dict[str, Any]], target: float | None) -> None:
    """Write into each run how many seconds of training it took until `target`, None if it never got there."""
    for run in runs:
        reached = [p["seconds"] for p in run["curve"] if target is not None and p["accuracy"] >= target]
        run["seconds_to_target"] = reached[0] if reached else None


def common_target(runs: list[dict[str, Any]]) -> float | None:
    """The highest whole percent that every run reached at some epoch; None without curves."""
    best = [max((p["accuracy"] for p in run["curve"]), default=None) for run in runs]
    return None if not best or None in best else int(100 * min(b for b in best if b is not None)) / 100
