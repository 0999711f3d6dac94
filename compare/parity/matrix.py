"""python -m compare parity: every recipe by every optimiser, the first steps, in every framework, against minigrad.

Importing a framework takes longer than these few steps, so that each
contender does all of them in one process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from minigrad import datasets, recipes
from minigrad.datasets import Dataset, Split
from minigrad.recipes import EarlyStopping, Recipe
from minigrad.runs import Stopped, UserError, folder, write_json

from .. import contenders
from ..jobs import job as jobs
from ..jobs import runners as engines
from ..plan import chosen
from ..results import environment
from . import comparison as parity

PROG = "python -m compare parity"
FILE = "parity.json"
# The recipe's keys that each one sets; among them each schedule.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant"},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "schedule": "cosine"},
    "rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.001, "schedule": "constant"},
    "adam": {"optimizer": "adam", "learning_rate": 0.001, "schedule": "one_cycle"},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.01, "schedule": "cosine"},
}
Row = dict[str, Any]


def main(argv: Sequence[str]) -> None:
    """Hold every contender against minigrad, cell by cell, and leave parity.json.

    Raises:
        UserError: something given can't be used.
        Stopped: Ctrl-C.
        SystemExit: status 1 if one differs beyond its limit.
    """
    parser = recipes.Parser(prog=PROG, description=(__doc__ or "").partition(": ")[2].partition("\n")[0])
    recipes.run_options(parser, resume=False)
    known = ", ".join(contenders.names())
    parser.add_argument("--steps", type=int, default=24, help="of each, the last on a smaller batch")
    parser.add_argument("--recipes", type=str, nargs="+", default=recipes.names(), help="built-in names or files")
    parser.add_argument("--optimizers", type=str, nargs="+", default=list(OPTIMIZERS), help="of the usual ones")
    parser.add_argument("--contenders", type=str, nargs="+", default=None, help=f"of {known}; null takes all installed")
    parser.add_argument("--data", type=str, default="mnist", help="what data.path takes")
    parser.add_argument("--threads", type=int, default=environment.cores(), help="for all processes together")
    options = parser.parse_args(list(argv))
    if options.steps < 1:
        raise UserError(f"--steps: {options.steps}; expected 1 or more")
    environment.refuse_threads(options.threads)
    names = chosen("--contenders", options.contenders or _installed(), contenders.names())
    cells = cells_of(options.recipes, chosen("--optimizers", options.optimizers, OPTIMIZERS))
    with folder.claim_files(options.out, "parity", [FILE], overwrite=options.overwrite) as out:
        data = first_steps(datasets.load(options.data), cells, options.steps)
        for cell in cells.values():
            recipes.refuse_misfit(cell, data)

        console = Console(highlight=False)
        try:
            found = {"steps": options.steps, **run(names, cells, data, options.threads, console)}
        except KeyboardInterrupt:
            raise Stopped("nothing was written") from None
        folder.prepare(out, [FILE])
        write_json(out / FILE, found | {"environment": environment.describe(options.threads)})
    show(found, console)
    console.print(f"\n{out / FILE}", soft_wrap=True)
    if not found["passed"]:
        raise SystemExit(1)


def cells_of(names: Iterable[str], optimizers: Iterable[str]) -> dict[str, Recipe]:
    """Each recipe by each optimiser, under `RECIPE by OPTIMIZER`."""
    found = {}
    for name in names:
        recipe = recipes.load(name)
        for optimizer in optimizers:
            usual: dict[str, Any] = {"momentum": 0.0, "weight_decay": 0.0, "weights": None}
            model = replace(recipe.model, **usual | OPTIMIZERS[optimizer])
            found[f"{Path(name).stem} by {optimizer}"] = recipes.check(
                replace(recipe, model=model, early_stopping=EarlyStopping())
            )
    return found


def first_steps(data: Dataset, cells: dict[str, Recipe], steps: int) -> Dataset:
    """As many of the first images as make this many steps in the largest batches, the last of two thirds."""
    size = max(recipe.data.batch_size for recipe in cells.values())
    n = steps * size - size // 3
    train, one = Split(*(a[:n] for a in data.train)), Split(*(a[:1] for a in data.test))
    return Dataset(train, Split(*(a[:0] for a in train)), one, data.classes)


def run(names: Sequence[str], cells: dict[str, Recipe], data: Dataset, threads: int, console: Console) -> Row:
    """Record all contenders, and hold each against minigrad."""
    why = {name: why for name in names if (why := contenders.find(name).missing()) is not None}
    able = [parity.REFERENCE, *(name for name in names if name not in (*why, parity.REFERENCE))]
    with tempfile.TemporaryDirectory(prefix="compare-") as shared, console.status("starting") as status:
        answers, failed = Path(shared) / "answers", dict[str, str]()
        planned = _jobs(able, cells)
        jobs.share(Path(shared), data, {job.seed: {} for job in planned})
        engine = engines.start("local", Path(shared), answers, threads, lambda job, epochs: None)
        for i, (job, sentence) in enumerate(engine.run(planned, min(threads, len(planned)))):
            status.update(f"{i + 1} of {len(planned)} contenders are done")
            if sentence:
                failed[job.contender] = sentence
        if parity.REFERENCE in failed:
            raise UserError(f"minigrad's own run {failed[parity.REFERENCE]}; nothing can be compared")
        folders = {job.contender: answers / job.name for job in planned}
        found = [_cell(name, recipe, folders, why, failed) for name, recipe in cells.items()]
    counted = [row for cell in found for name, row in cell["contenders"].items() if not contenders.find(name).apart]
    return {
        "passed": all(row["passed"] is not False for row in counted),
        "images": len(data.train.labels),
        "cells": found,
    }


def _jobs(names: Sequence[str], cells: dict[str, Recipe]) -> list[jobs.Job]:
    """One a contender, for all cells."""
    options = {"cells": {name: recipe.as_dict() for name, recipe in cells.items()}}
    first = next(iter(cells.values()))
    return [jobs.Job("matrix", name, first.seed_everything, first, options) for name in names]


def _cell(name: str, recipe: Recipe, folders: dict[str, Path], why: dict[str, str], failed: dict[str, str]) -> Row:
    """One recipe by one optimiser: each contender's row, with `passed`, None where `excluded` says why it took no part."""
    reference = folders[parity.REFERENCE]
    rounding = parity.strayed(reference, f"{name}.")["max_abs_diff"] or 0.0
    rows: dict[str, Row] = {other: {"passed": None, "excluded": sentence} for other, sentence in why.items()}
    for other in folders:
        kind = contenders.find(other)
        if other == parity.REFERENCE:
            continue
        if sentence := kind.misfit(recipe):
            rows[other] = {"passed": None, "excluded": sentence}
        elif other in failed:
            rows[other] = {"passed": False, "failed": failed[other]}
        else:
            rows[other] = parity.hold(reference, folders[other], recipe, rounding, kind.masks, f"{name}.")
            rows[other]["passed"] = all(part["passed"] is not False for part in rows[other].values())
    return {"name": name, "model": recipe.as_dict()["model"], "rounding": rounding, "contenders": rows}


def show(found: Row, console: Console) -> None:
    """The table, what differs, and the verdict."""
    names = list(found["cells"][0]["contenders"])
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("float64, float32")
    for name in names:
        table.add_column(contenders.find(name).title, justify="right")
    for cell in found["cells"]:
        table.add_row(cell["name"], *(_shown(cell["contenders"][name]) for name in names))
    console.print(table)
    console.print()
    for line in told(found):
        console.print(line, markup=False, soft_wrap=True)


def _shown(row: Row) -> str:
    if "excluded" in row or "failed" in row:
        return "-" if "excluded" in row else "failed"
    gaps = (row[dtype]["max_abs_diff"] for dtype in parity.LIMITS)
    return " ".join("differs" if gap is None else f"{gap:.0e}" for gap in gaps)


def told(found: Row) -> list[str]:
    """A sentence for each contender and dtype that differs somewhere, one on dropout, and the verdict."""
    lines = []
    for name in found["cells"][0]["contenders"]:
        kind, rows = contenders.find(name), {cell["name"]: cell["contenders"][name] for cell in found["cells"]}
        for what, sentences in _beyond(rows).items():
            first, many = next(iter(sentences)), f"{len(sentences)} of {len(rows)}"
            apart = " (reported apart)" if kind.apart else ""
            lines.append(f"{kind.title}{apart}, {what}, differs in {many}, first in {first}: {sentences[first]}")
    every = [item for cell in found["cells"] for item in cell["contenders"].items()]
    masked = dict.fromkeys(contenders.find(name).title for name, row in every if row.get("dropout", {}).get("passed"))
    if masked:
        lines.append(f"With the same dropout masks: {', '.join(masked)} agree.")
    agreed = f"They agree: {len(found['cells'])} trainings of {found['steps']} steps each."
    return [*lines, agreed if found["passed"] else "They do NOT agree."]


def _beyond(rows: dict[str, Row]) -> dict[str, dict[str, str]]:
    """What goes beyond its limit: float64, float32 or dropout, then in which cell, and the sentence on it."""
    out: dict[str, dict[str, str]] = {}
    for cell, row in rows.items():
        if "failed" in row:
            out.setdefault("its process", {})[cell] = row["failed"]
        for what in (*parity.LIMITS, "dropout"):
            part = row.get(what, {})
            if part.get("passed") is False:
                out.setdefault(what, {})[cell] = part["said"] if what == "dropout" else part["first"]
    return out


def _installed() -> list[str]:
    """All that compute on a CPU and are installed."""
    kinds = {name: contenders.find(name) for name in contenders.names()}
    return [name for name, kind in kinds.items() if kind.missing() is None and kind.device == "cpu"]
