"""The command line. Modules that are slow to import are imported only by the command that needs them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import minigrad
from minigrad.runs import UserError

if TYPE_CHECKING:
    from minigrad.recipes import Parser

PROG = "python -m compare"
# Subcommands, each a module with a `main`.
COMMANDS = {"parity": "parity.matrix", "history": "results.history", "diff": "porting.cli"}
# Name, type, default and help.
OPTIONS: tuple[tuple[str, Any, Any, str], ...] = (
    (
        "--target",
        float | None,
        None,
        "also report the time to this validation accuracy, such as 0.97; null: the highest whole percent that all reach",
    ),
    (
        "--divisions",
        list[Literal["closed", "default", "open"]] | None,
        None,
        "closed: the same batches for all; default: as on the first page of each framework's documentation; open: tuned for"
        " speed. closed always runs. null: closed, with --full all",
    ),
    (
        "--sweep",
        Literal["none", "width"],
        "width",
        "width: also measure the time of a step at several hidden widths",
    ),
    (
        "--widths",
        list[int] | None,
        None,
        "hidden widths of the sweep; null: 10, 100 and 1000, with --full more",
    ),
    (
        "--batch_sizes",
        list[int] | None,
        None,
        "batch sizes of the sweep; null: that of the recipe, with --full 32, 128 and 512",
    ),
    (
        "--engine",
        Literal["local", "ray"],
        "local",
        "where the contenders' processes run: on this machine, or on a Ray cluster",
    ),
)


def main(argv: Sequence[str]) -> None:
    """Run a comparison of a recipe, or the subcommand that the first argument names.

    Raises:
        UserError: an argument cannot be used.
        Stopped: after Ctrl-C; finished jobs are kept.
        SystemExit: status 1 if the contenders do not agree or all have failed, 3 if other processes disturbed the
            measurement.
    """
    if argv and not argv[0].startswith("-"):
        _run_command(argv[0], argv[1:])
        return
    if list(argv) == ["--version"]:
        print(f"compare {minigrad.__version__}")
        return
    from minigrad import recipes

    from . import api
    from .results import schema

    options = _parser().parse_args(recipes.resolve(argv))
    results = api.run(
        recipes.to_recipe(options),
        contenders=options.contenders,
        seeds=options.seeds,
        target=options.target,
        divisions=options.divisions,
        sweep=options.sweep,
        widths=options.widths,
        batch_sizes=options.batch_sizes,
        full=options.full,
        threads=options.threads,
        runner=options.engine,
        out=options.out,
        resume=options.resume,
        overwrite=options.overwrite,
    )
    if results["parity"] is not None and results["parity"]["passed"] is False:
        raise SystemExit(1)
    if not schema.measured(results):
        raise SystemExit(1)
    if results["status"] == "not measured" and not options.allow_noisy:
        raise SystemExit(3)


def _run_command(name: str, argv: Sequence[str]) -> None:
    """Run a subcommand."""
    if name not in COMMANDS:
        similar = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        raise UserError(f"{name}: no such command; expected {' or '.join(COMMANDS)}, or options, see --help{hint}")
    importlib.import_module(f".{COMMANDS[name]}", __package__).main(argv)


def _parser() -> Parser:
    from minigrad import recipes

    from . import contenders, machine
    from .api import FULL_SEEDS, SEEDS

    parser = recipes.recipe_parser(
        PROG,
        "Train the network of a recipe in several frameworks, check that they compute the same, and measure time, accuracy"
        " and memory. Other commands: `python -m compare parity` checks every recipe with every optimizer;"
        " `python -m compare history RUN RUN` compares two runs; `python -m compare diff LEFT RIGHT` compares two models of"
        " PyTorch or Keras layer by layer; `python -m compare --version` prints the version.",
    )
    recipes.run_options(parser)
    known, default = ", ".join(contenders.names()), ", ".join(contenders.DEFAULT)
    names = f"some of {known}; null: {default}, and those on a GPU if there is one"
    parser.add_argument("--contenders", type=str, nargs="+", default=None, help=names)
    for name, kind, value, text in (
        ("--threads", int, machine.cores(), "number of threads of each library in each process"),
        (
            "--seeds",
            int | None,
            None,
            f"number of seeds; in every division each contender trains once per seed; null: {SEEDS}, with --full {FULL_SEEDS}",
        ),
        *OPTIONS,
    ):
        parser.add_argument(name, type=kind, default=value, help=text)
    parser.add_flag("--full", "every installed contender, every division, more seeds, and the whole sweep")
    parser.add_flag("--allow_noisy", "exit with status 0 although other processes disturbed the measurement")
    return parser
