"""Records a contender's training. Runs in the worker process.

One epoch is recorded in each dtype, without dropout, since each framework
draws its own masks. If the recipe has dropout and the contender accepts
masks, a few more steps are recorded with the same masks for all. minigrad's
process also measures the tolerances in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from minigrad import datasets
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe

from ..contenders import minigrad
from ..contenders.base import Batches, Contender, Observer, Weights
from ..jobs.shared import save_arrays, starting_weights
from ..jobs.task import Task
from ..results.schema import DTYPES
from .recording import FIRST_STEPS, MASKED, TOLERANCE, Recording, is_weight_step

MASKED_STEPS = 32
_MASK_STREAM = 4  # second word of the random generator's seed; minigrad uses 0 to 3


class Recorder(Observer):
    """Records every step's loss, the weights at some steps, and the first gradients.

    The weights at all steps would take hundreds of megabytes, and an error at
    one step also affects every later step. For the explanation of a
    divergence, it also records the weights before the first step, the output of
    each layer for the first batch, and the batches of the first steps and the
    last one.

    Args:
        total: number of steps.
    """

    every_step = True
    GRADIENT_STEPS = 3

    def __init__(self, total: int) -> None:
        self.total = total
        self.losses: list[float] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.inputs: dict[str, np.ndarray] = {}

    def before(self, contender: Contender, batches: Batches, trace: bool = True) -> None:
        """Record the contender's starting weights, its layers' outputs, and the batches of the first epoch."""
        order, shifts = batches.order(0), batches.shifts(0)
        chosen = {step: order[step - 1] for step in (*range(1, FIRST_STEPS + 1), self.total) if step <= len(order)}
        for step, indices in {0: np.arange(len(order[0])), **chosen}.items():
            images = batches.train.images[indices]
            self.inputs[f"images {step}"] = images if shifts is None else datasets.shifted(images, shifts[indices])
            self.inputs[f"labels {step}"] = batches.train.labels[indices]
        self.arrays |= {f"weight {name} 0": w for name, w in contender.state().items()}
        if trace:
            outputs = contender.trace(self.inputs["images 1"])
            self.arrays |= {f"trace {name} 1": a for name, a in outputs.items()}

    def wants_gradients(self) -> bool:
        return len(self.losses) < self.GRADIENT_STEPS

    def after_steps(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        with_gradients = self.wants_gradients()
        self.losses.append(loss())
        step = len(self.losses)
        if with_gradients:
            self.arrays |= {f"gradient {name} {step}": g for name, g in gradients().items()}
        if is_weight_step(step, self.total):
            self.arrays |= {f"weight {name} {step}": w for name, w in weights().items()}

    def recording(self) -> Recording:
        """Return what was recorded, without the batches, in the dtype of the training."""
        return Recording(self.arrays | {"loss": np.array(self.losses, np.float64)})

    def save(self, path: Path) -> None:
        """Write all arrays to an .npz file as float64; the batches keep their dtype."""
        arrays = self.inputs | {name: np.asarray(a, np.float64) for name, a in self.arrays.items()}
        save_arrays(path, arrays | {"loss": np.array(self.losses, np.float64)})


def run_parity(task: Task) -> dict[str, list[str]]:
    """Stage `parity`: record the job's recipe; the answer contains the file names."""
    return {"recorded": _record(task, task.recipe, task.weights)}


def run_matrix(task: Task) -> dict[str, dict[str, list[str] | str]]:
    """Stage `matrix`: record many recipes in one process, each from minigrad's starting weights.

    The option `cells` contains the recipes by the prefix of their file names, and `steps` the number of their steps.
    The answer contains the file names of each recipe, or a sentence if the
    contender does not support the recipe.
    """
    answer: dict[str, list[str] | str] = {}
    for name, values in task.options["cells"].items():
        recipe = Recipe.from_dict(values)
        few = replace(task, data=first_steps(task.data, recipe.data.batch_size, task.options["steps"]))
        weights = starting_weights(recipe, few.data)
        answer[name] = task.contender.unsupported(recipe) or _record(few, recipe, weights, f"{name}.")
    return {"recorded": answer}


def first_steps(data: Dataset, batch_size: int, steps: int) -> Dataset:
    """Return the first images, enough for `steps` steps; the last batch has two thirds of the batch size."""
    n = steps * batch_size - batch_size // 3
    train, test = Split(*(a[:n] for a in data.train)), Split(*(a[:1] for a in data.test))
    return Dataset(train, Split(*(a[:0] for a in train)), test, data.classes)


def _record(task: Task, recipe: Recipe, weights: Weights, prefix: str = "") -> list[str]:
    """Record a recipe and, if the contender is minigrad, measure the tolerances."""
    files = record(task.contender, recipe, task.data, weights, task.out, prefix)
    if isinstance(task.contender, minigrad.Contender):
        files.append(measure_tolerances(task.contender, recipe, task.data, weights, task.out, prefix))
    return files


def record(
    contender: Contender, recipe: Recipe, data: Dataset, weights: Weights, out: Path, prefix: str = ""
) -> list[str]:
    """Record one epoch in each dtype, and some steps with dropout masks if the recipe has dropout.

    Args:
        contender: the contender, loaded.
        recipe: the recipe that is trained.
        data: the data set.
        weights: the starting weights.
        out: the folder of the recordings.
        prefix: the prefix of the file names.

    Returns:
        The names of the files in `out`.
    """
    plain = _without_dropout(recipe)
    files = [_record_one(contender, plain, data, weights, dtype, out / f"{prefix}{dtype}.npz") for dtype in DTYPES]
    if recipe.model.dropout and recipe.model.hidden and contender.accepts_masks:
        count = MASKED_STEPS * recipe.data.batch_size
        few = replace(data, train=Split(data.train.images[:count], data.train.labels[:count]))
        files.append(_record_one(contender, recipe, few, weights, "float64", out / f"{prefix}{MASKED}.npz"))
    return files


def measure_tolerances(
    contender: minigrad.Contender, recipe: Recipe, data: Dataset, weights: Weights, out: Path, prefix: str = ""
) -> str:
    """Train with perturbations, and write the tolerances in float32; see `tolerances`. Call `record` before.

    Args:
        contender: minigrad, loaded.
        recipe: the recipe that is trained.
        data: the data set.
        weights: the starting weights.
        out: the folder of minigrad's recordings.
        prefix: the prefix of the file names.

    Returns:
        The name of the file in `out`.
    """
    from . import perturbation, tolerances  # other workers do not need them

    plain = _without_dropout(recipe)
    double, single = (Recording.read(out / f"{prefix}{dtype}.npz") for dtype in DTYPES)

    def runs() -> Iterator[Recording]:
        yield double
        for seed, sign in perturbation.RUNS:
            change = perturbation.Perturbation(seed, sign)
            perturbed = change.recipe(plain), change.data(data), change.weights(weights)
            watch = partial(perturbation.Perturbing, contender, change)
            yield _train(contender, *perturbed, "float32", watch).recording()

    path = out / f"{prefix}{TOLERANCE}.npz"
    tolerances.measure(single, runs()).save(path)
    return path.name


def masks(recipe: Recipe, steps: int) -> list[np.ndarray]:
    """Return dropout masks: one array (steps, batch, units), float64, per hidden layer.

    A mask is 0 where a unit is dropped, else 1 / (1 - p). It depends on the
    seed, the step and the layer only.
    """

    def draw(step: int, layer: int, units: int) -> np.ndarray:
        rng = np.random.default_rng([recipe.seed_everything, _MASK_STREAM, step, layer])
        return (rng.random((recipe.data.batch_size, units)) >= recipe.model.dropout) / (1 - recipe.model.dropout)

    hidden = recipe.model.hidden
    return [np.stack([draw(step, i, units) for step in range(steps)]) for i, units in enumerate(hidden)]


def _without_dropout(recipe: Recipe) -> Recipe:
    return replace(recipe, model=replace(recipe.model, dropout=0.0))


def _record_one(contender: Contender, recipe: Recipe, data: Dataset, weights: Weights, dtype: str, path: Path) -> str:
    """Train one epoch, and write the recording."""
    _train(contender, recipe, data, weights, dtype).save(path)
    return path.name


def _train(
    contender: Contender,
    recipe: Recipe,
    data: Dataset,
    weights: Weights,
    dtype: str,
    watch: Callable[[Observer], Observer] = lambda recorder: recorder,
) -> Recorder:
    """Build, and train one epoch with a recorder, which `watch` may wrap."""
    batches = Batches(data.train, recipe.data.batch_size, recipe.seed_everything, 1, recipe.data.augment)
    contender.build(recipe, data, weights, dtype)
    recorder = Recorder(batches.steps)
    recorder.before(contender, batches, trace=not recipe.model.dropout)
    if recipe.model.dropout:
        contender.use_masks(masks(recipe, batches.steps))
    contender.fit(batches, watch(recorder))
    return recorder
