"""Trains and times a contender in the closed or open division. Runs in the worker process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minigrad.classifier import Classifier
from minigrad.runs import metrics

from ..contenders.base import Batches, Contender, Observer
from ..jobs.job import EPOCH, LOGITS, NETWORK
from ..jobs.shared import save_arrays
from ..jobs.task import Task
from ..machine import peak_memory_mb
from ..results.schema import CurvePoint, Percentiles, Run
from .stopwatch import Stopwatch, timed

LATENCY = {1: 200, 32: 100, 1024: 20}  # number of images per call, and number of calls
WARM_UP = 5  # calls that are not counted


def run_closed(task: Task) -> Run:
    """Train with the recipe in float32, time each phase, and measure latency, memory and the saved file."""
    contender = task.contender
    run, stopwatch = _train(task, contender.fit)
    run["latency"] = {str(n): _latency(contender, task.data.test.images, n, count) for n, count in LATENCY.items()}
    run["peak_memory_mb"] = peak_memory_mb()
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        run["saved_bytes"] = contender.save(Path(folder)).stat().st_size
    run["curve"] = _curve(task, stopwatch)
    return run


def run_open(task: Task) -> Run:
    """Train as the framework's documentation recommends for speed."""
    run, stopwatch = _train(task, task.contender.fit_open)
    run["peak_memory_mb"] = peak_memory_mb()
    run["curve"] = _curve(task, stopwatch)
    return run


def _train(task: Task, fit: Callable[[Batches, Observer], None]) -> tuple[Run, Stopwatch]:
    """Build, train and evaluate, each phase timed."""
    contender, recipe, data = task.contender, task.recipe, task.data
    seed, epochs = recipe.seed_everything, recipe.trainer.max_epochs
    batches = Batches(data.train, recipe.data.batch_size, seed, epochs, recipe.data.augment)
    start = time.perf_counter()
    contender.build(recipe, data, task.weights, "float32")
    build = time.perf_counter() - start

    def on_epoch(epoch: int) -> None:
        (task.out / EPOCH).write_bytes(b"." * epoch)  # the runner reads the number of epochs from the file's size

    stopwatch = Stopwatch(batches.steps // epochs, on_epoch)
    fit(batches, stopwatch)
    train = stopwatch.seconds()
    start = time.perf_counter()
    logits = contender.predict(data.test.images)
    evaluate = time.perf_counter() - start

    metrics.check_outputs(logits, recipe.data.path, learning_rate=recipe.model.learning_rate)
    save_arrays(task.out / NETWORK, stopwatch.epochs[-1][1])
    save_arrays(task.out / LOGITS, {"logits": logits.astype(np.float32)})
    run: Run = {
        **metrics.test_metrics(logits, data.test.labels),  # type: ignore[typeddict-item]
        "seed": seed,
        "updates": stopwatch.steps_done,
        "samples": epochs * len(data.train.labels),
        "seconds": {
            "import": task.import_seconds,
            "build": build,
            "first_step": stopwatch.first_step(),
            "train": train,
            "evaluate": evaluate,
            "total": task.import_seconds + build + train + evaluate,
        },
        "step_us": train / stopwatch.steps_done * 1e6,
        "steady_us": stopwatch.steady_us(),
        "images_per_second": epochs * len(data.train.labels) / train,
        **contender.describe(),
    }
    return run, stopwatch


def _curve(task: Task, stopwatch: Stopwatch) -> list[CurvePoint]:
    """Return the validation accuracy after each epoch; empty without a validation set.

    minigrad evaluates the weights of all contenders, so that all accuracies
    are computed the same way. It runs after the memory is measured, because
    its own memory is not the contender's.
    """
    recipe, data = task.recipe, task.data
    if not len(data.validation.labels):
        return []
    net = Classifier(recipe.model, data.input_shape, data.classes, data.input_scale, recipe.seed_everything, np.float32)
    points: list[CurvePoint] = []
    for seconds, weights in stopwatch.epochs:
        net.load_state_dict(weights)
        score = metrics.score(net.predict(data.validation.images), data.validation.labels)
        points.append({"seconds": seconds, "accuracy": score["accuracy"]})
    return points


def _latency(contender: Contender, images: np.ndarray, n: int, count: int) -> Percentiles:
    """Return the latency of `count` predictions of `n` images each."""
    durations: list[float] = []
    for i in range(WARM_UP + count):
        batch = images.take(np.arange(i * n, (i + 1) * n), axis=0, mode="wrap")
        with timed(durations):
            contender.predict(batch)
    p50, p99 = np.percentile(durations[WARM_UP:], [50, 99]) * 1e6
    return {"p50": float(p50), "p99": float(p99)}
