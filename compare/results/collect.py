"""Collects the jobs' answers and the rounds into the results. This can be repeated at any time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.datasets import Dataset, npz
from minigrad.runs import foreign
from minigrad.runs.foreign import parsing

from .. import contenders
from ..jobs import job as jobs
from ..plan import ANSWERS, Plan, rounds_file
from . import claims, disagreements, ratios, schema, statistics, sweep, typed
from .schema import (
    PHASES,
    Answers,
    Division,
    DivisionContender,
    GroupRounds,
    MeasuredContender,
    Measurements,
    Percentiles,
    Products,
    Results,
    Round,
    Run,
    Seconds,
    SteadyStep,
    Sweep,
)

Runs = Mapping[str, Sequence[Run]]


def fill(results: Results, plan: Plan, folder: Path, data: Dataset) -> None:
    """Fill `results` from the answers of the finished jobs and the rounds.

    Args:
        results: with the keys that are known before anything is timed; the others are written.
        plan: the plan of the comparison.
        folder: the run folder.
        data: the data set.
    """
    answers = folder / ANSWERS
    runs = {division: runs_of(plan, answers, division) for division in plan.divisions}
    every = [run for division in runs.values() for group in division.values() for run in group]
    target = plan.target if plan.target is not None else common_target(every)
    mark_target(every, target)
    results["target"] = target
    results["rounds"] = sorted(_all_rounds(plan, folder), key=lambda r: r["started"])
    results["ratios"] = []
    for division in plan.divisions:
        _fill_division(results, plan, division, runs[division])
    logits = _logits(plan, answers)
    results["answers"] = agreement(logits)
    correct = {
        name: {seed: z.argmax(1) == data.test.labels for seed, z in seeds.items()} for name, seeds in logits.items()
    }
    results["accuracy_differences"] = statistics.accuracy_differences(correct)
    first = {name: seeds[min(shared)] for name, seeds in logits.items()} if (shared := common_seeds(logits)) else {}
    results["digits"] = disagreements.find_digits(first, data.test.labels)
    results["sweep"] = _sweep(results, plan, folder)
    results["claims"] = claims.check_claims(results)


def _sweep(results: Results, plan: Plan, folder: Path) -> Sweep | None:
    """Return the results of the sweep. Without rounds, the contenders did not take turns."""
    planned = plan.sweep()
    if not planned:
        return None
    group = read_rounds(folder / rounds_file("sweep", planned[0].seed))
    took_part = set(group["names"]) if group else {job.contender for job in planned}
    answers = {
        job.contender: answer
        for job in planned
        if job.contender in took_part and (answer := jobs.read_answer(folder / ANSWERS, job)) is not None
    }
    rounds = [r for r in results["rounds"] if r["stage"] == "sweep"]
    if results["plan"].get("engine") == "local" and not rounds:
        return None  # the sweep did not finish
    return sweep.collect(answers, rounds, plan.recipe.data.batch_size)  # type: ignore[arg-type]


def _fill_division(results: Results, plan: Plan, division: Division, runs: Runs) -> None:
    """Fill the measurements and ratios of one division; the closed one decides on the status."""
    finished = {name: group for name, group in runs.items() if group}
    rounds = [r for r in results["rounds"] if r["stage"] == division]
    planned = len(plan.seeds) * (plan.recipe.trainer.max_epochs - 1)
    disturbed = ratios.disturbed_too_often(rounds, min(planned, len(rounds)))  # a stopped comparison has fewer
    counted = ratios.counted(rounds)
    results["ratios"] += ratios.compare(division, counted, finished, not disturbed)
    rows = {name: summarise(group, ratios.steady_step_us(counted, finished, name)) for name, group in finished.items()}
    if division != "closed":
        titles = {row["name"]: row["title"] for row in results["contenders"]}
        results[division] = [_division_contender(plan, division, name, titles[name], rows[name]) for name in rows]
        return
    results["status"] = "not measured" if disturbed or not finished else "measured"
    results["status_reason"] = ratios.reason(rounds) if disturbed else "" if finished else "No contender has finished."
    work = results["work"]
    for i, contender in enumerate(results["contenders"]):
        if (row := rows.get(contender["name"])) is not None:
            equal = all(
                run["updates"] == work["updates"] and run["parameters"] == work["parameters"]
                for run in row["runs"]  # the number of samples follows from the updates
            )
            measured: MeasuredContender = {**contender, **row, "equal_work": equal}  # type: ignore[typeddict-item]
            results["contenders"][i] = measured


def _division_contender(plan: Plan, division: Division, name: str, title: str, row: Measurements) -> DivisionContender:
    kind = contenders.find(name)
    changes = kind.open_changes(plan.recipe) if division == "open" else kind.default_changes(plan.recipe)
    return {"name": name, "title": title, "division": division, "changes": changes, **row}


def _all_rounds(plan: Plan, folder: Path) -> list[Round]:
    """Return the rounds of all groups that have finished."""
    files = [rounds_file(division, seed) for division in plan.divisions for seed in plan.seeds]
    files += [rounds_file(job.stage, job.seed) for job in plan.sweep()[:1]]
    groups = (read_rounds(folder / file) for file in files)
    return [r for group in groups if group is not None for r in group["rounds"]]


def read_rounds(path: Path) -> GroupRounds | None:
    """Read the rounds of one stage and seed; None if they have not finished."""
    if not path.exists():
        return None
    with parsing(path, "the rounds of finished jobs"):
        content = typed.escaped(foreign.read_json(path))
        typed.check(content, GroupRounds)
        schema.check_rounds(content["rounds"])
    return content  # type: ignore[no-any-return]


def agreement(logits: Mapping[str, Mapping[int, np.ndarray]]) -> Answers | None:
    """Return on how many test images all contenders predict the same class, with every seed that all have finished.

    Args:
        logits: per contender and seed, (n, classes).

    Returns:
        None for fewer than two contenders, or if they have no seed in common.
    """
    seeds = common_seeds(logits)
    if len(logits) < 2 or not seeds:
        return None
    predictions = np.stack([[rows[seed].argmax(1) for seed in seeds] for rows in logits.values()])
    same = (predictions == predictions[0]).all(axis=(0, 1))
    return {"agree": int(same.sum()), "images": len(same)}


def common_seeds(logits: Mapping[str, Mapping[int, Any]]) -> list[int]:
    """Return the seeds that all contenders have finished."""
    sets = [set(seeds) for seeds in logits.values()]
    return sorted(set.intersection(*sets)) if sets else []


def runs_of(plan: Plan, folder: Path, division: Division) -> dict[str, list[Run]]:
    """Return the finished runs of one division by contender, in the order of the seeds."""
    runs: dict[str, list[Run]] = {name: [] for name in plan.contenders}
    for job in sorted(plan.trainings(division), key=lambda job: job.seed):
        answer = jobs.read_answer(folder, job)
        if answer is not None:
            runs[job.contender].append(answer)  # type: ignore[arg-type]
    return runs


def summarise(runs: Sequence[Run], steady_step_us: float) -> Measurements:
    """Return one contender's medians over its runs, and the runs.

    Args:
        runs: one per seed.
        steady_step_us: over the rounds that count.
    """

    def median(value: Callable[[Run], float]) -> float:
        return float(np.median([value(run) for run in runs]))

    first = runs[0]
    images, accuracy = first["test_images"], median(lambda run: run["test_accuracy"])
    seconds: Seconds = {phase: median(lambda run, p=phase: run["seconds"][p]) for phase in PHASES}  # type: ignore
    steady: SteadyStep = {key: median(lambda run, k=key: run["steady_us"][k]) for key in first["steady_us"]}  # type: ignore
    row: Measurements = {
        "version": first["version"],
        "parameters": first["parameters"],
        "updates": first["updates"],
        "samples": first["samples"],
        "test_accuracy": accuracy,
        "test_loss": median(lambda run: run["test_loss"]),
        "step_us": median(lambda run: run["step_us"]),
        "steady_step_us": steady_step_us,
        "images_per_second": first["samples"] / first["updates"] / steady_step_us * 1e6,
        "peak_memory_mb": median(lambda run: run["peak_memory_mb"]),
        "test_images": images,
        "accuracy_interval": list(statistics.wilson_interval(accuracy * images, images)),
        "seconds": seconds,
        "steady_us": steady,
        "seconds_to_target": _median_to_target(runs),
        "runs": list(runs),
    }
    if "saved_bytes" in first:
        row["saved_bytes"] = median(lambda run: run["saved_bytes"])
    if "latency" in first:
        row["latency"] = {n: _median_latency(runs, n) for n in first["latency"]}
    if "products" in first:
        row["products"] = _median_products([run["products"] for run in runs])
    return row


def _median_products(products: Sequence[Products]) -> Products:
    us, gflops = (float(np.median([p[key] for p in products])) for key in ("step_us", "gflops"))  # type: ignore
    return {**products[0], "step_us": us, "gflops": gflops}


def _median_latency(runs: Sequence[Run], images: str) -> Percentiles:
    p50, p99 = (float(np.median([run["latency"][images][p] for run in runs])) for p in ("p50", "p99"))  # type: ignore
    return {"p50": p50, "p99": p99}


def _median_to_target(runs: Sequence[Run]) -> float | None:
    """Return the median time to the target accuracy, or None if a run did not reach it."""
    times = [run.get("seconds_to_target") for run in runs]
    return None if None in times else float(np.median([seconds for seconds in times if seconds is not None]))


def mark_target(runs: Sequence[Run], target: float | None) -> None:
    """Set `seconds_to_target` of each run: seconds of training until `target`, None if it was not reached."""
    for run in runs:
        reached = [p["seconds"] for p in run["curve"] if target is not None and p["accuracy"] >= target]
        run["seconds_to_target"] = reached[0] if reached else None


def common_target(runs: Sequence[Run]) -> float | None:
    """Return the highest whole percent of validation accuracy that every run reached, or None without validation."""
    best = [max((p["accuracy"] for p in run["curve"]), default=None) for run in runs]
    return None if not best or None in best else int(100 * min(b for b in best if b is not None)) / 100


def networks(plan: Plan, folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return each contender's trained weights, of the closed run with the first seed.

    Args:
        plan: the plan of the comparison.
        folder: the run folder.
    """
    return {
        job.contender: _read_arrays(folder / ANSWERS / job.name / jobs.NETWORK)
        for job in _finished(plan, folder / ANSWERS)
        if job.seed == plan.seeds[0]
    }


def _logits(plan: Plan, answers: Path) -> dict[str, dict[int, np.ndarray]]:
    """Return each contender's (n, classes) logits of the test set by seed, of the closed division."""
    logits: dict[str, dict[int, np.ndarray]] = {}
    for job in _finished(plan, answers):
        logits.setdefault(job.contender, {})[job.seed] = _read_arrays(answers / job.name / jobs.LOGITS)["logits"]
    return logits


def _finished(plan: Plan, answers: Path) -> list[jobs.Job]:
    """Return the finished jobs of the closed division, in the order of contenders, then seeds."""
    planned = sorted(plan.trainings("closed"), key=lambda job: (plan.contenders.index(job.contender), job.seed))
    return [job for job in planned if jobs.read_answer(answers, job) is not None]


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    return npz.read_all(path, "the arrays of a finished job")
