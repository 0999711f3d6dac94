"""python -m compare history RUN RUN ...: comparisons side by side, what changed between them, and whether it is noise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from minigrad import recipes
from minigrad.runs import UserError, expand, folder

from . import statistics

PROG = "python -m compare history"
Row = dict[str, Any]


def main(argv: Sequence[str]) -> None:
    """Print each run beside the first.

    Raises:
        UserError: fewer than two runs, or one that is no comparison's.
    """
    parser = recipes.Parser(prog=PROG, description=__doc__.partition(": ")[2])
    parser.add_argument(
        "runs",
        nargs="+",
        type=str,
        help="run folders, or their results.json; the first comes before",
    )
    paths = parser.parse_args(list(argv)).runs
    if len(paths) < 2:
        raise UserError(f"runs: {paths[0]}; expected two or more")
    first, *others = [(path, read(path)) for path in paths]
    console = Console(highlight=False)
    for path, results in others:
        console.print(f"{first[0]} and {path}", style="bold", markup=False, soft_wrap=True)
        for line in changes(first[1], results):
            console.print(f"  {line}", markup=False, soft_wrap=True)
        console.print(_table(first[1], results))


def read(path: str) -> Row:
    """The results of a run folder or file.

    Raises:
        UserError: there are none, or they are not a comparison's.
    """
    where = expand(path)
    file = where / folder.RESULTS if where.is_dir() else where
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found["contenders"], list) or not isinstance(found["environment"], dict):
            raise TypeError
    except FileNotFoundError:
        raise UserError(f"{path}: no {folder.RESULTS}; expected a run folder of python -m compare") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: no results of python -m compare; expected its {folder.RESULTS}") from None
    return found


def changes(before: Row, after: Row) -> list[str]:
    """What is not the same in recipe, data, threads, versions and machine: "model.hidden: [10], now [64]"."""
    a, b = dict(_flat(before)), dict(_flat(after))
    found = [f"{key}: {a.get(key)}, now {b.get(key)}" for key in {**a, **b} if a.get(key) != b.get(key)]
    return found or ["The same recipe, data, machine and versions."]


# Of the environment, what can change a figure and is not itself one.
SAME = ("threads", "cpu", "gpu", "cores", "blas", "allocator", "variables", "system")


def _flat(results: Row) -> Iterator[tuple[str, Any]]:
    for section, keys in results["recipe"].items():
        if isinstance(keys, dict):
            yield from ((f"{section}.{key}", value) for key, value in keys.items())
        else:
            yield section, keys
    yield from ((f"data: {key}", value) for key, value in results.get("data", {}).items())
    environment = results["environment"]
    yield from ((key, environment.get(key)) for key in SAME)
    yield from ((f"version of {name}", version) for name, version in environment.get("versions", {}).items())


def compared(before: Row, after: Row) -> list[Row]:
    """For each contender of both: time a step and accuracy, then and now, and the verdict on each."""
    olds = {row["name"]: row for row in before["contenders"] if "step_us" in row}
    found = []
    for row in after["contenders"]:
        if "step_us" not in row or (old := olds.get(row["name"])) is None:
            continue
        a, b = ([run["step_us"] for run in its.get("runs", [its])] for its in (row, old))
        time = statistics.apart(a, b)
        gap = row["test_accuracy"] - old["test_accuracy"]
        low, high = row["accuracy_interval"]
        noise = "the same" if not gap else "noise" if abs(gap) <= (high - low) / 2 else "changed"
        found.append({"title": row["title"], "before": old, "after": row, "step_us": time, "accuracy": noise})
    return found


def verdict(time: Row) -> str:
    """Whether two runs' times differ, in words."""
    if time["differs"] is None:
        return "one seed"
    if not time["differs"]:
        return "no difference"
    return "slower" if time["ratio"] > 1 else "quicker"


def _table(before: Row, after: Row) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("contender", "step µs", "now", "now / then", "", "%", "now", ""):
        table.add_column(name, no_wrap=True, justify="left" if name in ("contender", "") else "right")
    for row in compared(before, after):
        time, then, now = row["step_us"], row["before"], row["after"]
        interval = f" ({time['low']:.2f}-{time['high']:.2f})" if time["low"] is not None else ""
        table.add_row(
            row["title"],
            f"{then['step_us']:,.0f}",
            f"{now['step_us']:,.0f}",
            f"{time['ratio']:.2f}{interval}",
            verdict(time),
            f"{100 * then['test_accuracy']:.2f}",
            f"{100 * now['test_accuracy']:.2f}",
            row["accuracy"],
        )
    return table
