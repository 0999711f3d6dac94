"""A contender's run written down, and read again: the worker's side of parity.

Of each dtype one epoch without dropout, whose masks each framework draws for
itself. Where the recipe has dropout, and the contender takes masks from
outside, a few more steps with the same masks for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe

from ..contenders.base import Batches, Contender, Weights
from ..jobs.job import starting_weights
from .recorder import Recorder

if TYPE_CHECKING:
    from ..timing.training import Task

DTYPES = ("float64", "float32")
MASKED = "masked"  # the recording with dropout, in float64
MASKED_STEPS = 32
_MASKS = 4  # second word of the seed sequence; 0 to 3 are minigrad's


@dataclass(frozen=True)
class Recording:
    """What a `Recorder` saved, read again.

    Its keys: `loss`, (steps,); `weight NAME STEP` after a step, where 0 is
    before the first; `gradient NAME STEP`; `trace LAYER 1`; and the batches,
    `images STEP` and `labels STEP`.
    """

    arrays: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, path: Path) -> Recording:
        with np.load(path) as archive:
            return cls(dict(archive))

    @property
    def losses(self) -> np.ndarray:
        """Each step's, float64 (steps,)."""
        return self.arrays["loss"]

    def at(self, kind: str, step: int) -> dict[str, np.ndarray]:
        """The weights, gradients or trace of a step, by name; empty where none were kept."""
        return self._by_step.get((kind, step), {})

    @cached_property
    def _by_step(self) -> dict[tuple[str, int], dict[str, np.ndarray]]:
        found: dict[tuple[str, int], dict[str, np.ndarray]] = {}
        for key, array in self.arrays.items():
            kind, *name, step = key.split(" ") if " " in key else (key, "0")
            if name:
                found.setdefault((kind, int(step)), {})[" ".join(name)] = array
        return found

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """A step's images and labels. Raises KeyError where they were not kept."""
        return self.arrays[f"images {step}"], self.arrays[f"labels {step}"]

    def batches(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """All that were kept, by step; 0 is the first images in the file's order."""
        return {int(key[7:]): self.batch(int(key[7:])) for key in self.arrays if key.startswith("images ")}


def stage(task: Task) -> dict[str, Any]:
    """The worker's stage: record, and say what was left."""
    return {"recorded": record(task.contender, task.recipe, task.data, task.weights, task.out)}


def matrix(task: Task) -> dict[str, Any]:
    """The worker's stage of many recipes in one process, each from minigrad's starting weights.

    `cells` among the options gives each recipe under the name that its files
    begin with. Answers the files of each, or a sentence where the contender
    can't take part.
    """
    found: dict[str, Any] = {}
    for name, values in task.options["cells"].items():
        recipe = Recipe.from_dict(values)
        weights = starting_weights(recipe, task.data)
        found[name] = task.contender.misfit(recipe) or record(
            task.contender, recipe, task.data, weights, task.out, f"{name}."
        )
    return {"recorded": found}


def record(
    contender: Contender, recipe: Recipe, data: Dataset, weights: Weights, out: Path, prefix: str = ""
) -> list[str]:
    """Train one epoch in each dtype, and with given masks where there is dropout; returns the files left in `out`."""
    plain = replace(recipe, model=replace(recipe.model, dropout=0.0))
    files = [_one(contender, plain, data, weights, dtype, out / f"{prefix}{dtype}.npz") for dtype in DTYPES]
    if recipe.model.dropout and recipe.model.hidden and contender.masks:
        kept = MASKED_STEPS * recipe.data.batch_size
        few = replace(data, train=Split(data.train.images[:kept], data.train.labels[:kept]))
        files.append(_one(contender, recipe, few, weights, "float64", out / f"{prefix}{MASKED}.npz"))
    return files


def masks(recipe: Recipe, steps: int) -> list[np.ndarray]:
    """Dropout's masks, (steps, batch, units) float64 for each hidden layer: 0 where a unit is dropped, else 1/(1-p).

    A function of the seed, the step and the layer alone.
    """

    def draw(step: int, layer: int, units: int) -> np.ndarray:
        rng = np.random.default_rng([recipe.seed_everything, _MASKS, step, layer])
        return (rng.random((recipe.data.batch_size, units)) >= recipe.model.dropout) / (1 - recipe.model.dropout)

    hidden = recipe.model.hidden
    return [np.stack([draw(step, i, units) for step in range(steps)]) for i, units in enumerate(hidden)]


def _one(contender: Contender, recipe: Recipe, data: Dataset, weights: Weights, dtype: str, path: Path) -> str:
    """Build, train one epoch under a recorder, and write what it saw."""
    batches = Batches(data.train, recipe.data.batch_size, recipe.seed_everything, 1, recipe.data.augment)
    contender.build(recipe, data, weights, dtype)
    recorder = Recorder(batches.steps)
    recorder.before(contender, batches, trace=not recipe.model.dropout)
    if recipe.model.dropout:
        contender.take_masks(masks(recipe, batches.steps))
    contender.fit(batches, recorder)
    recorder.save(path)
    return path.name
