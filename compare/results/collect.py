"""Collects the jobs' answers into the results. This can be repeated at any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from minigrad.datasets import Dataset, npz

from .. import contenders
from ..jobs import job as jobs
from ..plan import Division, Plan
from ..timing.work import required_work
from . import claims, disagreements, statistics
from .schema import (
    PHASES,
    MeasuredContender,
    Measurements,
    OpenContender,
    Percentiles,
    Results,
    Run,
    Seconds,
    SteadyStep,
    Sweep,
    SweepRow,
)


def fill(results: Results, plan: Plan, folder: Path, data: Dataset) -> None:
    """Fill `results` from the answers of the finished jobs.

    Args:
        results: with `recipe`, `contenders` and `parity`; the other keys are written.
        plan: the plan of the comparison.
        folder: the folder of the jobs' answers.
        data: the data set.
    """
    closed, opened = (runs_of(plan, folder, division) for division in ("closed", "open"))  # type: ignore[arg-type]
    every = [run for runs in (*closed.values(), *opened.values()) for run in runs]
    target = plan.target if plan.target is not None else common_target(every)
    mark_target(every, target)
    results["work"] = required_work(plan.recipe, data)
    results["target"] = target
    for i, row in enumerate(results["contenders"]):
        if runs := closed.get(row["name"]):
            equal = all(
                run["updates"] == results["work"]["updates"] and run["parameters"] == results["work"]["parameters"]
                for run in runs  # the number of samples follows from the updates
            )
            measured: MeasuredContender = {**row, **summarise(runs), "equal_work": equal}  # type: ignore[typeddict-item]
            results["contenders"][i] = measured
    titles = {row["name"]: row["title"] for row in results["contenders"]}
    results["open"] = [
        _open_contender(name, titles[name], contenders.find(name).open_changes(plan.recipe), runs)
        for name, runs in opened.items()
        if runs
    ]
    results["pairs"] = statistics.compare_pairs({name: runs for name, runs in closed.items() if runs})
    results["sweep"] = _sweep(plan, folder)
    results["digits"] = disagreements.find_digits(logits(plan, folder), data.test.labels)
    results["claims"] = claims.check_claims(results)


def _open_contender(name: str, title: str, changes: str, runs: list[Run]) -> OpenContender:
    return {"name": name, "title": title, "division": "open", "open_by": changes, **summarise(runs)}


def runs_of(plan: Plan, folder: Path, division: Division) -> dict[str, list[Run]]:
    """Return the finished runs of one division by contender, in the order of the seeds."""
    runs: dict[str, list[Run]] = {name: [] for name in plan.contenders}
    for job in sorted(plan.trainings(division), key=lambda job: job.seed):
        answer = jobs.read_answer(folder, job)
        if answer is not None:
            runs[job.contender].append(answer)  # type: ignore[arg-type]
    return runs


def summarise(runs: Sequence[Run]) -> Measurements:
    """Return one contender's medians over its runs, and the runs."""

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
        "images_per_second": median(lambda run: run["images_per_second"]),
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
    return row


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


def logits(plan: Plan, folder: Path) -> dict[str, np.ndarray]:
    """Return each contender's (n, classes) logits of the test set, after the closed run with the first seed."""
    return {name: _read_arrays(path / jobs.LOGITS)["logits"] for name, path in _first_runs(plan, folder)}


def networks(plan: Plan, folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return each contender's trained weights, of the closed run with the first seed."""
    return {name: _read_arrays(path / jobs.NETWORK) for name, path in _first_runs(plan, folder)}


def _first_runs(plan: Plan, folder: Path) -> list[tuple[str, Path]]:
    finished = {
        job.contender: folder / job.name
        for job in plan.trainings("closed")
        if job.seed == plan.seeds[0] and jobs.read_answer(folder, job) is not None
    }
    return [(name, finished[name]) for name in plan.contenders if name in finished]


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    return npz.read_all(path, "the arrays of a finished job")


def _sweep(plan: Plan, folder: Path) -> Sweep | None:
    rows: list[SweepRow] = []
    flops_per_second = None
    for job in plan.sweep():
        answer = jobs.read_answer(folder, job)
        if answer is not None:
            flops_per_second = answer.get("flops_per_second", flops_per_second)
            rows.append({"contender": job.contender, "points": answer["points"], "floor_us": answer["floor_us"]})
    if not rows:
        return None
    own = plan.recipe.data.batch_size
    batch_sizes = sorted({size for _, size in plan.points}, key=lambda size: (size != own, size))
    names = [row["contender"] for row in rows]
    champion = next((name for name in ("by_hand", "minigrad") if name in names), None)
    return {
        "rows": rows,
        "flops_per_second": flops_per_second,
        "batch_sizes": batch_sizes,
        "champion": champion,
        "crossovers": {str(size): crossovers(rows, size, champion) for size in batch_sizes} if champion else {},
    }


def crossovers(rows: Sequence[SweepRow], batch_size: int, champion: str) -> dict[str, int | None]:
    """Return, per contender, the smallest width from which on it is faster than `champion`, or None.

    Args:
        rows: the sweep of each contender.
        batch_size: compares points of this batch size only.
        champion: the contender that the others are compared with.
    """
    times = {
        row["contender"]: {p["width"]: p["step_us"] for p in row["points"] if p["batch_size"] == batch_size}
        for row in rows
    }
    result: dict[str, int | None] = {}
    for name, own in times.items():
        if name == champion:
            continue
        result[name] = None
        for width in sorted(own.keys() & times[champion].keys(), reverse=True):
            if own[width] >= times[champion][width]:
                break
            result[name] = width
    return result
