"""python -m minigrad train: train the network of a recipe with NumPy only."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from . import checkpoint, datasets, recipes
from .datasets import Dataset
from .devices import Devices, check_devices, resolve_devices, settings
from .hints import Watcher
from .parallel import DataParallel, LostRank
from .recipes import Recipe
from .runs import Epoch, RunRecorder, Stopped, TrainingResult, UserError, folder, metrics, resuming, run_command
from .runs.class_order import in_order_of
from .runs.memory import keep_freed
from .runs.overview import description_of
from .runs.progress import ProgressReport, network
from .runs.tensorboard import Scalars
from .runs.weights import NetworkSpec
from .training import TrainingState, train_epoch

PROG = "python -m minigrad train"
# The files of a run, except those for TensorBoard.
FILES = (
    folder.RECIPE,
    folder.HISTORY,
    folder.WEIGHTS,
    folder.CURVES,
    folder.METRICS,
    folder.RELIABILITY,
    checkpoint.NAME,
)


def main(argv: Sequence[str]) -> None:
    """Train a network, test it once, and write a run folder."""
    keep_freed()
    parser = recipes.recipe_parser(PROG, description_of("train"))
    recipes.run_options(parser)
    parser.add_argument(
        "--devices",
        type=int | Literal["auto"] | None,
        default=None,
        help="the number of processes that compute the gradients of a batch together; auto chooses it from the processors and"
        " the size of the network; null is 1, or with --resume the number of the run",
    )
    parser.add_flag("--tensorboard", recipes.HELP["tensorboard"])
    options = parser.parse_args(recipes.resolve(argv))
    recipe = recipes.to_recipe(options)
    check_devices(options.devices, recipe, resume=options.resume)
    claim: dict[str, Any] = {"resume": options.resume, "overwrite": options.overwrite}
    with folder.claim_run(options.out, "minigrad", FILES, **claim) as out:
        if options.resume and resuming.is_complete(out, recipe):
            return
        data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
        fit(recipe, data, out, tensorboard=options.tensorboard, devices=options.devices, **claim)


def fit(
    recipe: Recipe | str | Path,
    data: Dataset | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    devices: Devices = None,
) -> TrainingResult:
    """Train the network of a recipe, and test it once.

    Args:
        recipe: a `Recipe`, the name of a built-in one, or a YAML file.
        data: the data to train, validate and test on; None loads those that the recipe names.
        out: the run folder; None creates the next `runs/minigrad-N`.
        resume: continue the run in the folder, if there is one.
        overwrite: replace the run in the folder.
        tensorboard: also write scalars for TensorBoard.
        devices: the number of processes that compute the gradients of a batch together, or "auto"; None is 1, or with
            `resume` the number of the run. More than 1 gives the results of 1 up to rounding, and the same bits in every
            run.

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
    check_devices(devices, recipe, resume=resume)
    with folder.claim_run(out, "minigrad", FILES, resume=resume, overwrite=overwrite) as run:
        data = data or datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
        data = in_order_of(data, recipe.model.weights)
        resumed = resume and folder.holds_run(run)
        recipes.refuse_misfit(recipe, data)
        datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size)  # checks the batch size
        spec = NetworkSpec.of(recipe, data)
        number = resolve_devices(devices, spec, run if resumed else None)
        spec = replace(spec, extra=settings(number))
        return _fit(spec, data, run, number, resumed, overwrite, tensorboard)


def _fit(
    spec: NetworkSpec, data: Dataset, out: Path, devices: int, resume: bool, overwrite: bool, tensorboard: bool
) -> TrainingResult:
    recipe = spec.recipe
    steps = datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size)
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
    recorder.write_recipe(dict(spec.extra))
    parameters = sum(p.size for p in state.net.parameters())
    progress = ProgressReport(recipe, data, parameters, steps)
    _train(state, data, recorder, progress, devices, scalars)

    state.load_best()
    recorder.finish(state.net.state_dict())
    return recorder.test(state.net.predict(data.test.images), data.test.labels, parameters)


def _train(
    state: TrainingState,
    data: Dataset,
    recorder: RunRecorder,
    progress: ProgressReport,
    devices: int,
    scalars: Scalars | None,
) -> None:
    """Train for the epochs that are missing in the history."""
    recipe, out, saved = recorder.spec.recipe, recorder.out, len(recorder.history)
    settings = recipe.data.batch_size, recipe.model.learning_rate
    watcher = Watcher(state.net, data.train.images, data.classes, *settings)
    try:
        # An overflow makes the loss infinite or NaN, which the recorder checks.
        with _ranks(state, recipe, data, devices) as ranks, progress, np.errstate(over="ignore", invalid="ignore"):
            if scalars:
                scalars.start(recorder.history)
            while saved < recipe.trainer.max_epochs and not state.is_over:
                epoch = _train_epoch(saved, recipe, data, state, progress, watcher, ranks)
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
    except LostRank as error:
        raise UserError(f"{error}; {saved} completed epochs are kept, --out {out} --resume continues") from error


def _ranks(
    state: TrainingState, recipe: Recipe, data: Dataset, devices: int
) -> AbstractContextManager[DataParallel | None]:
    """Return the context of the processes that train together; it is None for one device."""
    if devices == 1:
        return nullcontext()
    images = data.train.images
    return DataParallel(state.net, recipe.model, data.input_shape, images.dtype, recipe.data.batch_size, devices)


def _train_epoch(
    epoch: int,
    recipe: Recipe,
    data: Dataset,
    state: TrainingState,
    progress: ProgressReport,
    watcher: Watcher,
    ranks: DataParallel | None,
) -> Epoch:
    """Train for one more epoch, numbered from 0, and validate."""

    def on_step(step: int, loss: float) -> None:
        watcher.step(step, loss, state.optimizer.lr)
        progress.step(step, loss)

    start, size, seed = time.perf_counter(), len(data.train.labels), recipe.seed_everything
    (ranks or state.net).begin_epoch(epoch)
    batches = watcher.batches(datasets.batches(size, recipe.data.batch_size, seed, epoch))
    shifts = datasets.epoch_shifts(size, seed, epoch) if recipe.data.augment == "shift" else None
    loss, accuracy = train_epoch(
        state.net, state.optimizer, *data.train, batches, state.schedule, on_step, shifts, ranks
    )
    metrics_of_epoch = Epoch(epoch + 1, loss, accuracy, None, None, state.optimizer.lr, 0.0)
    if len(data.validation.labels) and np.isfinite(loss):
        score = metrics.score(state.net.predict(data.validation.images), data.validation.labels)
        metrics_of_epoch = replace(metrics_of_epoch, val_loss=score["loss"], val_accuracy=score["accuracy"])
        state.after_epoch(score)
    return replace(metrics_of_epoch, seconds=time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
