"""The command line: train a recipe, and use the trained network.

Keras is imported only after the arguments have been checked, since the import
takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minigrad import datasets, recipes
from minigrad.recipes import Parser
from minigrad.runs import expand, folder, metrics, need_tensorboard, predictions, resuming
from minigrad.runs.overview import overview

from . import devices
from .options import Kind, Options, check
from .startup import starting

PROG = "python -m keras_model"
DESCRIPTION = """\
keras_model trains a digit classifier with Keras 3, and uses the trained network.
The backend is that of KERAS_BACKEND: tensorflow (the default), jax or torch."""
READ_ON = "In Python: keras_model.fit. The guides: README.md and docs/ in the repository."
RESULT_FILES = (folder.METRICS, folder.CONFUSION, folder.MISTAKES)


class Command(NamedTuple):
    """A command that accepts the keys of a recipe.

    Attributes:
        help: one line that describes the command.
        add_options: adds further options to its parser.
        run: runs the command with the parsed options.
    """

    help: str
    add_options: Callable[[Parser], None]
    run: Callable[[Any], None]


def main(argv: Sequence[str]) -> None:
    """Print the overview or the version, or run one command."""
    if overview(argv, PROG, DESCRIPTION, HELP, read_on=READ_ON):
        return
    name, *rest = argv
    if name == "plot":
        from minigrad.runs import plot

        plot.main(rest, f"{PROG} plot")
    else:
        COMMANDS[name].run(parse(name, rest))


def parse(name: str, argv: Sequence[str]) -> Any:
    """Parse the arguments of a command that accepts a recipe."""
    command = COMMANDS[name]
    parser = recipes.recipe_parser(f"{PROG} {name}", f"{command.help[0].upper()}{command.help[1:]}.")
    command.add_options(parser)
    return parser.parse_args(recipes.resolve(argv))


def fit_options(parser: Parser) -> None:
    """Add the run folder, and the settings of Keras for which a recipe has no keys."""
    recipes.run_options(parser)
    parser.add_class_arguments(Options, skip={"tensorboard"})
    parser.add_flag("--tensorboard", "write scalars and weight histograms for TensorBoard, which must be installed")


def fit(options: Any) -> None:
    """Train in a new run folder, or continue the run in a folder."""
    recipe = recipes.to_recipe(options)
    settings = check(Options(**{name: options[name] for name in vars(Options())}))
    if settings.tensorboard:
        need_tensorboard()
    claim: dict[str, Any] = {"resume": options.resume, "overwrite": options.overwrite}
    with devices.claim_run(options.out, **claim) as out:
        if options.resume and resuming.is_complete(out, recipe):
            return
        with starting():
            from . import training
        training.fit(recipe, out=out, options=settings, **claim)


def use_options(parser: Parser) -> None:
    """Add the folder for the results."""
    recipes.run_options(parser, resume=False)


def test(options: Any) -> None:
    """Write metrics.json and its pictures."""
    recipe = recipes.to_recipe(options)
    with folder.claim_files(options.out, "keras", RESULT_FILES, overwrite=options.overwrite) as out:
        with starting():
            from . import restore, training
        data = datasets.load(recipe.data.path)
        net, data = restore.restore_for(recipe, data)
        datasets.report_notes(data)
        folder.prepare(out, RESULT_FILES)
        training.evaluate(net, data.test, out, recipe, data.class_names)


def predict_options(parser: Parser) -> None:
    """Add the folder for the results, and the options for pictures and predictions.csv."""
    use_options(parser)
    recipes.predict_options(parser)


def predict(options: Any) -> None:
    """Write predictions.csv."""
    recipe = recipes.to_recipe(options)
    with folder.claim_files(options.out, "keras", predictions.files(options), overwrite=options.overwrite) as out:
        with starting():
            from . import restore, training
        net, spec = restore.restore(recipe.model.weights)
        names, images = predictions.load_images(recipe.data.path, spec, options)
        outputs = training.logits(net, images)
        metrics.check_outputs(outputs, recipe.data.path, weights=recipe.model.weights)
        predictions.write(out, outputs, images, names, options, spec.class_names)


def export_options(parser: Parser) -> None:
    """Add the formats, the folder and --overwrite."""
    kinds = "the formats; null writes all that the backend can write, except h5, the weights in Keras's own layout"
    parser.add_argument("--kinds", type=Kind, nargs="+", default=None, help=kinds)
    parser.add_argument(
        "--out", type=str | None, default=None, help="the folder; null writes the files beside the weights"
    )
    parser.add_flag("--overwrite", "replace existing files")


def export(options: Any) -> None:
    """Write the network in other formats."""
    recipe = recipes.to_recipe(options)
    folder.refuse_empty(options.out, "--out", "a folder")
    with starting():
        from . import restore
        from .export.command import export
    net, spec = restore.restore(recipe.model.weights)
    data = restore.refuse_misfit(spec, datasets.load(recipe.data.path), recipe.model.weights)
    source = Path(str(recipe.model.weights))
    export(
        net,
        spec,
        *data.test,
        source.parent if options.out is None else expand(options.out),
        source.stem,
        options.kinds,
        calibration=data.train.images,
        source=source,
        overwrite=options.overwrite,
    )


COMMANDS = {
    "fit": Command("train the network of a recipe, test it, and write a run folder", fit_options, fit),
    "test": Command("measure the accuracy of --model.weights on the test images", use_options, test),
    "predict": Command(
        "write the predictions of --model.weights for the images at --data.path", predict_options, predict
    ),
    "export": Command("write --model.weights in formats for deployment, each checked", export_options, export),
}
HELP = {name: command.help for name, command in COMMANDS.items()} | {
    "plot": "draw the learning curves of one or several runs",
}
