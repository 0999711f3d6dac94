"""The command line, and the order of events: parity first, timings after."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigrad import datasets, recipes
from minigrad.recipes import Recipe
from minigrad.runs import Stopped, UserError, folder, write_json, write_text

from . import contenders, environment, jobs, parity
from .race import race_all
from .report import chart, html, terminal

PROG = "python -m compare"


def main(argv: Sequence[str]) -> None:
    """Compare by a recipe, and leave a run folder.

    Raises:
        UserError: something given can't be used.
        Stopped: Ctrl-C; what was finished is in results.json.
        SystemExit: status 1 if the contenders do not agree.
    """
    parser = recipes.recipe_parser(
        PROG, "Train the recipe's network in every framework, prove that they agree, and time them."
    )
    recipes.run_options(parser, resume=False)
    parser.add_argument(
        "--contenders",
        type=str,
        nargs="+",
        default=list(contenders.DEFAULT),
        help=f"of {', '.join(contenders.names())}",
    )
    parser.add_argument("--threads", type=int, default=environment.cores(), help="for each library, in each process")
    options = parser.parse_args(recipes.resolve(argv))
    recipe = recipes.to_recipe(options)
    names = _chosen(options.contenders)
    if not 1 <= options.threads <= environment.cores():
        raise UserError(f"--threads: {options.threads}; expected 1 to {environment.cores()}, this machine's processors")
    if not recipe.trainer.max_epochs:
        raise UserError("trainer.max_epochs: 0; expected 1 or more, since there is nothing to compare without training")
    out = folder.choose(options.out, "compare", overwrite=options.overwrite)
    data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
    datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size)
    recipes.refuse_misfit(recipe, data)
    weights = jobs.starting_weights(recipe, data)
    results = _begin(recipe, data, names, options.threads)
    folder.prepare(out, overwrite=options.overwrite)
    write_text(out / folder.RECIPE, recipes.dump(recipe))

    with tempfile.TemporaryDirectory(prefix="compare-") as shared, terminal.Progress() as progress:
        jobs.share(Path(shared), data, weights)
        workshop = jobs.Workshop(Path(shared), recipe, options.threads)
        terminal.heading(results, progress.console)
        try:
            results["parity"] = _parity(workshop, results["contenders"], recipe, progress)
            if results["parity"]["passed"] is False:
                for row in results["contenders"]:
                    row["status"] = row["status"] or "not timed, since the contenders do not agree"
            else:
                race_all(workshop, results["contenders"], progress)
        except KeyboardInterrupt:
            for row in results["contenders"]:
                row["status"] = row["status"] or "stopped"
            _write(out, results)
            raise Stopped(f"what was finished is in {out / folder.RESULTS}") from None
    _write(out, results)
    terminal.show(results, progress.console)
    progress.console.print(f"\n{out}: results.json, comparison.png, report.html")
    if results["parity"]["passed"] is False:
        raise SystemExit(1)


def _chosen(names: Sequence[str]) -> list[str]:
    """Contenders as asked for, once each, in the usual order."""
    known = contenders.names()
    for name in names:
        if name not in known:
            raise UserError(f"--contenders: {name}; expected some of {', '.join(known)}")
    return [name for name in known if name in names]


def _begin(recipe: Recipe, data: datasets.Dataset, names: list[str], threads: int) -> dict[str, Any]:
    """The results before anything ran."""
    why = jobs.excuses(names, recipe)
    rows = [
        {
            "name": name,
            "title": contenders.find(name).title,
            "trains_by": contenders.find(name).trains_by,
            "division": "closed",
            "status": why.get(name),
        }
        for name in names
    ]
    sizes = {split: len(getattr(data, split).labels) for split in ("train", "validation", "test")}
    return {
        "recipe": recipe.as_dict(),
        "data": {**sizes, "input_shape": list(data.input_shape), "classes": data.classes},
        "environment": environment.describe(threads),
        "parity": None,
        "contenders": rows,
    }


def _parity(workshop: jobs.Workshop, contending: list[dict[str, Any]], recipe: Recipe, progress: Any) -> dict[str, Any]:
    """Run the first stage for all who can take part, minigrad first, since the others are held against it."""
    able = [row["name"] for row in contending if row["status"] is None and row["name"] != parity.REFERENCE]
    taking_part = [parity.REFERENCE, *able]
    rows: dict[str, Any] = {}
    folders: dict[str, Path] = {}
    rounding: dict[str, Any] = {}
    for i, name in enumerate(taking_part):
        progress.say(f"parity: {contenders.find(name).title} ({i + 1} of {len(taking_part)})")
        folders[name], failed = workshop.run(name, "parity")
        if name == parity.REFERENCE:
            if failed:
                raise UserError(f"minigrad's own run {failed}; nothing can be compared")
            rounding = parity.strayed(folders[name])
            continue
        limits = parity.limits(recipe, rounding["max_abs_diff"] or 0.0)
        if failed:
            cell: dict[str, Any] = {"passed": False, "steps": 0, "max_abs_diff": None, "by_step": {}, "first": failed}
            rows[name] = {dtype: {**cell, "limit": limit} for dtype, limit in limits.items()}
        else:
            reference = folders[parity.REFERENCE]
            rows[name] = {
                d: parity.compare(reference / f"{d}.npz", folders[name] / f"{d}.npz", limits[d]) for d in limits
            }
        progress.parity(contenders.find(name).title, rows[name])
    return parity.summarise(rows, {name for name in rows if not contenders.find(name).apart}, rounding)


def _write(out: Path, results: dict[str, Any]) -> None:
    """Leave results.json, comparison.png and report.html."""
    for row in results["contenders"]:
        row["status"] = row["status"] or "ok"
    write_json(out / folder.RESULTS, results)
    if results["parity"] is not None:
        chart.draw(out / "comparison.png", results)
        html.write(out / "report.html", results, out / "comparison.png")
