"""How the time of a step grows with the hidden width and the batch: where overhead ends and arithmetic begins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minigrad.datasets import Split
from minigrad.recipes import Recipe

from ..contenders.base import Batches
from ..jobs.job import starting_weights
from .stopwatch import Stopwatch
from .training import Task, clock
from .work import flops_per_sample

EPOCHS = 3  # the first sets up and does not count
# In one epoch, at least and at most: what a framework does once an epoch must not weigh more than in a real one.
STEPS = (20, 250)
FLOPS = 5e10  # about as many in one epoch, where that is between the two


def measure(task: Task) -> dict[str, Any]:
    """Microseconds of a step at each asked (width, batch size), and the floor: at a width and a batch of one there is
    hardly any arithmetic, so what is left is overhead.
    """
    points = [_point(task, width, batch_size) for width, batch_size in task.options["points"]]
    least = 2 if task.recipe.model.batch_norm else 1  # which a variance needs
    found = {"points": points, "floor_us": _point(task, 1, least)["step_us"]}
    if task.options.get("products"):
        found["flops_per_second"] = _products()
    return found


def _point(task: Task, width: int, batch_size: int) -> dict[str, Any]:
    """One width and batch size: steps of the contender's own training, over whole epochs."""
    recipe, images = at(task.recipe, width, batch_size), task.data.train
    flops = batch_size * flops_per_sample(recipe, task.data.input_shape, task.data.classes)
    steps = int(np.clip(FLOPS / flops, *STEPS))
    rows = np.arange(steps * batch_size) % len(images.labels)
    data = replace(task.data, train=Split(images.images.take(rows, axis=0), images.labels.take(rows)))
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


def at(recipe: Recipe, width: int, batch_size: int) -> Recipe:
    """The recipe with one hidden layer of that width, from fresh weights."""
    model = replace(recipe.model, hidden=[width], weights=None)
    return replace(recipe, model=model, data=replace(recipe.data, batch_size=batch_size))


def _products(n: int = 1024) -> float:
    """Floating-point operations a second in NumPy's matrix product, float32: no step can be quicker than by that."""
    a = np.ones((n, n), np.float32)
    looks: list[float] = []
    for _ in range(8):
        with clock(looks):
            a @ a
    return 2 * n**3 / float(np.median(looks[2:]))


def crossovers(rows: list[dict[str, Any]], batch_size: int, champion: str) -> dict[str, int | None]:
    """For each other contender, the smallest width from which on it is quicker than `champion`, None if at none.

    Args:
        rows: as `results["sweep"]["rows"]`: contender and its points.
    """
    times = {
        row["contender"]: {p["width"]: p["step_us"] for p in row["points"] if p["batch_size"] == batch_size}
        for row in rows
    }
    found: dict[str, int | None] = {}
    for name, its in times.items():
        if name != champion:
            wins = [width for width in sorted(its, reverse=True) if width in times[champion]]
            ahead = None
            for width in wins:
                if its[width] >= times[champion][width]:
                    break
                ahead = width
            found[name] = ahead
    return found
