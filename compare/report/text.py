"""Sentences and table cells that all reports share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from minigrad.recipes import Recipe
from minigrad.runs.progress import network

from .. import contenders
from ..results.ratios import disturbed_too_often, reason
from ..results.schema import (
    DTYPES,
    Division,
    Dtype,
    Interval,
    MeasuredContender,
    Parity,
    ParityCell,
    ParityRow,
    ParitySummary,
    Results,
    Rounding,
    measured,
    titles,
)
from . import ratios
from .table import MISSING, seconds

BUSY = 0.15  # share of all processors' time used by other processes, from which on a warning is shown

COLUMNS = (
    ("contender", "left"),
    ("accuracy", "right"),
    ("step µs", "right"),
    ("start-up s", "right"),
    ("total s", "right"),
    ("1 image µs", "right"),
    ("peak MB", "right"),
)
NOT_COMPARED = "There is no other contender to compare with minigrad."
NOT_RELIABLE = "No ratios and no verdicts follow from these times."
DIVISIONS: dict[Division, str] = {
    "closed": "Closed division: same weights, batches, optimizer, loss, dtype and threads",
    "default": "Default division: as on the first page of each framework's documentation",
    "open": "Open division: as each framework's documentation recommends for speed",
}


def cells(row: MeasuredContender) -> list[str]:
    """Return a contender's measurements as text, in the order of `COLUMNS`."""
    latency = row.get("latency", {}).get("1")
    return [
        row["title"],
        f"{100 * row['test_accuracy']:.2f} %",
        f"{row['steady_step_us']:,.0f}",
        seconds(row["seconds"]["startup"]),
        seconds(row["seconds"]["total"]),
        f"{latency['p50']:,.0f}" if latency else MISSING,
        f"{row['peak_memory_mb']:,.0f}",
    ]


def answer(results: Results) -> str:
    """Return the result in one or two sentences: whether the contenders agree, and how fast each one is."""
    parity = results["parity"]
    if parity is not None and parity["passed"] is False:
        return agreement(parity, titles(results))
    if results["status"] != "measured":
        return f"NOT MEASURED: {results['status_reason']}"
    return " ".join(filter(None, (_answers(results), speed(results, "closed"))))


def _answers(results: Results) -> str:
    answers = results.get("answers")
    if not answers or len(measured(results)) < 2:
        return ""
    agree, images = answers["agree"], answers["images"]
    if agree == images:
        return f"Same network, same answers ({agree:,} of {images:,})."
    return f"Same network, same answers to {agree:,} of {images:,} test images."


def speed(results: Results, division: Division) -> str:
    """Return a sentence with the fastest contender's step time and the others' ratios to it; empty if there is none."""
    relative = ratios.to_fastest(results, division)
    if not relative:
        return ""
    fastest, *others = relative
    title = fastest.row["title"]
    line = f"{title[:1].upper()}{title[1:]} {fastest.row['steady_step_us']:,.0f} µs per step"
    compared = ", ".join(f"{other.row['title']} {ratio(other.ratio)}" for other in others if other.ratio)
    return f"{line}; {compared}." if compared else f"{line}."


def ratio(interval: Interval) -> str:
    """Return a ratio as text, with its verdict if that does not say which one is faster."""
    verdict = interval["verdict"]
    return times(interval["median"]) + (f" ({verdict})" if verdict in ("equivalent", "undecided") else "")


def times(value: float) -> str:
    """Format a ratio, with two decimals below 1.2, one below 10."""
    return f"{value:.2f}x" if value < 1.2 else f"{value:.1f}x" if value < 10 else f"{value:,.0f}x"


def verdict(results: Results) -> list[str]:
    """Return the answer, and sentences on the agreement and the accuracy."""
    parity = results["parity"]
    if parity is None or parity["passed"] is False:
        return [answer(results)]
    lines = [answer(results), agreement(parity, titles(results))]
    return [*lines, accuracy(results)] if measured(results) else lines


def accuracy(results: Results) -> str:
    """Return sentences on the accuracies and their uncertainty."""
    rows = measured(results)
    low, high = min(row["test_accuracy"] for row in rows), max(row["test_accuracy"] for row in rows)
    a, b = rows[0]["accuracy_interval"]
    seeds = len(rows[0]["runs"])
    medians = f" (medians of {seeds} seeds)" if seeds > 1 else ""
    every = " for all" if len(rows) > 1 else ""
    reached = f"{100 * low:.2f} %{every}" if low == high else f"{100 * low:.2f} to {100 * high:.2f} %"
    return (
        f"Test accuracy: {reached}{medians}."
        f" The 95 % interval of one accuracy on {rows[0]['test_images']:,} images is ±{50 * (b - a):.2f} points."
    )


def warnings(results: Results) -> list[str]:
    """Return sentences on what makes the times unusual: variables that select kernels, and disturbed rounds."""
    lines = kernels(results)
    planned = len(results["plan"]["seeds"]) * (results["recipe"]["trainer"]["max_epochs"] - 1)
    for division in DIVISIONS if results["status"] == "measured" else ():
        rounds = [one for one in results["rounds"] if one["stage"] == division]
        disturbed = sum(one["disturbed"] for one in rounds)
        if disturbed_too_often(rounds, min(planned, len(rounds))):
            lines.append(f"The {division} division was NOT MEASURED. {reason(rounds)}")
        elif disturbed:
            lines.append(
                f"Other processes disturbed {disturbed} of {len(rounds):,} rounds of the {division} division. Disturbed"
                " rounds do not count."
            )
    return lines


def kernels(results: Results) -> list[str]:
    """Return a warning if environment variables that select kernels are set."""
    settings = [f"{name}={value}" for name, value in results["environment"]["variables"].items()]
    if not settings:
        return []
    return [f"Warning: environment variables select kernels; without them, times differ: {', '.join(settings)}."]


def failures(results: Results) -> list[str]:
    """Return a sentence for each contender without measurements, or whose run failed in part."""
    rows = [row for row in results["contenders"] if row["status"] not in ("ok", None)]
    return [f"{row['title']}: {row['status']}" for row in rows]


def time_to_target(results: Results) -> list[tuple[str, str, str, str]]:
    """Return rows: contender, and seconds to the target in the closed, default and open division."""
    others = [{row["name"]: row for row in results.get(division, [])} for division in ("default", "open")]  # type: ignore[attr-defined]
    return [
        (
            row["title"],
            seconds_or_never(row["seconds_to_target"]),
            *(
                seconds_or_never(rows[row["name"]]["seconds_to_target"]) if row["name"] in rows else ""
                for rows in others
            ),
        )  # type: ignore[misc]
        for row in measured(results)
    ]


def seconds_or_never(value: float | None) -> str:
    """Return seconds as text; "never" for None."""
    return "never" if value is None else f"{value:.3g}"


def equal_work(results: Results) -> str:
    """Return a sentence on the work that each contender did, and whether it is the required work."""
    work = results["work"]
    required = f"{work['updates']:,} updates of {work['parameters']:,} parameters"
    other = [row["title"] for row in measured(results) if not row["equal_work"]]
    if other:
        return f"NOT the same work: {required} were required, but {', '.join(other)} did something else."
    return (
        f"The same work for all: {required}, as counted in each contender"
        f" ({work['samples']:,} samples, {work['flops']:.2e} floating-point operations)."
    )


def busy_now(load: float) -> str:
    """Return the warning, before the comparison, that other processes will affect the times."""
    return f"Warning: other processes are using {100 * load:.0f} % of the CPU. The measured times will not be reliable."


def agreement(parity: Parity, names: dict[str, str]) -> str:
    """Return sentences on the largest difference, or on the first contender that differs.

    Args:
        parity: the result of the parity stage.
        names: titles by contender.
    """
    if parity["passed"] is None:
        return NOT_COMPARED
    if not parity["passed"]:
        return _disagreement(parity, names)
    shares = [row["float32"]["share"] or 0.0 for row in parity["contenders"].values() if not row.get("apart")]
    return (
        f"The contenders agree: over {parity['float64']['steps']:,} steps, the largest difference of an activation, loss,"
        f" gradient or weight is {difference(parity['float64'])} in float64 (limit {parity['float64']['limit']:.0e})."
        f" In float32, no difference exceeds {100 * max(shares, default=0.0):.2g} % of the tolerance of its tensor."
    )


def _disagreement(parity: Parity, names: dict[str, str]) -> str:
    for name, row in parity["contenders"].items():
        if row.get("apart"):
            continue
        title = names.get(name, name)
        for dtype, cell in parity_cells(row):
            if not cell["passed"]:
                return f"The contenders do NOT agree: {title} in {dtype}: {cell['first']}"
        if "dropout" in row and row["dropout"]["passed"] is False:
            return f"The contenders do NOT agree: {title} with dropout: {row['dropout']['said']}"
    return "The contenders do NOT agree."


def difference(cell: Rounding | ParitySummary) -> str:
    """Return the largest difference as text."""
    if cell["max_abs_diff"] is None:
        return "not a number"
    return f"{cell['max_abs_diff']:.1e}" if cell["max_abs_diff"] else "identical"


def parity_cells(row: ParityRow) -> list[tuple[Dtype, ParityCell]]:
    """Return the cells of one contender, float64 first."""
    return [(dtype, row[dtype]) for dtype in DTYPES]


def summaries(parity: Parity) -> list[tuple[Dtype, ParitySummary]]:
    """Return the summary of each dtype, float64 first."""
    return [(dtype, parity[dtype]) for dtype in DTYPES]


def architecture(results: Results) -> str:
    """Describe the network: sizes of its layers, and batch norm."""
    recipe = Recipe.from_dict(results["recipe"])
    data: Any = SimpleNamespace(input_shape=tuple(results["data"]["input_shape"]), classes=results["data"]["classes"])
    return network(recipe, data) + (" with batch norm" if recipe.model.batch_norm else "")


def training(results: Results) -> str:
    """Describe what was trained."""
    recipe = Recipe.from_dict(results["recipe"])
    model, data, epochs = recipe.model, recipe.data, recipe.trainer.max_epochs
    learning = f"{model.optimizer} with learning rate {model.learning_rate}"
    learning += f" and {model.schedule} schedule" if model.schedule in ("cosine", "one_cycle") else ""
    trained = f"{count(epochs, 'epoch')} of {results['data']['train']:,} images in batches of {data.batch_size}"
    trained += f" with augmentation {data.augment}" if data.augment != "none" else ""
    return f"{architecture(results)}, {learning}, {trained}, float32"


def processors(results: Results) -> str:
    """Describe the processor and the number of threads."""
    env = results["environment"]
    return f"{env['cpu']}, {count(env['cores'], 'processor')}, {count(env['threads'], 'thread')} per process"


def conditions(results: Results) -> str:
    """Describe what was trained, and on which machine."""
    env = results["environment"]
    return (
        f"Training: {training(results)}. All contenders start from the same weights and use the same batches."
        f" Machine: {processors(results)}, {', '.join(env['blas'])}.{_devices(results)} Versions: {versions(results)}."
    )


def _devices(results: Results) -> str:
    """List the contenders that train in several processes."""
    several = ((row["title"], row["runs"][0].get("devices", 1)) for row in measured(results))
    return "".join(f" {title} trains in {n} processes with one thread each." for title, n in several if n > 1)


def versions(results: Results) -> str:
    """List the versions of the packages."""
    return ", ".join(f"{name} {version}" for name, version in results["environment"]["versions"].items() if version)


def parity_titles(results: Results) -> dict[str, str]:
    """Return titles by contender, including the reference and others that only the parity stage has."""
    names, parity = titles(results), results["parity"]
    others = [name for name in (parity["reference"], *parity["contenders"]) if name not in names] if parity else []
    return names | {name: contenders.find(name).title for name in others}


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 thread" or "2 threads"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
