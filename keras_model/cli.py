"""The command line: fit, test and predict by a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from minigrad import datasets, recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import Stopped, folder, history, metrics, write_json, write_text
from minigrad.runs.progress import Report

from .callbacks import CHECKPOINT, LOG, HearCtrlC, ResumableState, RunFolder, build_callbacks, logits
from .data import CurrentEpoch, training_data
from .interrupt import CtrlC
from .model import build_model, compile_model, count_parameters
from .quiet import quiet_start

PROG = "python -m keras_model"
COMMANDS = {
    "fit": "Train, test once, and leave a run folder.",
    "test": "Measure --model.weights on the test set.",
    "predict": "Answer each image of the test set with --model.weights.",
}


def build_parser() -> recipes.Parser:
    """The parser of all commands."""
    parser = recipes.Parser(prog=PROG, description="Train the network of a recipe with Keras.")
    commands = parser.add_subcommands()
    for name, described in COMMANDS.items():
        command = recipes.recipe_parser(f"{PROG} {name}", described)
        recipes.run_options(command, resume=name == "fit")
        if name == "fit":
            flag: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}
            command.add_argument("--tensorboard", **flag, help="write scalars for TensorBoard, where it is installed")
        commands.add_subcommand(name, command, help=described)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run one command."""
    options = build_parser().parse_args(recipes.resolve(argv))
    command = options.subcommand
    options = options[command]
    recipe = recipes.to_recipe(options)
    if command == "fit":
        out = folder.choose(options.out, "keras", resume=options.resume, overwrite=options.overwrite)
        if options.resume and folder.is_finished(out):
            print(f"{out} holds a finished run, which is left as it is")
            return
    else:
        written = {"test": folder.METRICS, "predict": folder.PREDICTIONS}[command]
        out = folder.choose_for(options.out, "keras", written, overwrite=options.overwrite)
    with quiet_start():  # on JAX this loads TensorFlow, if it is there
        keras.utils.set_random_seed(recipe.seed_everything)
    held_out = recipe.data.validation_size if command == "fit" else 0
    data = datasets.load(recipe.data.path, held_out, recipe.seed_everything)
    if command == "fit":
        fit(recipe, data, out, overwrite=options.overwrite, tensorboard=options.tensorboard)
        return
    net = build_model(recipe.model, data.input_shape, data.classes, data.input_scale)
    if recipe.model.weights is None:
        print("model.weights is null: this network is untrained")
    folder.prepare(out)
    if command == "test":
        test(net, data, out)
    else:
        metrics.write_predictions(out / folder.PREDICTIONS, logits(net, data.test.images))
        print(f"{len(data.test.labels):,} predictions in {out / folder.PREDICTIONS}")


def fit(recipe: Recipe, data: Dataset, out: Path, *, overwrite: bool = False, tensorboard: bool = False) -> None:
    """Train by `recipe` in the folder `out`, going on with a run that is there, and test at the end.

    Raises:
        UserError: recipe, data, weights or folder don't fit together, or training diverged.
        Stopped: Ctrl-C; whole epochs are kept.
    """
    size, batch_size, seed = len(data.train.labels), recipe.data.batch_size, recipe.seed_everything
    steps, epochs = datasets.steps_per_epoch(size, batch_size), recipe.trainer.max_epochs
    recipes.refuse_misfit(recipe, data)
    net = build_model(recipe.model, data.input_shape, data.classes, data.input_scale)
    compile_model(net, recipe.model, steps * epochs)

    resumed = not overwrite and (out / folder.RECIPE).exists()
    callbacks = build_callbacks(recipe, out, tensorboard, resumed)
    state, done = ResumableState(out / CHECKPOINT, callbacks), 0
    if resumed:
        recipes.refuse_changes(out / folder.RECIPE, recipe)
        done = state.restore(net) if (out / CHECKPOINT).exists() else 0
    past = history.read(out / folder.HISTORY, done) if done else []
    folder.prepare(out, overwrite=overwrite)
    if resumed and (out / LOG).exists():  # an epoch that is trained again shall be logged once
        write_text(out / LOG, "".join((out / LOG).read_text().splitlines(keepends=True)[: done + 1]))
    write_text(out / folder.RECIPE, recipes.dump(recipe))

    ctrl_c, current, report = CtrlC(), CurrentEpoch(), Report(recipe, data, count_parameters(net), steps)
    run = RunFolder(out, recipe, data, report, past)
    train = training_data(
        data.train,
        lambda epoch: list(datasets.batches(size, batch_size, seed, epoch)),
        current,
        (lambda epoch: datasets.epoch_shifts(size, seed, epoch)) if recipe.data.augment == "shift" else None,
    )
    validation = tuple(data.validation) if len(data.validation.labels) else None
    try:
        if state.is_over():
            net.set_weights(state.best)
            epochs = done
        with report, ctrl_c:
            net.fit(
                train,
                epochs=epochs,
                initial_epoch=done,
                verbose=0,
                shuffle=False,  # the order is given
                validation_data=validation,
                validation_batch_size=1000,
                callbacks=[HearCtrlC(ctrl_c), current, run, *callbacks, state],
            )
    except KeyboardInterrupt:
        raise Stopped(f"{state.kept} whole epochs are kept in {out}; --out {out} --resume goes on") from None
    run.set_model(net)
    run.write_weights()
    test(net, data, out, epochs=len(run.epochs))


def test(net: keras.Model, data: Dataset, out: Path, **more: Any) -> None:
    """Write metrics.json and print its sentence."""
    tested = metrics.test_metrics(logits(net, data.test.images), data.test.labels)
    write_json(out / folder.METRICS, {**tested, "parameters": count_parameters(net), **more})
    print(f"{metrics.percent(tested)}, in {out}")
