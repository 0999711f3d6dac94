"""python -m compare history RUN RUN ...: compare runs with the first one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from minigrad import recipes
from minigrad.runs import UserError
from minigrad.runs.foreign import shown

from . import ratios, schema, statistics
from .schema import Interval, MeasuredContender, Results

PROG = "python -m compare history"
# Keys of the environment that can change a measurement and are not measurements themselves.
SETTINGS = ("threads", "cpu", "gpu", "cores", "blas", "allocator", "waiting", "variables", "system")


def main(argv: Sequence[str]) -> None:
    """Print each run's changes from the first run.

    Raises:
        UserError: there are fewer than two runs, or one holds no results of a comparison.
    """
    parser = recipes.Parser(
        prog=PROG,
        description="Compare runs with the first one: what changed, and whether a step takes longer, with the 95 % interval.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=str,
        help="two or more run folders, or their results.json files",
    )
    paths = parser.parse_args(list(argv)).runs
    if len(paths) < 2:
        raise UserError(f"runs: {paths[0]}; expected two or more")
    first, *others = [(path, schema.read(path)) for path in paths]
    console = Console(highlight=False)
    for path, results in others:
        console.print(f"{first[0]} and {path}", style="bold", markup=False, soft_wrap=True)
        for line in changes(first[1], results):
            console.print(f"  {line}", markup=False, soft_wrap=True)
        for name, run in (first, (path, results)):
            if run["status"] != "measured":
                console.print(f"  {name}: NOT MEASURED. {run['status_reason']}", markup=False, soft_wrap=True)
        console.print(_table(first[1], results))


def changes(before: Results, after: Results) -> list[str]:
    """Return what differs in recipe, data, threads, versions and machine: "model.hidden: [10], now [64]"."""
    a, b = dict(_settings(before)), dict(_settings(after))
    lines = [f"{key}: {shown(a.get(key))}, now {shown(b.get(key))}" for key in {**a, **b} if a.get(key) != b.get(key)]
    return lines or ["The same recipe, data, machine and versions."]


def _settings(results: Results) -> Iterator[tuple[str, Any]]:
    for section, keys in results["recipe"].items():
        if isinstance(keys, dict):
            yield from ((f"{section}.{key}", value) for key, value in keys.items())
        else:
            yield section, keys
    yield from ((f"data: {key}", value) for key, value in results.get("data", {}).items())
    environment = results["environment"]
    yield from ((key, environment.get(key)) for key in SETTINGS)
    yield from ((f"version of {name}", version) for name, version in environment.get("versions", {}).items())


@dataclass(frozen=True)
class Change:
    """One contender in two runs: its measurements, the ratio of steady steps, and the verdict on the accuracy."""

    before: MeasuredContender
    after: MeasuredContender
    steady_step: Interval
    accuracy: str


def compare_contenders(before: Results, after: Results) -> list[Change]:
    """Return the change of each contender that both runs measured in the closed division."""
    old_rows = {row["name"]: row for row in schema.measured(before)}
    is_measured = before["status"] == after["status"] == "measured"
    result = []
    for row in schema.measured(after):
        if (old := old_rows.get(row["name"])) is None:
            continue
        interval = statistics.unpaired_ratio(_times(after, row), _times(before, old))
        if not is_measured:
            interval["verdict"] = "undecided"
        difference = row["test_accuracy"] - old["test_accuracy"]
        low, high = row["accuracy_interval"]
        verdict = "the same" if not difference else "noise" if abs(difference) <= (high - low) / 2 else "changed"
        result.append(Change(old, row, interval, verdict))
    return result


def _times(results: Results, row: MeasuredContender) -> list[list[float]]:
    """Return a contender's steady times in the closed division, per seed and round."""
    rounds = ratios.counted([r for r in results["rounds"] if r["stage"] == "closed"])
    return ratios.times(rounds, {row["name"]: row["runs"]}, [row["name"]])[row["name"]]


def _table(before: Results, after: Results) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("contender", "step µs", "now", "now / before", "", "acc %", "now", ""):
        table.add_column(name, no_wrap=True, justify="left" if name in ("contender", "") else "right")
    for change in compare_contenders(before, after):
        step, old, new = change.steady_step, change.before, change.after
        interval = f" ({step['low']:.2f}-{step['high']:.2f})" if step["low"] is not None else ""
        table.add_row(
            Text(new["title"]),  # not markup
            f"{old['steady_step_us']:,.0f}",
            f"{new['steady_step_us']:,.0f}",
            f"{step['median']:.2f}{interval}",
            step["verdict"],
            f"{100 * old['test_accuracy']:.2f}",
            f"{100 * new['test_accuracy']:.2f}",
            change.accuracy,
        )
    return table
