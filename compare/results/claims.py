"""What is said of such comparisons, held against what was measured here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A sentence that people repeat, and the function that judges it.

    `judge` takes the results and returns the verdict ("holds", "does not
    hold", "partly", "not measured") and a sentence with the figures.
    """

    text: str
    judge: Callable[[Row], tuple[str, str]]


def judged(results: Row) -> list[Row]:
    """Every claim with its verdict."""
    found = []
    for claim in CLAIMS:
        verdict, why = claim.judge(results)
        found.append({"claim": claim.text, "verdict": verdict, "why": why})
    return found


def _rows(results: Row) -> dict[str, Row]:
    return {row["name"]: row for row in results["contenders"] if "step_us" in row}


def _faster(other: str, low: float, high: float) -> Callable[[Row], tuple[str, str]]:
    """Judge "`other` is `low` to `high` times faster than NumPy", a step's time against NumPy's."""

    def judge(results: Row) -> tuple[str, str]:
        rows = _rows(results)
        numpy = [rows[name] for name in ("minigrad", "by_hand") if name in rows]
        if other not in rows or not numpy:
            return "not measured", "One of the two did not run."
        its = rows[other]
        times = [row["step_us"] / its["step_us"] for row in numpy]
        said = " and ".join(
            f"{1 / t:.2g} times as long as {row['title']} ({row['step_us']:,.0f} µs)"
            for t, row in zip(times, numpy, strict=True)
        )
        sentence = f"{its['title']} takes {its['step_us']:,.0f} µs a step, {said}.{_wide(results, other, low)}"
        within = [low <= t <= high for t in times]
        return ("holds" if all(within) else "partly" if any(within) else "does not hold"), sentence

    return judge


def _wide(results: Row, other: str, low: float) -> str:
    """Where the sweep, if there is one, first shows `other` `low` times quicker than minigrad."""
    sweep = results.get("sweep")
    if not sweep:
        return ""
    batch = sweep["batch_sizes"][0]
    points = {
        row["contender"]: {p["width"]: p["step_us"] for p in row["points"] if p["batch_size"] == batch}
        for row in sweep["rows"]
    }
    if other not in points or "minigrad" not in points:
        return ""
    widths = [w for w in sorted(points[other]) if points["minigrad"].get(w, 0) >= low * points[other][w]]
    most = max(points[other])
    if widths:
        return f" In the sweep it is {low:g} times quicker than minigrad from a width of {widths[0]:,} on."
    return f" Nowhere in the sweep, up to a width of {most:,}, is it {low:g} times quicker than minigrad."


RANGES = {"minigrad": (85, 90), "torch": (87, 92), "keras": (88, 93)}


def _accuracies(results: Row) -> tuple[str, str]:
    """The frameworks' accuracies, which are said to differ."""
    rows = {name: row for name, row in _rows(results).items() if name in RANGES}
    if not rows:
        return "not measured", "None of them ran."
    said = ", ".join(f"{row['title']} {100 * row['test_accuracy']:.2f} %" for row in rows.values())
    inside = [low <= 100 * rows[n]["test_accuracy"] <= high for n, (low, high) in RANGES.items() if n in rows]
    gap = 100 * (max(r["test_accuracy"] for r in rows.values()) - min(r["test_accuracy"] for r in rows.values()))
    a, b = next(iter(rows.values()))["accuracy_interval"]
    alike = f"they lie within {gap:.2f} points of each other, where one accuracy carries ±{50 * (b - a):.2f}"
    return ("holds" if all(inside) and gap > 50 * (b - a) else "does not hold"), (
        f"Trained alike, {said}: {alike}. The framework decides nothing; the training does."
    )


def _gpu(results: Row) -> tuple[str, str]:
    """How much quicker a GPU is than the same framework without."""
    rows = _rows(results)
    pairs = [
        (rows[name], rows[f"{name}_gpu"])
        for name in ("torch", "lightning", "keras", "jax")
        if f"{name}_gpu" in rows and name in rows
    ]
    if not pairs:
        return "not measured", "There is no GPU in this machine, or its contenders did not run."
    times = {gpu["title"]: cpu["step_us"] / gpu["step_us"] for cpu, gpu in pairs}
    said = ", ".join(f"{title} {t:.2g} times" for title, t in times.items())
    return ("holds" if 1 < max(times.values()) <= 10 else "does not hold"), f"As quick as without it: {said}."


CLAIMS = (
    Claim("PyTorch is 3 to 5 times faster than NumPy.", _faster("torch", 3, 5)),
    Claim("TensorFlow is 4 to 6 times faster than NumPy.", _faster("keras", 4, 6)),
    Claim("NumPy reaches 85 to 90 %, PyTorch 87 to 92 %, TensorFlow 88 to 93 %.", _accuracies),
    Claim("A GPU is up to 10 times faster.", _gpu),
)
