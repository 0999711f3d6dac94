"""The command line: fit by a recipe, and what one does with a trained network.

Keras is imported once the words make sense, since that takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from minigrad import datasets, recipes
from minigrad.recipes import Parser, Recipe
from minigrad.runs import expand, folder, need_tensorboard, resuming

from . import devices
from .options import FILES, Kind, Options, check
from .quiet import starting

PROG = "python -m keras_model"
FLAG: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}


class Command(NamedTuple):
    """One of the commands."""

    help: str
    parser: Callable[[str, str], Parser]
    run: Callable[[Any], None]


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog=PROG, description="Train the network of a recipe with Keras.")
    commands = parser.add_subcommands()
    for name, command in COMMANDS.items():
        one = command.parser(f"{PROG} {name}", command.help)
        commands.add_subcommand(name, one, help=command.help)
    return parser


def main(argv: Sequence[str]) -> None:
    """Run one command."""
    options = build_parser().parse_args(recipes.resolve(argv))
    COMMANDS[options.subcommand].run(options[options.subcommand])


def fit_parser(prog: str, description: str) -> Parser:
    """A recipe, a run folder, and Keras's own settings."""
    parser = recipes.recipe_parser(prog, description)
    recipes.run_options(parser)
    parser.add_class_arguments(Options, skip={"tensorboard"})
    parser.add_argument("--tensorboard", **FLAG, help="write for TensorBoard, where it is installed")
    return parser


def fit(given: Any) -> None:
    """Train in a new run folder, or go on in one."""
    recipe = recipes.to_recipe(given)
    options = check(Options(**{name: given[name] for name in vars(Options())}))
    if options.tensorboard:
        need_tensorboard()
    rank, _ = devices.process()
    how: dict[str, Any] = {"resume": given.resume, "overwrite": given.overwrite}
    # Of several processes the first one claims the folder and writes.
    there = expand(given.out) if given.out else folder.newest("keras")
    claim = nullcontext(there) if rank else folder.claim_run(given.out, "keras", FILES, **how)
    with claim as out:
        if not (given.resume and resuming.is_complete(out, recipe)):
            train(recipe, out, options, how)


def train(recipe: Recipe, out: Path, options: Options, how: dict[str, Any]) -> None:
    """Import Keras, load the data, and fit."""
    with starting():
        import keras

        from . import training

    keras.utils.set_random_seed(recipe.seed_everything)
    data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
    training.fit(recipe, data, out, options, **how)


def trained_parser(prog: str, description: str) -> Parser:
    """A recipe, of which the data matter and the weights, whose file says what network it is of; and a run folder."""
    parser = recipes.recipe_parser(prog, description)
    recipes.run_options(parser, resume=False)
    return parser


def test(given: Any) -> None:
    """Leave metrics.json."""
    recipe, files = recipes.to_recipe(given), (folder.METRICS, folder.CONFUSION, folder.MISTAKES)
    with folder.claim_files(given.out, "keras", files, overwrite=given.overwrite) as out:
        with starting():
            from . import evaluation, saved

        data = datasets.load(recipe.data.path)
        datasets.report_notes(data)
        net = saved.network_for(recipe, data)
        folder.prepare(out, files)
        evaluation.test(net, data.test, out, recipe.data.path, recipe.model.weights, None)


def predict(given: Any) -> None:
    """Leave predictions.csv."""
    recipe, files = recipes.to_recipe(given), [folder.PREDICTIONS]
    with folder.claim_files(given.out, "keras", files, overwrite=given.overwrite) as out:
        with starting():
            from . import evaluation, saved

        net, network = saved.restore(recipe.model.weights)
        names, images = datasets.load_images(recipe.data.path, network.input_shape, network.input_scale)
        folder.prepare(out, files)
        evaluation.predict(net, images, names, out, recipe.data.path, recipe.model.weights)


def export_parser(prog: str, description: str) -> Parser:
    """A recipe, as for the others; and what is written where."""
    parser = recipes.recipe_parser(prog, description)
    words = "which to write; null writes all that the backend can, but h5, the weights in Keras's historical layout"
    parser.add_argument("--kinds", type=Kind, nargs="+", default=None, help=words)
    parser.add_argument("--out", type=str | None, default=None, help="the folder; null takes that of the weights")
    parser.add_argument("--overwrite", **FLAG, help="replace what is there")
    return parser


def export(given: Any) -> None:
    """Leave the network in other formats."""
    recipe = recipes.to_recipe(given)
    with starting():
        from . import export, saved

    net, network = saved.restore(recipe.model.weights)
    data = datasets.load(recipe.data.path)
    saved.refuse_misfit(network, data)
    source = Path(str(recipe.model.weights))
    export.export(
        net,
        network.metadata(),
        *data.test,
        expand(given.out) if given.out else source.parent,
        source.stem,
        given.kinds,
        calibration=data.train.images,
        source=source,
        overwrite=given.overwrite,
    )


def plot_parser(prog: str, description: str) -> Parser:
    """Run folders, and a picture's file."""
    parser = Parser(prog=prog, description=description)
    parser.add_argument("runs", type=str, nargs="+", metavar="RUN", help="a run folder of any of the three packages")
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        metavar="FILE",
        help="null writes curves.png: in the run's folder, or here",
    )
    parser.add_argument("--overwrite", **FLAG, help="replace that file")
    return parser


def plot(given: Any) -> None:
    """Leave a picture."""
    from . import plot

    plot.plot(given.runs, given.out, overwrite=given.overwrite)


COMMANDS = {
    "fit": Command("Train, test once, and leave a run folder.", fit_parser, fit),
    "test": Command("Measure --model.weights on the test images.", trained_parser, test),
    "predict": Command("Answer the images at --data.path with --model.weights.", trained_parser, predict),
    "export": Command("Write --model.weights in the formats of deployment, each checked.", export_parser, export),
    "plot": Command("Draw loss, accuracy and learning rate of runs, side by side.", plot_parser, plot),
}
