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
from minigrad.runs import UserError, expand, exports, folder, formats, metrics, need_tensorboard, predictions, resuming
from minigrad.runs.overview import description_of, overview, summaries

from . import devices
from .export import choice
from .options import Kind, Options, check
from .startup import starting

PROG = "python -m keras_model"
DESCRIPTION = """\
keras_model trains a digit classifier with Keras 3, and uses the trained network.
The backend is that of KERAS_BACKEND: tensorflow (the default), jax or torch."""
READ_ON = "In Python: keras_model.fit. The guides: README.md and docs/ in the repository."
RESULT_FILES = (folder.METRICS, folder.CONFUSION, folder.MISTAKES, folder.RELIABILITY)


class Command(NamedTuple):
    """A command that accepts the keys of a recipe.

    Attributes:
        add_options: adds further options to its parser.
        run: runs the command with the parsed options.
    """

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
    parser = recipes.recipe_parser(f"{PROG} {name}", description_of(name))
    command.add_options(parser)
    return parser.parse_args(recipes.resolve(argv))


def fit_options(parser: Parser) -> None:
    """Add the run folder, and the settings of Keras for which a recipe has no keys."""
    recipes.run_options(parser)
    parser.add_class_arguments(Options, skip={"tensorboard"})
    parser.add_flag("--tensorboard", recipes.HELP["tensorboard"])


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
    recipes.result_options(parser)


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


def no_options(parser: Parser) -> None:
    """Add nothing to the keys of a recipe."""


def validate(options: Any) -> None:
    """Print the loss and the accuracy; write no file."""
    recipe = recipes.to_recipe(options)
    with starting():
        from . import restore, training
    data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
    if not len(data.validation.labels):
        size = "null" if recipe.data.validation_size is None else recipe.data.validation_size
        raise UserError(
            f"data.validation_size: {size} holds out none of {len(data.train.labels)} training images; expected 1 or more"
        )
    net, data = restore.restore_for(recipe, data)
    datasets.report_notes(data)
    training.validate(net, data.validation, recipe)


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
    formats.add_options(parser, formats.OF_KERAS, Kind)
    parser.add_argument("--out", type=str | None, default=None, help=recipes.HELP["out of exports"])
    parser.add_flag("--overwrite", recipes.HELP["overwrite files"])


def export(options: Any) -> None:
    """Write the network in other formats."""
    recipe = recipes.to_recipe(options)
    folder.refuse_empty(options.out, "--out", "a folder")
    files = choice.choose(options.kinds, options.precision)
    with starting():
        from . import restore
        from .export.command import export
    net, spec = restore.restore(recipe.model.weights)
    source = Path(str(recipe.model.weights))
    out = source.parent if options.out is None else expand(options.out)
    if options.kinds is None:
        files = [cell for cell in files if (out / cell.file(source.stem)).resolve() != source.resolve()]
    examples = exports.examples_for(recipe.data.path, spec, files, source)
    export(net, spec, examples, out, source.stem, files, overwrite=options.overwrite)


COMMANDS = {
    "fit": Command(fit_options, fit),
    "validate": Command(no_options, validate),
    "test": Command(use_options, test),
    "predict": Command(predict_options, predict),
    "export": Command(export_options, export),
}
HELP = summaries(*COMMANDS, "plot")
