"""The command line: what is asked for, what is refused."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from jsonargparse import Namespace

from minigrad import datasets, recipes
from minigrad.recipes import Recipe
from minigrad.runs import UserError, folder

from . import contenders
from .jobs import job as jobs
from .jobs import runners as engines
from .plan import FULL_BATCHES, FULL_WIDTHS, QUICK_WIDTHS, Plan, chosen
from .results import environment
from .stages import Comparison

PROG = "python -m compare"
# Words of their own, each a module with a `main`.
COMMANDS = {"parity": "parity.matrix", "history": "results.history"}
SEEDS, FULL_SEEDS = 3, 5


def main(argv: Sequence[str]) -> None:
    """Compare by a recipe, and leave a run folder; or do what the first word says.

    Raises:
        UserError: something given can't be used.
        Stopped: Ctrl-C; what was finished is kept.
        SystemExit: status 1 if the contenders do not agree.
    """
    if argv and argv[0] in COMMANDS:
        importlib.import_module(f".{COMMANDS[argv[0]]}", __package__).main(argv[1:])
        return
    options = _parser().parse_args(recipes.resolve(argv))
    recipe = recipes.to_recipe(options)
    names = _chosen(options.contenders, options.full)
    _refuse(options, recipe)
    why = jobs.excuses(names, recipe)
    plan = _plan(options, recipe, tuple(name for name in names if name not in why))
    how: dict[str, Any] = {"resume": options.resume, "overwrite": options.overwrite}
    with folder.claim_run(options.out, "compare", plan.files(), **how) as out:
        data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
        datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size)
        recipes.refuse_misfit(recipe, data)
        if options.target is not None and not len(data.validation.labels):
            raise UserError(
                f"--target: {options.target}, but data.validation_size is 0; expected images to see the accuracy on"
            )
        Comparison(plan, data, out, options.threads, options.engine, why, names).run(**how)


def _parser() -> Any:
    parser = recipes.recipe_parser(
        PROG,
        "Train the recipe's network in every framework, prove that they agree, and time them."
        " `python -m compare parity` proves it for every recipe and optimiser,"
        " `python -m compare history RUN RUN` holds two comparisons side by side.",
    )
    recipes.run_options(parser)
    flag: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}
    known = ", ".join(contenders.names())
    parser.add_argument("--contenders", type=str, nargs="+", default=None, help=f"of {known}; null takes the usual")
    parser.add_argument("--threads", type=int, default=environment.cores(), help="for each library, in each process")
    parser.add_argument(
        "--seeds", type=int | None, default=None, help=f"how many; null takes {SEEDS}, {FULL_SEEDS} of --full"
    )
    parser.add_argument(
        "--target",
        type=float | None,
        default=None,
        help="time to this validation accuracy, such as 0.97; null takes what all reach",
    )
    parser.add_argument(
        "--open",
        type=str | None,
        default=None,
        choices=("none", "one", "all", None),
        help="seeds of the open division; null takes none, all of --full",
    )
    parser.add_argument(
        "--sweep", type=str, default="width", choices=("none", "width"), help="how time grows with the hidden width"
    )
    parser.add_argument("--widths", type=list[int] | None, default=None, help="of the sweep")
    parser.add_argument(
        "--batch_sizes", type=list[int] | None, default=None, help="of the sweep; null takes the recipe's"
    )
    parser.add_argument("--full", **flag, help="every contender that is installed, more seeds, the whole sweep")
    parser.add_argument("--engine", type=str, default="local", choices=engines.NAMES, help="where the processes run")
    return parser


def _refuse(options: Namespace, recipe: Recipe) -> None:
    """Raise UserError for numbers that make no sense."""
    environment.refuse_threads(options.threads)
    if options.seeds is not None and options.seeds < 1:
        raise UserError(f"--seeds: {options.seeds}; expected 1 or more")
    if options.target is not None and not 0 < options.target <= 1:
        raise UserError(f"--target: {options.target}; expected an accuracy above 0 and up to 1")
    for name in ("widths", "batch_sizes"):
        if options[name] is not None and (not options[name] or min(options[name]) < 1):
            raise UserError(f"--{name}: {options[name]}; expected whole numbers from 1")
    if not recipe.trainer.max_epochs:
        raise UserError("trainer.max_epochs: 0; expected 1 or more, since there is nothing to compare without training")


def _chosen(names: Sequence[str] | None, full: bool) -> list[str]:
    """Contenders as asked for, once each, in the usual order."""
    known = contenders.names()
    if names is None:
        usual = [*contenders.DEFAULT, *contenders.on_this_machine()]
        return [name for name in known if name in usual or (full and contenders.find(name).missing() is None)]
    return chosen("--contenders", names, known)


def _plan(options: Namespace, recipe: Recipe, able: tuple[str, ...]) -> Plan:
    count = options.seeds or (FULL_SEEDS if options.full else SEEDS)
    seeds = tuple(recipe.seed_everything + i for i in range(count))
    widths = options.widths or (FULL_WIDTHS if options.full else QUICK_WIDTHS)
    sizes = options.batch_sizes or (FULL_BATCHES if options.full else (recipe.data.batch_size,))
    points = tuple((width, size) for size in sizes for width in sorted(set(widths)))
    how_many = {"none": 0, "one": 1, "all": count}[options.open or ("all" if options.full else "none")]
    return Plan(recipe, able, seeds, seeds[:how_many], points if options.sweep == "width" else (), options.target)
