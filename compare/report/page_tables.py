"""The tables of the page, from the results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import contenders
from ..results.statistics import interval
from ..timing import training as race
from . import text as words
from .table import Columns, Table, as_is, micros, percent, seconds, times, whole

Row = dict[str, Any]


def measured(results: Row) -> Table:
    columns: Columns = [(name, str if align == "left" else as_is) for name, align in words.COLUMNS]
    return Table("Medians over the seeds, closed division", columns, [words.cells(row) for row in words.raced(results)])


def steps(results: Row) -> Table:
    """A step's time: of all of training, over the seeds, and within a run."""
    columns: Columns = [("contender", str), ("µs a step, median", micros), ("lowest", micros), ("highest", micros)]
    columns += [("95 % from", micros), ("to", micros), ("p50", micros), ("p90", micros), ("p99", micros)]
    columns += [("steps a look", whole), ("s to target", seconds), ("seeds", whole)]
    found = []
    for row in words.raced(results):
        each, steady = [run["step_us"] for run in row["runs"]], row["steady_us"]
        within = [steady[f"p{p}"] for p in (50, 90, 99)]
        last = [steady["steps_a_look"], row["seconds_to_target"], len(each)]
        found.append([row["title"], row["step_us"], min(each), max(each), *_interval(each), *within, *last])
    return Table("A step's time, and the time to the target", columns, found)


def _interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The 95 % interval of the geometric mean, as in the differences between contenders."""
    found = interval([math.log(v) for v in values])
    return (math.exp(found[0]), math.exp(found[1])) if found else (None, None)


def accuracies(results: Row) -> Table:
    columns: Columns = [
        ("contender", str),
        ("test accuracy, median", percent),
        ("lowest", percent),
        ("highest", percent),
    ]
    columns += [("95 % from", percent), ("to", percent), ("test loss", lambda v: f"{v:.4f}")]
    found = []
    for row in words.raced(results):
        each = [run["test_accuracy"] for run in row["runs"]]
        found.append(
            [row["title"], row["test_accuracy"], min(each), max(each), *row["accuracy_interval"], row["test_loss"]]
        )
    return Table("Accuracy; the interval is of the images, not of the seeds", columns, found)


def equal_work(results: Row) -> Table:
    """What was asked of each, and how quickly its arithmetic went."""
    columns: Columns = [
        ("contender", str),
        ("updates", whole),
        ("samples", whole),
        ("parameters", whole),
        ("FLOPs", lambda v: f"{v:.3g}"),
    ]
    columns += [("GFLOP/s", lambda v: f"{v:.1f}"), ("of a product's", lambda v: f"{100 * v:.1f} %"), ("equal", str)]
    flops, peak = results["work"]["flops"], (results.get("sweep") or {}).get("flops_per_second")
    found = []
    for row in words.raced(results):
        speed = flops / row["seconds"]["train"]
        counted = [
            row["updates"],
            row["samples"],
            row["parameters"],
            flops,
            speed / 1e9,
            speed / peak if peak else None,
        ]
        found.append([row["title"], *counted, "yes" if row["equal_work"] else "NO"])
    return Table("Work done, counted, and the speed of its arithmetic over all of training", columns, found)


def opened(results: Row) -> Table | None:
    """The open division beside the closed; None without one."""
    if not results.get("open"):
        return None
    closed = {row["name"]: row for row in words.raced(results)}
    columns: Columns = [
        ("contender", str),
        ("what it does otherwise", str),
        ("accuracy", percent),
        ("µs a step", micros),
    ]
    columns += [
        ("closed: µs", micros),
        ("as long", times),
        ("train s", seconds),
        ("s to target", seconds),
        ("peak MB", whole),
    ]
    found = []
    for row in results["open"]:
        before = closed.get(row["name"], {}).get("step_us")
        ratio = row["step_us"] / before if before else None
        first = [
            row["title"],
            row["open_by"],
            row["test_accuracy"],
            row["step_us"],
            before,
            ratio,
        ]
        found.append([*first, row["seconds"]["train"], row["seconds_to_target"], row.get("peak_memory_mb")])
    return Table("Open division", columns, found)


def agreement(results: Row) -> Table:
    parity, titles = results["parity"], names(results)
    columns: Columns = [("contender", str), ("dtype", str), ("steps", whole), ("largest difference", as_is)]
    columns += [("limit", lambda v: f"{v:.0e}"), ("verdict", str), ("dropout", str)]
    found = []
    for name, row in parity["contenders"].items():
        dropout = row.get("dropout", {}).get("said")
        for dtype, cell in words.dtypes(row):
            said = "agrees" if cell["passed"] else cell["first"]
            apart = " (not in the verdict)" if row.get("apart") else ""
            found.append(
                [titles[name], dtype, cell["steps"], words.difference(cell), cell["limit"], said + apart, dropout]
            )
    return Table(f"Each held against {titles[parity['reference']]}", columns, found)


def phases(results: Row) -> Table:
    columns: Columns = [("contender", str), *((f"{phase.replace('_', ' ')} s", seconds) for phase in race.PHASES)]
    rows = [[row["title"], *(row["seconds"][phase] for phase in race.PHASES)] for row in words.raced(results)]
    return Table("Phases in seconds; train includes the first step", columns, rows)


def answers(results: Row) -> Table:
    columns: Columns = [("contender", str)]
    columns += [
        (f"{int(n):,} {'image' if n == '1' else 'images'}, {p}", micros)
        for n in _batches(results)
        for p in ("p50", "p99")
    ]
    rows = [
        [row["title"], *(row["latency"][n][p] for n in _batches(results) for p in ("p50", "p99"))]
        for row in words.raced(results)
    ]
    return Table("Microseconds until so many images are answered", columns, rows)


def footprint(results: Row) -> Table:
    columns: Columns = [
        ("contender", str),
        ("peak MB", whole),
        ("saved kB", lambda v: f"{v:,.1f}"),
        ("lines of code", whole),
    ]
    columns += [("trains by", str), ("version", str)]
    rows = [
        [
            row["title"],
            row["peak_memory_mb"],
            row["saved_bytes"] / 1000,
            row["lines_of_code"],
            row["trains_by"],
            row["version"],
        ]
        for row in words.raced(results)
    ]
    return Table("Memory, files and code", columns, rows)


def pairs(results: Row) -> Table | None:
    """Every two contenders; None where there is only one."""
    if not results.get("pairs"):
        return None
    titles = names(results)
    columns: Columns = [
        ("first", str),
        ("second", str),
        ("step time, first / second", times),
        ("95 % from", times),
        ("to", times),
        ("step time", str),
    ]
    columns += [("accuracy, points", _points), ("95 % from", _points), ("to", _points), ("accuracy", str)]
    found = []
    for pair in results["pairs"]:
        step, accuracy = pair["step_us"], pair["test_accuracy"]
        quicker = titles[pair["a"] if step["ratio"] < 1 else pair["b"]]
        better = titles[pair["a"] if accuracy["difference"] > 0 else pair["b"]]
        its = [step["ratio"], step["low"], step["high"], _said(step["differs"], f"{quicker} quicker")]
        theirs = [
            accuracy["difference"],
            accuracy["low"],
            accuracy["high"],
            _said(accuracy["differs"], f"{better} higher"),
        ]
        found.append([titles[pair["a"]], titles[pair["b"]], *its, *theirs])
    return Table("Every two contenders, seed by seed", columns, found)


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _said(differs: bool | None, how: str) -> str:
    return {True: how, False: "no difference", None: "one seed"}[differs]


def _batches(results: Row) -> list[str]:
    rows = words.raced(results)
    return list(rows[0]["latency"]) if rows else []


def names(results: Row) -> dict[str, str]:
    """Titles by contender, those of the parity table among them."""
    titles = {name: contenders.find(name).title for name in results["parity"]["contenders"]}
    titles |= {results["parity"]["reference"]: contenders.find(results["parity"]["reference"]).title}
    return titles | {row["name"]: row["title"] for row in results["contenders"]}
