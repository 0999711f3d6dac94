"""The tables of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import contenders
from ..results import schema
from ..results.schema import PHASES, Parity, Results, measured
from ..results.statistics import mean_interval
from . import text
from .table import Columns, Table, as_text, micros, percent, seconds, times, whole


def overview(results: Results) -> Table:
    """The main measurements of the closed division."""
    columns: Columns = [(name, str if align == "left" else as_text) for name, align in text.COLUMNS]
    return Table("Medians over the seeds, closed division", columns, [text.cells(row) for row in measured(results)])


def steps(results: Results) -> Table:
    """The time of a step, over the seeds and within a run."""
    columns: Columns = [("contender", str), ("µs per step, median", micros), ("lowest", micros), ("highest", micros)]
    columns += [("95 % from", micros), ("to", micros), ("p50", micros), ("p90", micros), ("p99", micros)]
    columns += [("steps per measurement", whole), ("s to target", seconds), ("seeds", whole)]
    rows = []
    for row in measured(results):
        times_us, steady = [run["step_us"] for run in row["runs"]], row["steady_us"]
        within = [steady["p50"], steady["p90"], steady["p99"]]
        last = [steady["steps_a_look"], row["seconds_to_target"], len(times_us)]
        first = [row["title"], row["step_us"], min(times_us), max(times_us)]
        rows.append([*first, *_interval(times_us), *within, *last])
    return Table("Time of a step, and time to the target accuracy", columns, rows)


def _interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the geometric mean, as in the comparison of pairs."""
    interval = mean_interval([math.log(v) for v in values])
    return (math.exp(interval[0]), math.exp(interval[1])) if interval else (None, None)


def accuracies(results: Results) -> Table:
    """Test accuracy and loss."""
    columns: Columns = [
        ("contender", str),
        ("test accuracy, median", percent),
        ("lowest", percent),
        ("highest", percent),
    ]
    columns += [("95 % from", percent), ("to", percent), ("test loss", lambda v: f"{v:.4f}")]
    rows = []
    for row in measured(results):
        values = [run["test_accuracy"] for run in row["runs"]]
        interval = row["accuracy_interval"]
        rows.append([row["title"], row["test_accuracy"], min(values), max(values), *interval, row["test_loss"]])
    return Table("Accuracy (the 95 % interval is over images, not over seeds)", columns, rows)


def equal_work(results: Results) -> Table:
    """The work that each contender did, and the speed of its arithmetic."""
    columns: Columns = [
        ("contender", str),
        ("updates", whole),
        ("samples", whole),
        ("parameters", whole),
        ("FLOPs", lambda v: f"{v:.3g}"),
    ]
    columns += [("GFLOP/s", lambda v: f"{v:.1f}"), ("of peak", lambda v: f"{100 * v:.1f} %"), ("same work", str)]
    flops, sweep = results["work"]["flops"], results.get("sweep")
    peak = sweep["flops_per_second"] if sweep else None
    rows = []
    for row in measured(results):
        speed = flops / row["seconds"]["train"]
        counted = [row["updates"], row["samples"], row["parameters"], flops]
        rows.append(
            [row["title"], *counted, speed / 1e9, speed / peak if peak else None, "yes" if row["equal_work"] else "NO"]
        )
    return Table("Work, and arithmetic speed averaged over the training", columns, rows)


def opened(results: Results) -> Table | None:
    """The open division beside the closed one; None if there is none."""
    if not results.get("open"):
        return None
    closed = {row["name"]: row for row in measured(results)}
    columns: Columns = [
        ("contender", str),
        ("changes", str),
        ("accuracy", percent),
        ("µs per step", micros),
    ]
    columns += [
        ("closed: µs per step", micros),
        ("open / closed", times),
        ("train s", seconds),
        ("s to target", seconds),
        ("peak MB", whole),
    ]
    rows = []
    for row in results["open"]:
        before = closed[row["name"]]["step_us"] if row["name"] in closed else None
        ratio = row["step_us"] / before if before else None
        first = [row["title"], row["open_by"], row["test_accuracy"], row["step_us"], before, ratio]
        rows.append([*first, row["seconds"]["train"], row["seconds_to_target"], row.get("peak_memory_mb")])
    return Table("Open division", columns, rows)


def agreement(parity: Parity, titles: dict[str, str]) -> Table:
    """The largest difference of each contender from the reference."""
    columns: Columns = [("contender", str), ("dtype", str), ("steps", whole), ("largest difference", as_text)]
    columns += [("limit", lambda v: f"{v:.0e}"), ("verdict", str), ("dropout", str)]
    rows = []
    for name, row in parity["contenders"].items():
        dropout = row["dropout"]["said"] if "dropout" in row else None
        outside = " (does not count for the verdict)" if row.get("apart") else ""
        for dtype, cell in text.parity_cells(row):
            verdict = f"{'agrees' if cell['passed'] else cell['first']}{outside}"
            rows.append([titles[name], dtype, cell["steps"], text.difference(cell), cell["limit"], verdict, dropout])
    return Table(f"Largest difference from {titles[parity['reference']]}", columns, rows)


def phases(results: Results) -> Table:
    """The seconds of each phase."""
    columns: Columns = [("contender", str), *((f"{phase.replace('_', ' ')} s", seconds) for phase in PHASES)]
    rows = [[row["title"], *(row["seconds"][phase] for phase in PHASES)] for row in measured(results)]
    return Table("Phases in seconds; train includes the first step", columns, rows)


def latencies(results: Results) -> Table:
    """The latency of a prediction by number of images."""
    rows = measured(results)
    counts = list(rows[0]["latency"]) if rows else []
    columns: Columns = [("contender", str)]
    columns += [
        (f"{int(n):,} {'image' if n == '1' else 'images'}, {p}", micros) for n in counts for p in ("p50", "p99")
    ]
    values = [
        [row["title"], *(value for n in counts for value in (row["latency"][n]["p50"], row["latency"][n]["p99"]))]
        for row in rows
    ]
    return Table("Latency of a prediction in microseconds", columns, values)


def footprint(results: Results) -> Table:
    """Memory, saved file and lines of code."""
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
            row.get("lines_of_code"),
            row["trains_by"],
            row["version"],
        ]
        for row in measured(results)
    ]
    return Table("Memory, files and code", columns, rows)


def pairs(results: Results) -> Table | None:
    """Every two contenders compared; None if there is only one."""
    if not results.get("pairs"):
        return None
    titles = schema.titles(results)
    columns: Columns = [
        ("first", str),
        ("second", str),
        ("step time, first / second", times),
        ("95 % from", times),
        ("to", times),
        ("step time", str),
    ]
    columns += [
        ("accuracy, first - second, points", _points),
        ("95 % from", _points),
        ("to", _points),
        ("accuracy", str),
    ]
    rows = []
    for pair in results["pairs"]:
        step, accuracy = pair["step_us"], pair["test_accuracy"]
        faster = titles[pair["a"] if step["ratio"] < 1 else pair["b"]]
        better = titles[pair["a"] if accuracy["difference"] > 0 else pair["b"]]
        rows.append(
            [
                titles[pair["a"]],
                titles[pair["b"]],
                *(step["ratio"], step["low"], step["high"]),
                _significance(step["differs"], f"{faster} is faster"),
                *(accuracy["difference"], accuracy["low"], accuracy["high"]),
                _significance(accuracy["differs"], f"{better} is higher"),
            ]
        )
    return Table("Pairs of contenders, compared seed by seed", columns, rows)


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _significance(differs: bool | None, sentence: str) -> str:
    return "one seed" if differs is None else sentence if differs else "no difference"


def parity_titles(results: Results, parity: Parity) -> dict[str, str]:
    """Return titles by contender, including those of the parity table."""
    titles = schema.titles(results)
    others = [name for name in (parity["reference"], *parity["contenders"]) if name not in titles]
    return titles | {name: contenders.find(name).title for name in others}
