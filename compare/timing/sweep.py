"""Measures how the time of a step grows with hidden width and batch size. Runs in the worker process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minigrad.datasets import Split
from minigrad.recipes import Recipe

from ..contenders.base import Batches
from ..jobs.shared import starting_weights
from ..jobs.task import Task
from ..results.schema import SweepPoint
from .stopwatch import Stopwatch, timed
from .work import flops_per_sample

EPOCHS = 3  # the first one includes set-up and is not counted
# Lower and upper limit of steps per epoch. With few steps, the work that a framework does once per epoch would count too
# much.
STEPS = (20, 250)
FLOPS = 5e10  # approximate number per epoch, within the limits of STEPS


def run(task: Task) -> dict[str, Any]:
    """Measure the step time at each (width, batch size) of `points`, and the floor.

    The floor is the step time at a width and a batch size of 1, where there
    is hardly any arithmetic, so that overhead remains.

    Returns:
        `points`, `floor_us`, and `flops_per_second` if the option `products` is set.
    """
    points = [_point(task, width, batch_size) for width, batch_size in task.options["points"]]
    smallest = 2 if task.recipe.model.batch_norm else 1  # a variance needs two samples
    answer = {"points": points, "floor_us": _point(task, 1, smallest)["step_us"]}
    if task.options.get("products"):
        answer["flops_per_second"] = _matrix_product_flops()
    return answer


def _point(task: Task, width: int, batch_size: int) -> SweepPoint:
    """Time the contender's own training over whole epochs at one width and batch size."""
    recipe, train = with_width(task.recipe, width, batch_size), task.data.train
    flops = batch_size * flops_per_sample(recipe, task.data.input_shape, task.data.classes)
    steps = int(np.clip(FLOPS / flops, *STEPS))
    rows = np.arange(steps * batch_size) % len(train.labels)
    data = replace(task.data, train=Split(train.images.take(rows, axis=0), train.labels.take(rows)))
    task.contender.build(recipe, data, starting_weights(recipe, data), "float32")
    stopwatch = Stopwatch(steps)
    task.contender.fit(Batches(data.train, batch_size, recipe.seed_everything, EPOCHS, recipe.data.augment), stopwatch)
    seconds = stopwatch.epochs[-1][0] - stopwatch.epochs[0][0]
    return {
        "width": width,
        "batch_size": batch_size,
        "step_us": seconds / (EPOCHS - 1) / steps * 1e6,
        "steps": steps * (EPOCHS - 1),
        "flops": flops,
    }


def with_width(recipe: Recipe, width: int, batch_size: int) -> Recipe:
    """Return the recipe with one hidden layer of `width`, another batch size, and fresh weights."""
    model = replace(recipe.model, hidden=[width], weights=None)
    return replace(recipe, model=model, data=replace(recipe.data, batch_size=batch_size))


def _matrix_product_flops(n: int = 1024) -> float:
    """Measure the floating-point operations per second of NumPy's float32 matrix product, the upper limit of any step."""
    a = np.ones((n, n), np.float32)
    durations: list[float] = []
    for _ in range(8):
        with timed(durations):
            a @ a
    return 2 * n**3 / float(np.median(durations[2:]))
