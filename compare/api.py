"""The Python entry point: checks the arguments, and runs a comparison in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minigrad import datasets, recipes
from minigrad.recipes import Recipe
from minigrad.recipes.types import fits, in_words, plain
from minigrad.runs import UserError, folder, foreign
from minigrad.runs.class_order import in_order_of

from . import contenders as all_contenders
from . import machine
from .jobs import runners
from .plan import FULL_BATCHES, FULL_WIDTHS, QUICK_WIDTHS, Plan, select
from .results.schema import DIVISIONS, Division, Results
from .stages import ComparisonRun

SEEDS, FULL_SEEDS = 3, 5
# The types of the arguments that must not be compared with numbers before they are checked.
TYPES = {
    "threads": int,
    "seeds": int | None,
    "target": float | None,
    "widths": list[int] | None,
    "batch_sizes": list[int] | None,
}


@dataclass(frozen=True)
class _Arguments:
    """The arguments of `run` that determine the plan, except the recipe."""

    contenders: Sequence[str] | None
    seeds: int | None
    target: float | None
    divisions: Sequence[Division] | None
    sweep: Literal["none", "width"]
    widths: Sequence[int] | None
    batch_sizes: Sequence[int] | None
    full: bool
    threads: int
    runner: Literal["local", "ray"]


def run(
    recipe: str | Path | Recipe = "simple",
    *,
    contenders: Sequence[str] | None = None,
    seeds: int | None = None,
    target: float | None = None,
    divisions: Sequence[Division] | None = None,
    sweep: Literal["none", "width"] = "width",
    widths: Sequence[int] | None = None,
    batch_sizes: Sequence[int] | None = None,
    full: bool = False,
    threads: int | None = None,
    runner: Literal["local", "ray"] = "local",
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> Results:
    """Compare the frameworks on a recipe, as `python -m compare` does, and write a run folder.

    If the contenders do not agree (`results["parity"]["passed"]` is false), nothing is timed.

    Args:
        recipe: name of a built-in recipe, path of a YAML file, or a recipe. It is not modified.
        contenders: names such as `["minigrad", "torch"]`. None: the default ones, and those that can use a GPU of this
            machine.
        seeds: number of seeds; in every division each contender trains once per seed. None: 3, with `full` 5.
        target: the validation accuracy, such as 0.97, to which the time is measured. None: the highest whole percent that
            all contenders reach.
        divisions: further divisions: "default", in which each framework trains as on the first page of its documentation,
            and "open", in which it trains as its documentation recommends for speed. "closed" always runs. None: "closed",
            with `full` all.
        sweep: "width" also measures the time of a step by hidden width.
        widths: hidden widths of the sweep. None: 10, 100 and 1000, with `full` more.
        batch_sizes: batch sizes of the sweep. None: the recipe's, with `full` 32, 128 and 512.
        full: use every installed contender, more seeds and the whole sweep.
        threads: number of threads of each library in each process. None: the number of processors.
        runner: where the processes run: "local" is this machine, "ray" a Ray cluster.
        out: the run folder. None: the next free `runs/compare-N`.
        resume: continue the run in the folder, if there is one; without `out`, the newest run.
        overwrite: replace the run in the folder.
        quiet: print nothing.

    Returns:
        The content of `results.json`. Its `status` is "not measured" if other processes disturbed too many rounds, the
        contenders do not agree, or all have failed.

    Raises:
        UserError: an argument, the recipe or the data set cannot be used.
        Stopped: after Ctrl-C. Finished jobs are kept, and `resume` continues.

    Example:
        >>> results = compare.run("simple", contenders=["minigrad", "by_hand"], seeds=1, sweep="none")
    """
    arguments = _Arguments(
        contenders=contenders,
        seeds=plain(seeds),
        target=plain(target),
        divisions=divisions,
        sweep=sweep,
        widths=plain(widths),
        batch_sizes=plain(batch_sizes),
        full=full,
        threads=plain(machine.cores() if threads is None else threads),
        runner=runner,
    )
    recipe = recipes.as_recipe(recipe)
    return _run(recipe, arguments, out, resume, overwrite, quiet)


def _run(
    recipe: Recipe, arguments: _Arguments, out: str | Path | None, resume: bool, overwrite: bool, quiet: bool
) -> Results:
    _check(recipe, arguments)
    names = _select_contenders(arguments)
    unavailable = all_contenders.unavailable(names, recipe)
    if len(unavailable) == len(names):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in unavailable.items())
        raise UserError(f"--contenders: none of them can take part ({reasons or 'none was given'})")
    plan = _plan(recipe, arguments, tuple(name for name in names if name not in unavailable))
    with folder.claim_run(out, "compare", plan.files(), resume=resume, overwrite=overwrite) as path:
        data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
        data = in_order_of(data, recipe.model.weights)
        datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size)
        recipes.refuse_misfit(recipe, data)
        if plan.target is not None and not len(data.validation.labels):
            raise UserError(
                f"--target: {plan.target}, but data.validation_size is 0;"
                " expected a validation set to measure the accuracy on"
            )
        comparison = ComparisonRun(plan, data, path, arguments.threads, arguments.runner, unavailable, names, quiet)
        return comparison.run(resume=resume, overwrite=overwrite)


def _check(recipe: Recipe, arguments: _Arguments) -> None:
    """Raise UserError for an invalid number, or for a value that is none."""
    for name, hint in TYPES.items():
        value = getattr(arguments, name)
        if not fits(value, hint):
            raise UserError(f"--{name}: {foreign.shown(repr(value), 60)}; expected {in_words(hint)}")
    machine.check_threads(arguments.threads)
    seeds, target = arguments.seeds, arguments.target
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds: {seeds}; expected 1 or more")
    if target is not None and not 0 < target <= 1:
        raise UserError(f"--target: {target}; expected an accuracy above 0 and up to 1")
    select("--divisions", arguments.divisions or (), DIVISIONS)
    for name, values in {"widths": arguments.widths, "batch_sizes": arguments.batch_sizes}.items():
        if values is not None and (not values or min(values) < 1):
            raise UserError(f"--{name}: {list(values)}; expected whole numbers from 1")
    if recipe.model.batch_norm and 1 in (arguments.batch_sizes or ()):
        raise UserError("--batch_sizes: 1; expected 2 or more, since batch norm needs a variance")
    if arguments.runner == "ray":
        runners.check_ray()
    if not recipe.trainer.max_epochs:
        raise UserError("trainer.max_epochs: 0; expected 1 or more, since there is nothing to compare without training")


def _select_contenders(arguments: _Arguments) -> list[str]:
    """Return the requested contenders, in the order of `contenders.names`."""
    known = all_contenders.names()
    if arguments.contenders is not None:
        return select("--contenders", arguments.contenders, known)
    default = [*all_contenders.DEFAULT, *all_contenders.on_this_gpu()]
    return [
        name for name in known if name in default or (arguments.full and all_contenders.find(name).missing() is None)
    ]


def _plan(recipe: Recipe, arguments: _Arguments, available: tuple[str, ...]) -> Plan:
    """Return the plan for the contenders that can take part."""
    full = arguments.full
    count = arguments.seeds or (FULL_SEEDS if full else SEEDS)
    divisions = arguments.divisions or (DIVISIONS if full else ())
    widths = arguments.widths or (FULL_WIDTHS if full else QUICK_WIDTHS)
    sizes = arguments.batch_sizes or (FULL_BATCHES if full else (recipe.data.batch_size,))
    points = tuple((width, size) for size in dict.fromkeys(sizes) for width in sorted(set(widths)))
    return Plan(
        recipe=recipe,
        contenders=available,
        seeds=tuple(recipe.seed_everything + i for i in range(count)),
        divisions=tuple(division for division in DIVISIONS if division in ("closed", *divisions)),
        points=points if arguments.sweep == "width" else (),
        target=arguments.target,
    )
