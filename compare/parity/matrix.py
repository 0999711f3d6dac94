"""python -m compare parity: checks every recipe with every optimizer in every framework, for the first steps.

Importing a framework takes longer than these few steps, so each contender
does all of them in one process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from rich.console import Console
from rich.table import Table

from minigrad import datasets, recipes
from minigrad.datasets import Dataset
from minigrad.recipes import EarlyStopping, Recipe
from minigrad.runs import Stopped, UserError, folder, write_json

from .. import contenders, machine
from ..jobs import runners, shared
from ..jobs.job import Job
from ..jobs.temporary import temporary_folder
from ..plan import select
from ..results import environment
from ..results.schema import DTYPES, DropoutCheck, ParityCell
from . import comparison, recorder

PROG = "python -m compare parity"
FILE = "parity.json"
# The keys of `model` that each optimizer sets. Together they cover every schedule.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant"},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "schedule": "cosine"},
    "rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.001, "schedule": "constant"},
    "adam": {"optimizer": "adam", "learning_rate": 0.001, "schedule": "one_cycle"},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.01, "schedule": "cosine"},
}


class MatrixRow(TypedDict):
    """One contender in one cell. `passed` is None if it did not take part; `excluded` is then the reason."""

    passed: bool | None
    excluded: NotRequired[str]
    failed: NotRequired[str]
    float64: NotRequired[ParityCell]
    float32: NotRequired[ParityCell]
    dropout: NotRequired[DropoutCheck]


class MatrixCell(TypedDict):
    """One recipe with one optimizer."""

    name: str
    model: dict[str, Any]
    rounding: float
    contenders: dict[str, MatrixRow]


class Matrix(TypedDict):
    """All of `parity.json`, other than the environment."""

    steps: int
    passed: bool
    images: int
    cells: list[MatrixCell]


def main(argv: Sequence[str]) -> None:
    """Compare every contender with minigrad in every cell, and write parity.json.

    Raises:
        UserError: an argument cannot be used.
        Stopped: after Ctrl-C.
        SystemExit: status 1 if a difference exceeds its tolerance.
    """
    options = _parser().parse_args(list(argv))
    if options.steps < 1:
        raise UserError(f"--steps: {options.steps}; expected 1 or more")
    machine.check_threads(options.threads)
    names = select("--contenders", options.contenders or _installed(), contenders.names())
    cells = matrix_recipes(options.recipes, select("--optimizers", options.optimizers, OPTIMIZERS))
    with folder.claim_files(options.out, "parity", [FILE], overwrite=options.overwrite) as out:
        size = max(recipe.data.batch_size for recipe in cells.values())
        data = recorder.first_steps(datasets.load(options.data), size, options.steps)
        for recipe in cells.values():
            recipes.refuse_misfit(recipe, data)

        console = Console(highlight=False)
        try:
            matrix = run(names, cells, data, options.steps, options.threads, console)
        except KeyboardInterrupt:
            raise Stopped("nothing was written") from None
        folder.prepare(out, [FILE])
        write_json(out / FILE, {**matrix, "environment": environment.describe(options.threads)})
    show(matrix, console)
    console.print(f"\n{out / FILE}", soft_wrap=True)
    if not matrix["passed"]:
        raise SystemExit(1)


def _parser() -> recipes.Parser:
    description = "Check that the frameworks agree with minigrad in the first training steps, for every recipe with every optimizer."
    parser = recipes.Parser(prog=PROG, description=description)
    recipes.run_options(parser, resume=False)
    known = ", ".join(contenders.names())
    parser.add_argument(
        "--steps", type=int, default=24, help="number of training steps; the last one uses a smaller batch"
    )
    parser.add_argument(
        "--recipes", type=str, nargs="+", default=recipes.names(), help="names of built-in recipes, or YAML files"
    )
    parser.add_argument(
        "--optimizers", type=str, nargs="+", default=list(OPTIMIZERS), help=f"some of {', '.join(OPTIMIZERS)}"
    )
    parser.add_argument(
        "--contenders", type=str, nargs="+", default=None, help=f"some of {known}; null: all that are installed"
    )
    parser.add_argument("--data", type=str, default="mnist", help="the data set, as in data.path of a recipe")
    parser.add_argument(
        "--threads", type=int, default=machine.cores(), help="number of threads, shared by all processes"
    )
    return parser


def matrix_recipes(names: Iterable[str], optimizers: Iterable[str]) -> dict[str, Recipe]:
    """Return each recipe with each optimizer, under the name `RECIPE by OPTIMIZER`."""
    cells = {}
    for name in names:
        recipe = recipes.load(name)
        for optimizer in optimizers:
            defaults: dict[str, Any] = {"momentum": 0.0, "weight_decay": 0.0, "weights": None}
            model = replace(recipe.model, **defaults | OPTIMIZERS[optimizer])
            cells[f"{Path(name).stem} by {optimizer}"] = recipes.check(
                replace(recipe, model=model, early_stopping=EarlyStopping())
            )
    return cells


def run(
    names: Sequence[str], cells: dict[str, Recipe], data: Dataset, steps: int, threads: int, console: Console
) -> Matrix:
    """Record all contenders, and compare each with minigrad.

    Args:
        names: contenders.
        cells: recipes by the name of the cell.
        data: the first images, enough for the recipe with the largest batches; see `recorder.first_steps`.
        steps: number of steps.
        threads: number of threads, shared by all processes.
        console: shows the progress.
    """
    missing = {name: why for name in names if (why := contenders.find(name).missing()) is not None}
    available = [comparison.REFERENCE, *(name for name in names if name not in (*missing, comparison.REFERENCE))]
    with temporary_folder() as temporary, console.status("starting") as status:
        answers, failed = temporary / "answers", dict[str, str]()
        planned = _jobs(available, cells, steps)
        shared.write(temporary, data, {job.seed: {} for job in planned})
        runner = runners.start("local", temporary, answers, threads)
        for i, (job, sentence) in enumerate(runner.run(planned, min(threads, len(planned)))):
            status.update(f"{i + 1} of {len(planned)} contenders done")
            if sentence:
                failed[job.contender] = sentence
        if comparison.REFERENCE in failed:
            raise UserError(f"minigrad's own run {failed[comparison.REFERENCE]}; nothing can be compared")
        folders = {job.contender: answers / job.name for job in planned}
        compared = [_cell(name, recipe, folders, missing, failed) for name, recipe in cells.items()]
    counted = [
        row
        for cell in compared
        for name, row in cell["contenders"].items()
        if not contenders.find(name).outside_verdict
    ]
    return {
        "steps": steps,
        "passed": all(row["passed"] is not False for row in counted),
        "images": len(data.train.labels),
        "cells": compared,
    }


def _jobs(names: Sequence[str], cells: dict[str, Recipe], steps: int) -> list[Job]:
    """Return one job per contender, for all cells."""
    options = {"steps": steps, "cells": {name: recipe.as_dict() for name, recipe in cells.items()}}
    first = next(iter(cells.values()))
    return [Job("matrix", name, first.seed_everything, first, options) for name in names]


def _cell(
    name: str, recipe: Recipe, folders: dict[str, Path], missing: dict[str, str], failed: dict[str, str]
) -> MatrixCell:
    """Compare all contenders for one recipe with one optimizer."""
    reference = folders[comparison.REFERENCE]
    rows: dict[str, MatrixRow] = {other: {"passed": None, "excluded": sentence} for other, sentence in missing.items()}
    for other in folders:
        kind = contenders.find(other)
        if other == comparison.REFERENCE:
            continue
        if sentence := kind.unsupported(recipe):
            rows[other] = {"passed": None, "excluded": sentence}
        elif other in failed:
            rows[other] = {"passed": False, "failed": failed[other]}
        else:
            row = comparison.compare_contender(reference, folders[other], recipe, kind.accepts_masks, f"{name}.")
            checks = (row["float64"]["passed"], row["float32"]["passed"], row["dropout"]["passed"])
            rows[other] = {
                "passed": all(passed is not False for passed in checks),
                "float64": row["float64"],
                "float32": row["float32"],
                "dropout": row["dropout"],
            }
    rounding = comparison.rounding(reference, f"{name}.")["max_abs_diff"] or 0.0
    return {"name": name, "model": recipe.as_dict()["model"], "rounding": rounding, "contenders": rows}


def show(matrix: Matrix, console: Console) -> None:
    """Print the table, what differs, and the verdict."""
    names = list(matrix["cells"][0]["contenders"])
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("float64, float32")
    for name in names:
        table.add_column(contenders.find(name).title, justify="right")
    for cell in matrix["cells"]:
        table.add_row(cell["name"], *(_shown(cell["contenders"][name]) for name in names))
    console.print(table)
    console.print()
    for line in summary(matrix):
        console.print(line, markup=False, soft_wrap=True)


def _shown(row: MatrixRow) -> str:
    if "excluded" in row or "failed" in row:
        return "-" if "excluded" in row else "failed"
    gaps = (row[dtype]["max_abs_diff"] for dtype in DTYPES)
    return " ".join("differs" if gap is None else f"{gap:.0e}" for gap in gaps)


def summary(matrix: Matrix) -> list[str]:
    """Return a sentence for each contender and dtype that differs, one on dropout, and the verdict."""
    lines = []
    for name in matrix["cells"][0]["contenders"]:
        kind, rows = contenders.find(name), {cell["name"]: cell["contenders"][name] for cell in matrix["cells"]}
        for check, sentences in _failed_checks(rows).items():
            first, count = next(iter(sentences)), f"{len(sentences)} of {len(rows)}"
            outside = " (does not count for the verdict)" if kind.outside_verdict else ""
            lines.append(f"{kind.title}{outside}, {check}: differs in {count}, first in {first}: {sentences[first]}")
    all_rows = [item for cell in matrix["cells"] for item in cell["contenders"].items()]
    masked = dict.fromkeys(
        contenders.find(name).title for name, row in all_rows if row.get("dropout", {}).get("passed")
    )
    if masked:
        lines.append(f"With the same dropout masks: {', '.join(masked)} agree.")
    agreed = f"The contenders agree: {len(matrix['cells'])} trainings of {matrix['steps']} steps each."
    return [*lines, agreed if matrix["passed"] else "The contenders do NOT agree."]


def _failed_checks(rows: dict[str, MatrixRow]) -> dict[str, dict[str, str]]:
    """Return failed checks (a dtype, dropout or the process), and for each a sentence by cell."""
    failed: dict[str, dict[str, str]] = {}
    for cell, row in rows.items():
        if "failed" in row:
            failed.setdefault("its process", {})[cell] = row["failed"]
        for dtype in DTYPES:
            if dtype in row and not row[dtype]["passed"]:
                failed.setdefault(dtype, {})[cell] = str(row[dtype]["first"])
        if "dropout" in row and row["dropout"]["passed"] is False:
            failed.setdefault("dropout", {})[cell] = row["dropout"]["said"]
    return failed


def _installed() -> list[str]:
    """Return all contenders that compute on the CPU and are installed."""
    kinds = {name: contenders.find(name) for name in contenders.names()}
    return [name for name, kind in kinds.items() if kind.missing() is None and kind.device == "cpu"]
