"""python -m minigrad.train: train the network of a recipe with nothing but NumPy."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoint, datasets, recipes
from .classifier import Classifier
from .datasets import Dataset
from .recipes import Recipe
from .runs import (
    Epoch,
    Stopped,
    curves,
    folder,
    history,
    metrics,
    resuming,
    run_command,
    weights,
    write_json,
    write_text,
)
from .runs.memory import keep_freed
from .runs.progress import ProgressReport, network
from .runs.tensorboard import Scalars
from .training import BestEpoch, Schedule, build_optimizer, train_epoch

PROG = "python -m minigrad.train"
# What a run writes, besides what TensorBoard is given.
FILES = (folder.RECIPE, folder.HISTORY, folder.WEIGHTS, folder.CURVES, folder.METRICS, checkpoint.NAME)


def main(argv: Sequence[str]) -> None:
    """Train, test once, and leave a run folder."""
    keep_freed()
    parser = recipes.recipe_parser(PROG, "Train the network of a recipe with a hand-built autograd in NumPy.")
    recipes.run_options(parser)
    flag: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}
    parser.add_argument("--tensorboard", **flag, help="write scalars for TensorBoard, where it is installed")
    options = parser.parse_args(recipes.resolve(argv))
    recipe = recipes.to_recipe(options)
    how: dict[str, Any] = {"resume": options.resume, "overwrite": options.overwrite}
    with folder.claim_run(options.out, "minigrad", FILES, **how) as out:
        if options.resume and resuming.is_complete(out, recipe):
            return
        data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
        fit(recipe, data, out, tensorboard=options.tensorboard, **how)


def fit(
    recipe: Recipe,
    data: Dataset,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
) -> None:
    """Train by `recipe` in the folder `out`, and test at the end.

    Args:
        recipe: what is trained, and how.
        data: what it is trained on.
        out: the run folder.
        resume: continue the run in the folder, if there is one.
        overwrite: replace the run in the folder.
        tensorboard: also write scalars for TensorBoard.

    Raises:
        UserError: recipe, data, weights or folder don't fit together, training diverged, or TensorBoard is not
            installed and was asked for.
        Stopped: Ctrl-C; whole epochs are kept.
    """
    with folder.claim_run(out, "minigrad", FILES, resume=resume, overwrite=overwrite):
        _fit(recipe, data, out, resume and folder.holds_run(out), overwrite, tensorboard)


def _fit(recipe: Recipe, data: Dataset, out: Path, resume: bool, overwrite: bool, tensorboard: bool) -> None:
    model, size = recipe.model, len(data.train.labels)
    steps = datasets.steps_per_epoch(size, recipe.data.batch_size)
    recipes.refuse_misfit(recipe, data)
    net = Classifier(model, data.input_shape, data.classes, data.input_scale, recipe.seed_everything)
    if model.weights is not None:
        shapes = recipes.sizes(model, data.input_shape, data.classes).shapes(model)
        net.load_state_dict(weights.read_for(model.weights, shapes, data.input_scale))
    optimizer = build_optimizer(net.parameters(), model)
    schedule = Schedule(model.schedule, optimizer, steps * recipe.trainer.max_epochs)
    best = BestEpoch(recipe.early_stopping.patience) if recipe.early_stopping.patience else None
    scalars = Scalars(out) if tensorboard else None

    def restore() -> int:
        done, trained_on = checkpoint.load(out / checkpoint.NAME, net, optimizer, schedule, best)
        resuming.refuse_other_data(trained_on, data.digest, recipe.data.path)
        return done

    epochs = resuming.take_up(out, recipe, checkpoint.NAME, restore) if resume else []
    datasets.report(data)
    folder.prepare(out, FILES, overwrite=overwrite)
    write_text(out / folder.RECIPE, recipes.dump(recipe))
    described = weights.describe(recipe.as_dict(), data.input_shape, data.classes, data.input_scale)

    parameters = sum(p.size for p in net.parameters())
    report, saved = ProgressReport(recipe, data, parameters, steps), len(epochs)
    try:
        # What overflows shows in the loss, which is looked at.
        with report, np.errstate(over="ignore", invalid="ignore"):
            if scalars:
                scalars.start(epochs)
            while len(epochs) < recipe.trainer.max_epochs and not (best and best.is_over):
                epoch, began = len(epochs), time.perf_counter()
                net.begin_epoch(epoch)
                order = datasets.batches(size, recipe.data.batch_size, recipe.seed_everything, epoch)
                moved = recipe.data.augment == "shift"
                shifts = datasets.epoch_shifts(size, recipe.seed_everything, epoch) if moved else None
                loss, accuracy = train_epoch(net, optimizer, *data.train, order, schedule, report.step, shifts)
                metrics.refuse_divergence(loss, epoch + 1, model.learning_rate)
                row = Epoch(epoch + 1, loss, accuracy, None, None, optimizer.lr, 0.0)
                if len(data.validation.labels):
                    seen = metrics.score(net.predict(data.validation.images), data.validation.labels)
                    row = replace(row, val_loss=seen["loss"], val_accuracy=seen["accuracy"])
                    metrics.refuse_divergence(seen["loss"], epoch + 1, model.learning_rate)
                    schedule.after_epoch(seen["loss"])
                    if best:
                        best.see(seen["loss"], net)
                epochs.append(replace(row, seconds=time.perf_counter() - began))
                # The checkpoint last: a history that is one row ahead of it is cut on resuming.
                history.write(out / folder.HISTORY, epochs)
                weights.write(out / folder.WEIGHTS, best.weights if best else net.state_dict(), described)
                checkpoint.save(out / checkpoint.NAME, len(epochs), net, optimizer, schedule, best, data.digest)
                saved = len(epochs)
                report.epoch(epochs[-1])
                if scalars:
                    scalars.epoch(epochs[-1])
    except KeyboardInterrupt:
        raise Stopped(f"{saved} whole epochs are kept in {out}; --out {out} --resume continues") from None

    if best and best.weights:
        net.load_state_dict(best.weights)
    history.write(out / folder.HISTORY, epochs)
    weights.write(out / folder.WEIGHTS, net.state_dict(), described)
    if epochs:
        curves.draw(out / folder.CURVES, epochs, f"minigrad, {network(recipe, data)}")
    tested = metrics.test_metrics(net.predict(data.test.images), data.test.labels)
    write_json(out / folder.METRICS, {**tested, "parameters": parameters, "epochs": len(epochs)})
    print(f"{metrics.percent(tested)}, in {out}")


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
