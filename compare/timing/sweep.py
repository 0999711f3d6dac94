"""Measures how the time of a step grows with hidden width and batch size. Runs in the worker process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minigrad import datasets
from minigrad.datasets import Split
from minigrad.recipes import Recipe

from ..contenders.base import Batches
from ..jobs.shared import starting_weights
from ..jobs.task import Task
from ..results.schema import SweepAnswer, SweepAnswerPoint
from . import products
from .stopwatch import Stopwatch
from .work import flops_per_sample

STEPS = (20, 60)  # lowest and highest number of steps per round
FLOPS = 8e9  # approximate number per round, within the limits of STEPS


def run(task: Task) -> SweepAnswer:
    """Measure the time of a step at each (width, batch size, number of rounds) of the option `points`.

    A process that takes turns ends its turn after the first epoch at each point, which warms up, and after each round.
    """
    return {"points": [_point(task, *point) for point in task.options["points"]]}


def _point(task: Task, width: int, batch_size: int, rounds: int) -> SweepAnswerPoint:
    """Time the contender's own training at one width and batch size."""
    recipe, train = with_width(task.recipe, width, batch_size), task.data.train
    shape, classes = task.data.input_shape, task.data.classes
    flops = batch_size * flops_per_sample(recipe, shape, classes)
    steps = max(int(np.clip(FLOPS / flops, *STEPS)), task.contender.steps_per_call + 2)
    rows = np.arange(steps * batch_size) % len(train.labels)
    data = replace(task.data, train=Split(train.images.take(rows, axis=0), train.labels.take(rows)))
    epoch_steps = datasets.steps_per_epoch(len(train.labels), task.recipe.data.batch_size)
    measured = products.measure(task.contender, recipe, shape, classes)
    task.contender.build(recipe, data, starting_weights(recipe, data), "float32")
    times: list[float] = []

    def end_turn(stopwatch: Stopwatch) -> None:
        times.append(step_us(stopwatch, epoch_steps))
        task.turns.end(step_us=times[-1])

    batches = Batches(data.train, batch_size, recipe.seed_everything, 1 + rounds, recipe.data.augment)
    task.contender.fit(batches, Stopwatch(steps, end_turn))
    return {
        "width": width,
        "batch_size": batch_size,
        "steps": steps,
        "flops": flops,
        "products": measured,
        "epoch_us": times,
    }


def step_us(stopwatch: Stopwatch, epoch_steps: int) -> float:
    """Return the time of a step in the last epoch, in microseconds, as if the epoch had `epoch_steps` steps.

    What a framework does once per epoch, before the first call and after the last one, takes time that does not depend on
    the number of steps. It is divided by `epoch_steps`, because the epochs of a sweep are shorter than those of a training.
    """
    begin = stopwatch.epochs[-2] if len(stopwatch.epochs) > 1 else 0.0
    total, n = stopwatch.epochs[-1] - begin, stopwatch.epoch_steps
    first = next(i for i, time in enumerate(stopwatch.times) if time > begin)
    between = stopwatch.steps[-1] - stopwatch.steps[first]
    if not between:  # one call per epoch
        return total / n * 1e6
    step = (stopwatch.times[-1] - stopwatch.times[first]) / between
    return (step + max(0.0, total - n * step) / epoch_steps) * 1e6


def with_width(recipe: Recipe, width: int, batch_size: int) -> Recipe:
    """Return the recipe with one hidden layer of `width`, another batch size, and fresh weights."""
    model = replace(recipe.model, hidden=[width], weights=None)
    return replace(recipe, model=model, data=replace(recipe.data, batch_size=batch_size))
