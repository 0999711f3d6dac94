"""python -m minigrad train: train the network of a recipe with NumPy only."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoint, datasets, recipes
from .datasets import Dataset
from .hints import Watcher
from .recipes import Recipe
from .runs import Epoch, RunRecorder, Stopped, TrainingResult, folder, metrics, resuming, run_command
from .runs.class_order import in_order_of
from .runs.memory import keep_freed
from .runs.progress import ProgressReport, network
from .runs.tensorboard import Scalars
from .runs.weights import NetworkSpec
from .training import TrainingState, train_epoch

PROG = "python -m minigrad train"
# The files of a run, except those for TensorBoard.
FILES = (folder.RECIPE, folder.HISTORY, folder.WEIGHTS, folder.CURVES, folder.METRICS, checkpoint.NAME)


def main(argv: Sequence[str]) -> None:
    """Train a network, test it once, and write a run folder."""
    keep_freed()
    parser = recipes.recipe_parser(
        PROG, "Train the network of a recipe with minigrad, the autograd engine in NumPy, and test it."
    )
    recipes.run_options(parser)
    parser.add_flag("--tensorboard", "write scalars for TensorBoard, if it is installed")
    options = parser.parse_args(recipes.resolve(argv))
    recipe = recipes.to_recipe(options)
    claim: dict[str, Any] = {"resume": options.resume, "overwrite": options.overwrite}
    with folder.claim_run(options.out, "minigrad", FILES, **claim) as out:
        if options.resume and resuming.is_complete(out, recipe):
            return
        data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
        fit(recipe, data, out, tensorboard=options.tensorboard, **claim)


def fit(
    recipe: Recipe | str | Path,
    data: Dataset | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
) -> TrainingResult:
    """Train the network of a recipe, and test it once.

    Args:
        recipe: a `Recipe`, the name of a built-in one, or a YAML file.
        data: the data to train, validate and test on; None loads those that the recipe names.
        out: the run folder; None creates the next `runs/minigrad-N`.
        resume: continue the run in the folder, if there is one.
        overwrite: replace the run in the folder.
        tensorboard: also write scalars for TensorBoard.

    Returns:
        The history, the test metrics and the run folder.

    Raises:
        UserError: recipe, data, weights and folder do not fit together; training diverged; or `tensorboard` is True
            and TensorBoard is not installed.
        Stopped: the run was interrupted by Ctrl-C; the epochs that were completed are kept.

    Example:
        >>> result = fit("simple", out="runs/example")
        >>> result.metrics["test_accuracy"]
    """
    recipe = recipes.as_recipe(recipe)
    with folder.claim_run(out, "minigrad", FILES, resume=resume, overwrite=overwrite) as run:
        data = data or datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
        data = in_order_of(data, recipe.model.weights)
        return _fit(recipe, data, run, resume and folder.holds_run(run), overwrite, tensorboard)


def _fit(recipe: Recipe, data: Dataset, out: Path, resume: bool, overwrite: bool, tensorboard: bool) -> TrainingResult:
    steps = datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size)
    recipes.refuse_misfit(recipe, data)
    spec = NetworkSpec.of(recipe, data)
    length = steps * recipe.trainer.max_epochs
    scalars = Scalars(out) if tensorboard else None
    restored: TrainingState | None = None

    def restore() -> int:
        nonlocal restored
        # The checkpoint is checked before the network is built, whose size a damaged recipe.yaml could make enormous.
        content = checkpoint.read(out / checkpoint.NAME, spec)
        resuming.refuse_other_data(content.digest, data.digest, recipe.data.path)
        restored = TrainingState.start(spec, length)
        content.restore(restored)
        return content.epoch

    epochs = resuming.continue_run(out, recipe, checkpoint.NAME, restore) if resume else []
    state = restored or TrainingState.start(spec, length)
    datasets.report(data)
    folder.prepare(out, FILES, overwrite=overwrite)
    recorder = RunRecorder(out, spec, f"minigrad, {network(recipe, data)}", epochs)
    recorder.write_recipe()

    parameters = sum(p.size for p in state.net.parameters())
    progress, saved = ProgressReport(recipe, data, parameters, steps), len(epochs)
    settings = recipe.data.batch_size, recipe.model.learning_rate
    watcher = Watcher(state.net, data.train.images, data.classes, *settings)
    try:
        # An overflow makes the loss infinite or NaN, which the recorder checks.
        with progress, np.errstate(over="ignore", invalid="ignore"):
            if scalars:
                scalars.start(epochs)
            while saved < recipe.trainer.max_epochs and not state.is_over:
                epoch = _train_epoch(saved, recipe, data, state, progress, watcher)
                # The checkpoint is written last: resuming removes epochs from the history that it does not contain.
                recorder.add_epoch(epoch, state.net.state_dict)
                checkpoint.save(out / checkpoint.NAME, epoch.epoch, state, data.digest)
                saved = epoch.epoch
                progress.epoch(epoch)
                for hint in watcher.hints(saved):
                    progress.hint(hint.text, hint.command)
                if scalars:
                    scalars.epoch(epoch)
    except KeyboardInterrupt:
        raise Stopped(f"{saved} completed epochs are kept in {out}; --out {out} --resume continues") from None

    state.load_best()
    recorder.finish(state.net.state_dict())
    return recorder.test(state.net.predict(data.test.images), data.test.labels, parameters)


def _train_epoch(
    epoch: int, recipe: Recipe, data: Dataset, state: TrainingState, progress: ProgressReport, watcher: Watcher
) -> Epoch:
    """Train for one more epoch, numbered from 0, and validate."""

    def on_step(step: int, loss: float) -> None:
        watcher.step(step, loss, state.optimizer.lr)
        progress.step(step, loss)

    start, size, seed = time.perf_counter(), len(data.train.labels), recipe.seed_everything
    state.net.begin_epoch(epoch)
    batches = watcher.batches(datasets.batches(size, recipe.data.batch_size, seed, epoch))
    shifts = datasets.epoch_shifts(size, seed, epoch) if recipe.data.augment == "shift" else None
    loss, accuracy = train_epoch(state.net, state.optimizer, *data.train, batches, state.schedule, on_step, shifts)
    metrics_of_epoch = Epoch(epoch + 1, loss, accuracy, None, None, state.optimizer.lr, 0.0)
    if len(data.validation.labels) and np.isfinite(loss):
        score = metrics.score(state.net.predict(data.validation.images), data.validation.labels)
        metrics_of_epoch = replace(metrics_of_epoch, val_loss=score["loss"], val_accuracy=score["accuracy"])
        state.after_epoch(score["loss"])
    return replace(metrics_of_epoch, seconds=time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
