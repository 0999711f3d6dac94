"""Sentences and table cells that all reports share."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from minigrad.recipes import Recipe
from minigrad.runs.progress import network

from ..parity.recording import is_weight_step
from ..results.schema import (
    DTYPES,
    Dtype,
    MeasuredContender,
    Parity,
    ParityCell,
    ParityRow,
    ParitySummary,
    Results,
    Rounding,
    agreed,
    measured,
    titles,
)

Line = list[tuple[int, float]]  # (step, largest difference)

BUSY = 0.15  # share of all processors' time used by other processes, from which on a warning is shown

COLUMNS = (
    ("contender", "left"),
    ("accuracy", "right"),
    ("step µs", "right"),
    ("images/s", "right"),
    ("import s", "right"),
    ("train s", "right"),
    ("total s", "right"),
    ("1 image µs", "right"),
    ("peak MB", "right"),
)
NOT_COMPARED = "Parity: there is no other contender to compare with minigrad."


def cells(row: MeasuredContender) -> list[str]:
    """Return a contender's measurements as text, in the order of `COLUMNS`."""
    seconds = row["seconds"]
    return [
        row["title"],
        f"{100 * row['test_accuracy']:.2f} %",
        f"{row['step_us']:,.0f}",
        f"{row['images_per_second']:,.0f}",
        f"{seconds['import']:.2f}",
        f"{seconds['train']:.2f}",
        f"{seconds['total']:.2f}",
        f"{row['latency']['1']['p50']:,.0f}",
        f"{row['peak_memory_mb']:,.0f}",
    ]


def verdict(results: Results) -> list[str]:
    """Return sentences: whether the contenders agree, which accuracy they reach, and which one is fastest."""
    if results["parity"] is None:
        return ["Parity: not checked, since the comparison was stopped."]
    lines = [_agreement(results["parity"], titles(results))]
    rows = measured(results)
    if not agreed(results) or not rows:
        return lines
    low, high = min(row["test_accuracy"] for row in rows), max(row["test_accuracy"] for row in rows)
    a, b = rows[0]["accuracy_interval"]
    seeds = len(rows[0]["runs"])
    medians = f" (medians of {seeds} seeds)" if seeds > 1 else ""
    reached = f"{100 * low:.2f} % for all" if low == high else f"{100 * low:.2f} to {100 * high:.2f} %"
    lines.append(
        f"Test accuracy: {reached}{medians}."
        f" The 95 % interval of one accuracy on {rows[0]['test_images']:,} images is ±{50 * (b - a):.2f} points."
    )
    return [*lines, _speed(results, rows)]


def _speed(results: Results, rows: list[MeasuredContender]) -> str:
    """Return sentences on the fastest contender, the relative times of the others, and insignificant differences."""
    fastest, *others = sorted(rows, key=lambda row: row["step_us"])
    line = f"Fastest: {fastest['title']}, {fastest['step_us']:,.0f} µs per step."
    if others:
        ratios = ", ".join(f"{row['title']} {row['step_us'] / fastest['step_us']:.1f}" for row in others)
        line += f" Step time relative to it: {ratios}."
    same = [
        row["title"]
        for row in others
        for pair in results["pairs"]
        if {pair["a"], pair["b"]} == {fastest["name"], row["name"]} and pair["step_us"]["differs"] is False
    ]
    seeds = len(fastest["runs"])
    return line + (
        f" Over {seeds} seeds, its step time does not differ significantly from that of {', '.join(same)}."
        if same
        else ""
    )


def time_to_target(results: Results) -> list[tuple[str, str, str, str]]:
    """Return rows: contender, seconds to the target in the closed and in the open division, and the changes there."""
    opened = {row["name"]: row for row in results["open"]}
    return [
        (
            row["title"],
            seconds_or_never(row["seconds_to_target"]),
            seconds_or_never(opened[row["name"]]["seconds_to_target"]) if row["name"] in opened else "",
            opened[row["name"]]["open_by"] if row["name"] in opened else "no faster way known",
        )
        for row in measured(results)
    ]


def seconds_or_never(seconds: float | None) -> str:
    """Return seconds as text; "never" for None."""
    return "never" if seconds is None else f"{seconds:.3g}"


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


def busy_during(share: float) -> str:
    """Return the warning, after the comparison, that other processes have affected the times."""
    return f"Warning: other processes used {100 * share:.0f} % of the CPU. The measured times are not reliable."


def _agreement(parity: Parity, names: dict[str, str]) -> str:
    if parity["passed"] is None:
        return NOT_COMPARED
    if parity["passed"]:
        differences = [
            f"{difference(cell)} in {dtype} (limit {cell['limit']:.0e})" for dtype, cell in summaries(parity)
        ]
        line = (
            f"The contenders agree: over {parity['float64']['steps']:,} steps, the largest difference of an activation, loss,"
            f" gradient or weight is {' and '.join(differences)}."
        )
        rounding = parity.get("rounding")
        own = (rounding["max_abs_diff"] if rounding else None) or 0.0
        if 2 * own >= (parity["float32"]["limit"] or math.inf):  # then rounding determines the limit
            line += (
                f" The float32 limit is twice {own:.1e}, by which minigrad's float32 run differs from its float64 run:"
                " the effect of rounding."
            )
        return line
    for name, row in parity["contenders"].items():
        title = names.get(name, name)
        for dtype, cell in parity_cells(row):
            if not cell["passed"]:
                return f"The contenders do NOT agree: {title} in {dtype}: {cell['first']} (The limit is {cell['limit']:.0e}.)"
        if "dropout" in row and row["dropout"]["passed"] is False:
            return f"The contenders do NOT agree: {title} with dropout: {row['dropout']['said']}"
    return "The contenders do NOT agree."


def difference(cell: Rounding | ParitySummary) -> str:
    """Return the largest difference as text."""
    if cell["max_abs_diff"] is None:
        return "not a number"
    return f"{cell['max_abs_diff']:.1e}" if cell["max_abs_diff"] else "identical"


def weight_steps(cell: Rounding | None) -> Line:
    """Return the largest difference at the steps whose weights are recorded, without values that are not numbers."""
    steps = {int(step): gap for step, gap in (cell["by_step"] if cell else {}).items()}
    return [(step, gap) for step, gap in steps.items() if is_weight_step(step, max(steps)) and gap is not None]


def positive(line: Line) -> Line:
    """Return the points that a logarithmic axis can show."""
    return [(step, gap) for step, gap in line if gap]


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


def conditions(results: Results) -> str:
    """Describe what was trained, and on which machine."""
    env, recipe = results["environment"], Recipe.from_dict(results["recipe"])
    model, data = recipe.model, recipe.data
    learning = f"{model.optimizer} with learning rate {model.learning_rate}"
    learning += f" and {model.schedule} schedule" if model.schedule in ("cosine", "one_cycle") else ""
    trained = (
        f"{recipe.trainer.max_epochs} epochs of {results['data']['train']:,} images in batches of {data.batch_size}"
    )
    trained += f" with augmentation {data.augment}" if data.augment != "none" else ""
    versions = ", ".join(f"{name} {version}" for name, version in env["versions"].items() if version)
    threads = f"{env['threads']} {'thread' if env['threads'] == 1 else 'threads'} on {env['cores']} processors"
    return (
        f"Training: {architecture(results)}, {learning}, {trained}, float32. All contenders start from the same weights"
        f" and use the same batches. Machine: {env['cpu']}, {threads}, {', '.join(env['blas'])}. Versions: {versions}."
    )
