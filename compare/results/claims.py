"""Common claims about the frameworks, checked against the measurements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import schema
from .schema import MeasuredContender, Results

HOLDS, PARTLY, DOES_NOT_HOLD, NOT_MEASURED = "holds", "partly", "does not hold", "not measured"
Judgement = tuple[str, str]


@dataclass(frozen=True)
class Claim:
    """A common claim, and the function that checks it.

    Attributes:
        text: the claim as a sentence.
        judge: takes the results; returns a verdict (one of the constants of
            this module) and a sentence with the measurements.
    """

    text: str
    judge: Callable[[Results], Judgement]


def check_claims(results: Results) -> list[schema.Claim]:
    """Return every claim with its verdict."""
    checked: list[schema.Claim] = []
    for claim in CLAIMS:
        verdict, why = claim.judge(results)
        checked.append({"claim": claim.text, "verdict": verdict, "why": why})
    return checked


def _measured(results: Results) -> dict[str, MeasuredContender]:
    return {row["name"]: row for row in schema.measured(results)}


def _faster_than_numpy(name: str, low: float, high: float) -> Callable[[Results], Judgement]:
    """Return a judge of "contender `name` is `low` to `high` times faster than NumPy", by the time of a step."""

    def judge(results: Results) -> Judgement:
        rows = _measured(results)
        numpy = [rows[other] for other in ("minigrad", "by_hand") if other in rows]
        if name not in rows or not numpy:
            return NOT_MEASURED, "One of the two did not run."
        row = rows[name]
        speedups = [other["step_us"] / row["step_us"] for other in numpy]
        compared = " and ".join(
            f"{1 / speedup:.2g} times as long as {other['title']} ({other['step_us']:,.0f} µs)"
            for speedup, other in zip(speedups, numpy, strict=True)
        )
        why = f"{row['title']} takes {row['step_us']:,.0f} µs per step, {compared}.{_in_the_sweep(results, name, low)}"
        inside = [low <= speedup <= high for speedup in speedups]
        return HOLDS if all(inside) else PARTLY if any(inside) else DOES_NOT_HOLD, why

    return judge


def _in_the_sweep(results: Results, name: str, speedup: float) -> str:
    """Return a sentence on the width from which on contender `name` is `speedup` times faster than minigrad."""
    sweep = results.get("sweep")
    if not sweep:
        return ""
    batch_size = sweep["batch_sizes"][0]
    times = {
        row["contender"]: {p["width"]: p["step_us"] for p in row["points"] if p["batch_size"] == batch_size}
        for row in sweep["rows"]
    }
    if name not in times or "minigrad" not in times:
        return ""
    widths = [w for w in sorted(times[name]) if times["minigrad"].get(w, 0) >= speedup * times[name][w]]
    if widths:
        return f" In the width sweep, it is {speedup:g} times faster than minigrad from width {widths[0]:,} on."
    return f" In the width sweep, it is not {speedup:g} times faster than minigrad at any width up to {max(times[name]):,}."


ACCURACY_RANGES = {"minigrad": (85, 90), "torch": (87, 92), "keras": (88, 93)}  # percent


def _judge_accuracies(results: Results) -> Judgement:
    """Check the claim that the frameworks' accuracies differ."""
    rows = {name: row for name, row in _measured(results).items() if name in ACCURACY_RANGES}
    if not rows:
        return NOT_MEASURED, "None of them ran."
    measured = ", ".join(f"{row['title']} {100 * row['test_accuracy']:.2f} %" for row in rows.values())
    inside = [
        low <= 100 * rows[name]["test_accuracy"] <= high
        for name, (low, high) in ACCURACY_RANGES.items()
        if name in rows
    ]
    accuracies = [row["test_accuracy"] for row in rows.values()]
    spread = 100 * (max(accuracies) - min(accuracies))
    low, high = next(iter(rows.values()))["accuracy_interval"]
    uncertainty = 50 * (high - low)
    why = (
        f"With the same training: {measured}. They differ by {spread:.2f} points; the uncertainty of one accuracy is"
        f" ±{uncertainty:.2f} points. The accuracy depends on the training, not on the framework."
    )
    return HOLDS if all(inside) and spread > uncertainty else DOES_NOT_HOLD, why


def _judge_gpu(results: Results) -> Judgement:
    """Compare each framework on a GPU with the same framework on the CPU."""
    rows = _measured(results)
    pairs = [
        (rows[name], rows[f"{name}_gpu"])
        for name in ("torch", "lightning", "keras", "jax")
        if f"{name}_gpu" in rows and name in rows
    ]
    if not pairs:
        return NOT_MEASURED, "This machine has no GPU, or the contenders on the GPU did not run."
    speedups = {gpu["title"]: cpu["step_us"] / gpu["step_us"] for cpu, gpu in pairs}
    measured = ", ".join(f"{title} {speedup:.2g} times" for title, speedup in speedups.items())
    why = f"Speed relative to the same framework on the CPU: {measured}."
    return HOLDS if 1 < max(speedups.values()) <= 10 else DOES_NOT_HOLD, why


CLAIMS = (
    Claim("PyTorch is 3 to 5 times faster than NumPy.", _faster_than_numpy("torch", 3, 5)),
    Claim("TensorFlow is 4 to 6 times faster than NumPy.", _faster_than_numpy("keras", 4, 6)),
    Claim("NumPy reaches 85 to 90 %, PyTorch 87 to 92 %, TensorFlow 88 to 93 %.", _judge_accuracies),
    Claim("A GPU is up to 10 times faster.", _judge_gpu),
)
