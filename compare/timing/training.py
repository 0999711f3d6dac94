"""Trains and times a contender in one of the divisions. Runs in the worker process.

A process that takes turns ends its turn at each epoch's end, and once more when it has answered.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minigrad.classifier import Classifier
from minigrad.runs import metrics

from ..contenders.base import Batches, Contender, Observer
from ..jobs.job import LOGITS, NETWORK
from ..jobs.shared import save_arrays
from ..jobs.task import Task
from ..machine import children_memory_mb, peak_memory_mb
from ..results.schema import CurvePoint, Percentiles, Run
from . import products
from .stopwatch import Stopwatch, timed

LATENCY = {1: 100, 32: 50, 1024: 10}  # number of images per call, and number of calls
WARM_UP = 5  # calls that are not counted
Fit = Callable[[Batches, Observer], None]


def run_closed(task: Task) -> Run:
    """Train with the recipe in float32, time each phase, and measure latency, memory, the saved file and the products."""
    contender, recipe, data = task.contender, task.recipe, task.data
    run, stopwatch = _train(task, contender.fit)
    run["latency"] = {str(n): _latency(contender, data.test.images, n, count) for n, count in LATENCY.items()}
    run["peak_memory_mb"] = peak_memory_mb() + stopwatch.children_mb
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        run["saved_bytes"] = contender.save(Path(folder)).stat().st_size
    run["products"] = products.measure(contender, recipe, data.input_shape, data.classes)
    run["curve"] = _curve(task, stopwatch)
    return run


def run_default(task: Task) -> Run:
    """Train as on the first page of the framework's documentation."""
    return _run_division(task, task.contender.fit_default)


def run_open(task: Task) -> Run:
    """Train as the framework's documentation recommends for speed."""
    return _run_division(task, task.contender.fit_open)


def run_again(task: Task) -> dict[str, list[float]]:
    """Train once more in the division of the option `division`, to repeat rounds that were disturbed."""
    fits: dict[str, Fit] = {
        "closed": task.contender.fit,
        "default": task.contender.fit_default,
        "open": task.contender.fit_open,
    }
    task.contender.build(task.recipe, task.data, task.weights, "float32")
    return {"epoch_us": _fit(task, fits[task.options["division"]]).epoch_us()}


def _run_division(task: Task, fit: Fit) -> Run:
    run, stopwatch = _train(task, fit)
    run["peak_memory_mb"] = peak_memory_mb() + stopwatch.children_mb
    run["curve"] = _curve(task, stopwatch)
    return run


def _fit(task: Task, fit: Fit) -> Stopwatch:
    """Train all epochs of the recipe. Each one is a turn."""
    recipe, train = task.recipe, task.data.train
    epochs = recipe.trainer.max_epochs
    batches = Batches(train, recipe.data.batch_size, recipe.seed_everything, epochs, recipe.data.augment)

    def end_turn(stopwatch: Stopwatch) -> None:
        stopwatch.children_mb = max(stopwatch.children_mb, children_memory_mb())
        task.turns.end(epoch=len(stopwatch.epochs), step_us=stopwatch.epoch_us()[-1])

    stopwatch = Stopwatch(batches.steps // epochs, end_turn, keep=epochs)
    fit(batches, stopwatch)
    return stopwatch


def _train(task: Task, fit: Fit) -> tuple[Run, Stopwatch]:
    """Build, train and evaluate, each phase timed."""
    contender, recipe, data = task.contender, task.recipe, task.data
    start = time.perf_counter()
    contender.build(recipe, data, task.weights, "float32")
    build = time.perf_counter() - start
    stopwatch = _fit(task, fit)
    train = stopwatch.seconds()
    start = time.perf_counter()
    logits = contender.predict(data.test.images)
    evaluate = time.perf_counter() - start

    metrics.check_outputs(logits, recipe.data.path, learning_rate=recipe.model.learning_rate)
    save_arrays(task.out / NETWORK, stopwatch.weights[-1])
    save_arrays(task.out / LOGITS, {"logits": logits.astype(np.float32)})
    epoch_us = stopwatch.epoch_us()
    steady_us = float(np.median(epoch_us[1:])) if epoch_us[1:] else stopwatch.steady_us()["p50"]
    # The first call may come after several steps, and the epoch may contain later compilations.
    first_step = max(
        seconds - (steps - 1) * steady_us / 1e6
        for seconds, steps in (
            (stopwatch.first_step(), stopwatch.steps[0]),
            (stopwatch.epochs[0], stopwatch.epoch_steps),
        )
    )
    run: Run = {
        **metrics.test_metrics(logits, data.test.labels),  # type: ignore[typeddict-item]
        "seed": recipe.seed_everything,
        "updates": stopwatch.steps_done,
        "samples": recipe.trainer.max_epochs * len(data.train.labels),
        "seconds": {
            "import": task.import_seconds,
            "build": build,
            "first_step": stopwatch.first_step(),
            "startup": task.import_seconds + build + max(first_step, 0.0),
            "train": train,
            "evaluate": evaluate,
            "total": task.import_seconds + build + train + evaluate,
        },
        "step_us": train / stopwatch.steps_done * 1e6,
        "steady_step_us": steady_us,
        "epoch_us": epoch_us,
        "steady_us": stopwatch.steady_us(),
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
    for seconds, weights in zip(stopwatch.epochs, stopwatch.weights, strict=True):
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
