"""Common claims about the frameworks, compared with the measurements.

A claim gives a range. It holds if the 95 % interval of what was measured lies within the range, does not hold if the
interval lies outside of it, and is undecided if the interval contains a bound of the range. If a claim is about several
measurements, it holds if it holds for all of them, and does not hold if it does not hold for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import ratios, schema
from .schema import MeasuredContender, Ratio, Results
from .statistics import ROUNDS

HOLDS, DOES_NOT_HOLD, UNDECIDED, NOT_MEASURED = "holds", "does not hold", "undecided", "not measured"
OPENINGS = {HOLDS: "On this machine", DOES_NOT_HOLD: "Not on this machine", UNDECIDED: "Undecided on this machine"}
NUMPY = ("by_hand", "minigrad")
GPU_PAIRS = tuple((name, f"{name}_gpu") for name in ("torch", "lightning", "keras", "jax"))
ACCURACY_RANGES = {"minigrad": (0.85, 0.90), "torch": (0.87, 0.92), "keras": (0.88, 0.93)}

# For a network 784-10-10, like that of recipe `simple`.
README = (
    'README of the repository knayak1234/ANN_Models_using_MNIST, section "Performance Results": '
    "https://github.com/knayak1234/ANN_Models_using_MNIST"
)
STEP_TIME = "time of a steady step: its ratio, paired by rounds, with its 95 % interval"
ACCURACY = "test accuracy, with Wilson's 95 % interval"

Judgement = tuple[str, str]  # a verdict, and a sentence with the measurements


@dataclass(frozen=True)
class Claim:
    """A common claim, and the function that compares it with the measurements.

    Attributes:
        text: the claim as a sentence.
        source: where it is made.
        judged_by: the measurement that it is compared with.
        judge: takes the results; returns a verdict (one of the constants of this module) and a sentence with the
            measurements.
    """

    text: str
    source: str
    judged_by: str
    judge: Callable[[Results], Judgement]


def check_claims(results: Results) -> list[schema.Claim]:
    """Return every claim with its verdict."""
    checked: list[schema.Claim] = []
    for claim in CLAIMS:
        verdict, why = claim.judge(results)
        checked.append(
            {
                "claim": claim.text,
                "source": claim.source,
                "judged_by": claim.judged_by,
                "verdict": verdict,
                "why": why,
            }
        )
    return checked


def compare(low: float | None, high: float | None, claimed: tuple[float, float]) -> str:
    """Return the verdict for the interval of one measurement; without an interval, it is undecided."""
    if low is None or high is None:
        return UNDECIDED
    if claimed[0] <= low and high <= claimed[1]:
        return HOLDS
    return DOES_NOT_HOLD if high < claimed[0] or low > claimed[1] else UNDECIDED


def _all(verdicts: Iterable[str]) -> str:
    """Return the verdict for several measurements."""
    verdicts = set(verdicts)
    return next(verdict for verdict in (DOES_NOT_HOLD, UNDECIDED, HOLDS) if verdict in verdicts)


def _faster_than_numpy(name: str, low: float, high: float) -> Callable[[Results], Judgement]:
    """Return a judge of "contender `name` is `low` to `high` times faster than NumPy"."""

    def judge(results: Results) -> Judgement:
        if results["status"] == "not measured":
            return NOT_MEASURED, results["status_reason"] or "The step times were not measured."
        rows = _measured(results)
        compared = {other: ratio for other in NUMPY if (ratio := _ratio(results, name, other)) and other in rows}
        if name not in rows or not compared:
            return NOT_MEASURED, f"{name} and a contender in NumPy were not both timed."
        speedups = [ratios.inverse(ratio) for ratio in compared.values()]
        verdict = _all(compare(speedup["low"], speedup["high"], (low, high)) for speedup in speedups)
        machine = _machine(results, [rows[name], *(rows[other] for other in compared)])
        measured = "; ".join(_slower(rows[name], rows[other], ratio) for other, ratio in compared.items())
        return verdict, f"{OPENINGS[verdict]}: {machine}: {measured}.{_in_the_sweep(results, name, low)}"

    return judge


def _judge_gpu(results: Results) -> Judgement:
    """Judge "a GPU is up to 10 times faster" by the largest speed-up of a framework over itself on the CPU."""
    if results["status"] == "not measured":
        return NOT_MEASURED, results["status_reason"] or "The step times were not measured."
    rows = _measured(results)
    pairs = [(cpu, gpu) for cpu, gpu in GPU_PAIRS if cpu in rows and gpu in rows]
    speedups = {pair: ratio for pair in pairs if (ratio := _ratio(results, *pair))}
    if not speedups:
        return NOT_MEASURED, "This machine has no GPU, or no framework was timed on both the CPU and the GPU."
    best = max(speedups.values(), key=lambda ratio: ratio["median"])
    verdict = compare(best["low"], best["high"], (1, 10))
    measured = "; ".join(_slower(rows[cpu], rows[gpu], ratio) for (cpu, gpu), ratio in speedups.items())
    machine = f"{results['environment']['gpu'] or 'GPU'}, {_machine(results, [])}"
    return verdict, f"{OPENINGS[verdict]}: {machine}: {measured}."


def _judge_accuracies(results: Results) -> Judgement:
    """Judge the claim on accuracies by the intervals of those that were measured."""
    path = results["recipe"]["data"]["path"]
    if path != "mnist":
        return NOT_MEASURED, f"The claim is about the data set mnist; this comparison used {path}."
    rows = {name: row for name, row in _measured(results).items() if name in ACCURACY_RANGES}
    if len(rows) < 2:
        return NOT_MEASURED, "Fewer than two of minigrad, torch and keras were trained."
    # Rounded as in the sentence, so that an interval that ends at a bound lies within the range.
    intervals = {name: [round(bound, 4) for bound in row["accuracy_interval"]] for name, row in rows.items()}
    verdict = _all(compare(low, high, ACCURACY_RANGES[name]) for name, (low, high) in intervals.items())
    measured = ", ".join(f"{row['title']} {_percent(row)}" for row in rows.values())
    pairs = [d for d in results.get("accuracy_differences", []) if d["a"] in rows and d["b"] in rows]
    equal = bool(pairs) and all(d["low"] <= 0 <= d["high"] for d in pairs)
    same = " After the same training, no two of these accuracies differ significantly." if equal else ""
    return verdict, f"Measured with the recipe of this comparison: {measured}.{same}"


def _measured(results: Results) -> dict[str, MeasuredContender]:
    return {row["name"]: row for row in schema.measured(results)}


def _ratio(results: Results, a: str, b: str) -> Ratio | None:
    """Return the step time of `a` divided by that of `b` in the closed division; None if they were not compared.

    The interval of too few rounds, or of times on different machines, judges nothing and is left out.
    """
    pair = ratios.between(results["ratios"], "closed", a, b)
    if pair is None or (pair["rounds"] >= ROUNDS and pair["paired"]):
        return pair
    return {**pair, "low": None, "high": None}


def _slower(a: MeasuredContender, b: MeasuredContender, ratio: Ratio) -> str:
    """Say which of the two takes how many times as long as the other; `ratio` is the time of `a` divided by that of `b`."""
    if ratio["median"] < 1:
        a, b, ratio = b, a, ratios.inverse(ratio)
    median, low, high = ratio["median"], ratio["low"], ratio["high"]
    digits = 2 if median < 2 else 1
    interval = "" if low is None or high is None else f" ({low:.{digits}f} to {high:.{digits}f})"
    return f"{a['title']} takes {median:.{digits}f}{interval} times as long as {b['title']}"


def _machine(results: Results, rows: Iterable[MeasuredContender]) -> str:
    """Describe the processor, the threads, and the libraries that multiply matrices in some contenders."""
    threads = results["environment"]["threads"]
    parts = [results["environment"]["cpu"], f"{threads} thread{'s' if threads > 1 else ''}"]
    for row in rows:
        if "products" in row:
            parts.append(f"{row['title']} with {row['products']['library']} at {row['products']['gflops']:.0f} GFLOP/s")
    return ", ".join(parts)


def _percent(row: MeasuredContender) -> str:
    low, high = row["accuracy_interval"]
    return f"{100 * row['test_accuracy']:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def _in_the_sweep(results: Results, name: str, speedup: float) -> str:
    """Return a sentence on the width from which on contender `name` is `speedup` times faster than the champion."""
    sweep, titles = results.get("sweep"), schema.titles(results)
    if not sweep or sweep["disturbed"] or sweep["champion"] in (None, name):
        return ""
    batch_size = sweep["batch_sizes"][0]
    points = [p for row in sweep["rows"] if row["contender"] == name for p in row["points"]]
    by_width = {p["width"]: p["ratio"] for p in points if p["batch_size"] == batch_size and "ratio" in p}
    first = None
    for width in sorted(by_width, reverse=True):
        high = by_width[width]["high"]
        if (by_width[width]["median"] if high is None else high) * speedup > 1:
            break
        first = width
    if not by_width:
        return ""
    faster = f"{speedup:g} times faster than {titles[sweep['champion'] or '']}"
    where = f"In the width sweep, with batches of {batch_size}, {titles[name]} is"
    if first is None:
        return f" {where} not {faster} at the largest width, {max(by_width):,}."
    return f" {where} at least {faster} from width {first:,} on."


CLAIMS = (
    Claim("PyTorch is 3 to 5 times faster than NumPy.", README, STEP_TIME, _faster_than_numpy("torch", 3, 5)),
    Claim("TensorFlow is 4 to 6 times faster than NumPy.", README, STEP_TIME, _faster_than_numpy("keras", 4, 6)),
    Claim(
        "On MNIST, NumPy reaches 85 to 90 %, PyTorch 87 to 92 %, TensorFlow 88 to 93 %.",
        README,
        ACCURACY,
        _judge_accuracies,
    ),
    Claim("A GPU is up to 10 times faster.", README, STEP_TIME, _judge_gpu),
)
