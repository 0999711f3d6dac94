"""results.json: everything that the answers say, put together. It can be made anew from them at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minigrad.datasets import Dataset

from .. import contenders
from ..jobs import job as jobs
from ..plan import Plan
from ..timing import sweep
from ..timing import training as race
from ..timing.work import work
from . import claims, statistics
from . import disagreements as digits


def raced(plan: Plan, folder: Path, division: str) -> dict[str, list[dict[str, Any]]]:
    """The answers of one division by contender, in the order of the seeds."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in plan.contenders}
    for job in sorted(plan.races(division), key=lambda job: job.seed):
        answer = jobs.answer(folder, job)
        if answer is not None:
            found[job.contender].append(answer)
    return found


def fill(results: dict[str, Any], plan: Plan, folder: Path, data: Dataset) -> None:
    """Write what is answered in `folder` into `results`."""
    divisions = {division: raced(plan, folder, division) for division in ("closed", "open")}
    every = [run for runs in divisions.values() for found in runs.values() for run in found]
    target = plan.target if plan.target is not None else race.common_target(every)
    race.mark_target(every, target)
    results["work"] = work(plan.recipe, data)
    results["target"] = target
    for row in results["contenders"]:
        if runs := divisions["closed"][row["name"]] if row["name"] in plan.contenders else []:
            row |= race.row(runs)
            row["equal_work"] = all(
                run[figure] == results["work"][figure]
                for run in runs
                for figure in ("updates", "parameters")  # the samples follow from the updates
            )
    titles = {row["name"]: row for row in results["contenders"]}
    results["open"] = [
        {
            "name": name,
            "title": titles[name]["title"],
            "division": "open",
            "open_by": contenders.find(name).opens(plan.recipe),
            **race.row(runs),
        }
        for name, runs in divisions["open"].items()
        if runs
    ]
    results["pairs"] = statistics.pairs({name: runs for name, runs in divisions["closed"].items() if runs})
    results["sweep"] = _sweep(plan, folder)
    results["digits"] = digits.found(logits(plan, folder), data.test.labels)
    results["claims"] = claims.judged(results)


def logits(plan: Plan, folder: Path) -> dict[str, np.ndarray]:
    """Each contender's logits of the test set, after the first seed's closed run."""
    return {name: _read(path / jobs.LOGITS)["logits"] for name, path in _first(plan, folder)}


def networks(plan: Plan, folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Each contender's trained weights, of the first seed's closed run."""
    return {name: _read(path / jobs.NETWORK) for name, path in _first(plan, folder)}


def _first(plan: Plan, folder: Path) -> list[tuple[str, Path]]:
    answered = {
        job.contender: folder / job.name
        for job in plan.races("closed")
        if job.seed == plan.seeds[0] and jobs.answer(folder, job) is not None
    }
    return [(name, answered[name]) for name in plan.contenders if name in answered]


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def _sweep(plan: Plan, folder: Path) -> dict[str, Any] | None:
    rows: list[dict[str, Any]] = []
    peak = None
    for job in plan.sweep():
        answer = jobs.answer(folder, job)
        if answer is not None:
            peak = answer.get("flops_per_second", peak)
            rows.append({"contender": job.contender, "points": answer["points"], "floor_us": answer["floor_us"]})
    if not rows:
        return None
    batch = plan.recipe.data.batch_size
    sizes = sorted({size for _, size in plan.points}, key=lambda size: (size != batch, size))
    champion = next((name for name in ("by_hand", "minigrad") if name in [row["contender"] for row in rows]), None)
    ahead = {str(size): sweep.crossovers(rows, size, champion) for size in sizes} if champion else {}
    return {"rows": rows, "flops_per_second": peak, "batch_sizes": sizes, "champion": champion, "crossovers": ahead}
