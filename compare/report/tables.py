"""The tables of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..results import schema
from ..results.schema import PHASES, Division, Parity, Results, Verdict, measured
from . import ratios, text
from .table import Columns, Table, as_text, micros, percent, seconds, times, whole


def overview(results: Results) -> Table:
    """The main measurements of the closed division."""
    columns: Columns = [(name, str if align == "left" else as_text) for name, align in text.COLUMNS]
    return Table("Medians over the seeds, closed division", columns, [text.cells(row) for row in measured(results)])


def division(results: Results, name: Division) -> Table | None:
    """The default or the open division; None if it did not run."""
    relative = ratios.to_fastest(results, name)
    if not relative:
        return None
    closed = {row["name"]: row["steady_step_us"] for row in measured(results)}
    columns: Columns = [("contender", str), ("changes", str), ("accuracy", percent), ("step µs", micros)]
    columns += [("relative to the fastest", as_text), (f"{name} / closed", times), ("train s", seconds)]
    columns += [("s to target", seconds), ("peak MB", whole)]
    rows = []
    for one in relative:
        row: Any = one.row
        before = closed.get(row["name"])
        rows.append(
            [
                row["title"],
                row["changes"] or "none",
                row["test_accuracy"],
                row["steady_step_us"],
                text.ratio(one.ratio) if one.ratio else "fastest",
                row["steady_step_us"] / before if before else None,
                *(row["seconds"]["train"], row["seconds_to_target"], row["peak_memory_mb"]),
            ]
        )
    return Table(text.DIVISIONS[name], columns, rows)


@dataclass(frozen=True)
class Cell:
    """A cell of the matrix: a ratio, and its verdict."""

    ratio: str
    verdict: Verdict


def matrix(results: Results) -> list[tuple[str, list[Cell | None]]]:
    """Return each contender with its step time divided by that of every contender; None for itself."""
    rows = measured(results)
    return [
        (a["title"], [None if a is b else _cell(ratios.between(results, "closed", a, b)) for b in rows]) for a in rows
    ]


def _cell(interval: schema.Interval) -> Cell:
    return Cell(times(interval["median"]), interval["verdict"])


def pairs(results: Results) -> Table:
    """The ratios of all divisions with their intervals."""
    titles = schema.titles(results)
    columns: Columns = [("first", str), ("second", str), ("division", str), ("first / second", times)]
    columns += [("95 % from", times), ("to", times), ("verdict", str), ("rounds", whole), ("paired", str)]
    rows = [
        [
            titles[pair["a"]],
            titles[pair["b"]],
            pair["division"],
            pair["median"],
            pair["low"],
            pair["high"],
            pair["verdict"],
            pair["rounds"],
            "yes" if pair["paired"] else "no",
        ]
        for pair in results["ratios"]
    ]
    return Table("Step time of the first contender divided by that of the second", columns, rows)


def steps(results: Results) -> Table:
    """The time of a step, over the whole training, and within a run."""
    columns: Columns = [("contender", str), ("steady µs", micros), ("whole training µs", micros), ("p50", micros)]
    columns += [("p90", micros), ("p99", micros), ("steps per measurement", whole), ("images/s", whole)]
    rows = []
    for row in measured(results):
        steady = row["steady_us"]
        within = [steady["p50"], steady["p90"], steady["p99"], steady["steps_a_look"]]
        rows.append([row["title"], row["steady_step_us"], row["step_us"], *within, row["images_per_second"]])
    return Table("Time of a step in the closed division", columns, rows)


def work(results: Results) -> Table:
    """The work that each contender did."""
    columns: Columns = [("contender", str), ("updates", whole), ("samples", whole), ("parameters", whole)]
    columns += [("same work", str), ("test accuracy", percent), ("95 % from", percent), ("to", percent)]
    columns += [("test loss", lambda v: f"{v:.4f}")]
    rows = [
        [
            row["title"],
            row["updates"],
            row["samples"],
            row["parameters"],
            "yes" if row["equal_work"] else "NO",
            row["test_accuracy"],
            *row["accuracy_interval"],
            row["test_loss"],
        ]
        for row in measured(results)
    ]
    return Table("Work and accuracy", columns, rows)


def accuracy_differences(results: Results) -> Table | None:
    """The differences in accuracy on the same images; None if there are none."""
    titles, differences = schema.titles(results), results.get("accuracy_differences")
    if not differences:
        return None
    columns: Columns = [("first", str), ("second", str), ("first − second, points", _points), ("95 % from", _points)]
    columns += [("to", _points), ("only first is right", whole), ("only second is right", whole)]
    rows = [
        [titles[d["a"]], titles[d["b"]], *(d[key] for key in ("difference", "low", "high", "only_a", "only_b"))]
        for d in differences
    ]
    return Table("Differences in test accuracy on the same images, over all seeds", columns, rows)


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def products(results: Results) -> Table | None:
    """The matrix products of a step in each contender's own library; None if they were not measured."""
    rows = [row for row in measured(results) if "products" in row]
    if not rows:
        return None
    columns: Columns = [("contender", str), ("GFLOP/s", lambda v: f"{v:,.0f}"), ("products µs", micros)]
    columns += [("step µs", micros), ("share of the step", lambda v: f"{100 * v:.0f} %")]
    columns += [("library", str), ("kernel", str), ("threads", whole)]
    values = []
    for row in rows:
        p, step = row["products"], row["steady_step_us"]
        values.append(
            [
                row["title"],
                p["gflops"],
                p["step_us"],
                step,
                p["step_us"] / step,
                p["library"],
                p["kernel"],
                p["threads"],
            ]
        )
    return Table("Matrix products of a step, measured alone in the contender's own library", columns, values)


def agreement(parity: Parity, titles: dict[str, str]) -> Table:
    """The largest difference of each contender from the reference."""
    columns: Columns = [("contender", str), ("dtype", str), ("steps", whole), ("largest difference", as_text)]
    columns += [("limit", lambda v: f"{v:.0e}"), ("share of tolerance", lambda v: f"{v:.2g}"), ("verdict", str)]
    columns += [("dropout", str)]
    rows = []
    for name, row in parity["contenders"].items():
        dropout = row["dropout"]["said"] if "dropout" in row else None
        outside = " (does not count for the verdict)" if row.get("apart") else ""
        for dtype, cell in text.parity_cells(row):
            verdict = f"{'agrees' if cell['passed'] else cell['first']}{outside}"
            measured_ = [text.difference(cell), cell["limit"], cell["share"]]
            rows.append([titles[name], dtype, cell["steps"], *measured_, verdict, dropout])
    return Table(f"Largest difference from {titles[parity['reference']]}", columns, rows)


def phases(results: Results) -> Table:
    """The seconds of each phase."""
    names = {phase: "start-up" if phase == "startup" else phase.replace("_", " ") for phase in PHASES}
    columns: Columns = [("contender", str), *((f"{name} s", seconds) for name in names.values())]
    rows = [[row["title"], *(row["seconds"][phase] for phase in PHASES)] for row in measured(results)]
    return Table("Phases in seconds; train includes the first step", columns, rows)


def latencies(results: Results) -> Table:
    """The latency of a prediction by number of images."""
    rows = [row for row in measured(results) if "latency" in row]
    counts = list(rows[0]["latency"]) if rows else []
    columns: Columns = [("contender", str)]
    columns += [(f"{text.count(int(n), 'image')}, {p}", micros) for n in counts for p in ("p50", "p99")]
    values = [[row["title"], *(row["latency"][n][p] for n in counts for p in ("p50", "p99"))] for row in rows]  # type: ignore[literal-required]
    return Table("Latency of a prediction in microseconds", columns, values)


def footprint(results: Results) -> Table:
    """Memory, saved file and lines of code."""
    columns: Columns = [("contender", str), ("peak MB", whole), ("saved kB", lambda v: f"{v:,.1f}")]
    columns += [("lines of code", whole), ("trains by", str), ("version", str)]
    rows = [
        [
            row["title"],
            row["peak_memory_mb"],
            row["saved_bytes"] / 1000 if "saved_bytes" in row else None,
            row["lines_of_code"],
            row["trains_by"],
            row["version"],
        ]
        for row in measured(results)
    ]
    return Table("Memory, files and code", columns, rows)


def runs(results: Results) -> Table:
    """Each training of each contender in each division."""
    columns: Columns = [
        ("contender", str),
        ("division", str),
        ("seed", as_text),
        ("step µs", micros),
        ("train s", seconds),
    ]
    columns += [
        ("total s", seconds),
        ("s to target", seconds),
        ("test accuracy", percent),
        ("test loss", lambda v: f"{v:.4f}"),
    ]
    rows = [
        [
            row["title"],
            name,
            str(run["seed"]),
            run["steady_step_us"],
            run["seconds"]["train"],
            run["seconds"]["total"],
            run.get("seconds_to_target"),
            run["test_accuracy"],
            run["test_loss"],
        ]
        for name in schema.DIVISIONS
        for row in ratios.timed(results, name)
        for run in row["runs"]
    ]
    return Table("Each seed", columns, rows)


def rounds(results: Results) -> Table:
    """Each round."""
    titles = schema.titles(results)
    columns: Columns = [
        ("started", str),
        ("stage", str),
        ("seed", as_text),
        ("other processes", _share),
        ("steal", _share),
    ]
    columns += [("counts", str), *((title, micros) for title in titles.values())]
    rows = [
        [
            one["started"][:19],
            one["stage"],
            str(one["seed"]),
            one["others"],
            one["steal"],
            "no" if one["disturbed"] else "yes",
            *(one["step_us"].get(name) for name in titles),
        ]
        for one in results["rounds"]
        if one["stage"] != "sweep"
    ]
    return Table("Step time of each round in microseconds", columns, rows)


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def sweep(results: Results) -> Table:
    """The points of the width sweep."""
    titles, rows = schema.titles(results), []
    show: Callable[[float], str] = lambda v: f"{v:,.0f}"  # noqa: E731
    columns: Columns = [("contender", str), ("batch size", whole), ("width", whole), ("step µs", micros)]
    columns += [("relative to NumPy", times), ("verdict", str), ("overhead µs", micros), ("products µs", micros)]
    columns += [("products GFLOP/s", show), ("library", str)]
    swept = results.get("sweep")
    for row in swept["rows"] if swept else []:
        for p in row["points"]:
            ratio: Any = p.get("ratio") or {"median": None, "verdict": None}
            first: Sequence[Any] = [titles[row["contender"]], p["batch_size"], p["width"], p["step_us"]]
            own = p["products"]
            rows.append(
                [
                    *first,
                    ratio["median"],
                    ratio["verdict"],
                    row["floor_us"],
                    own["step_us"],
                    own["gflops"],
                    own["library"],
                ]
            )
    return Table("Time of a step by width and batch size", columns, rows)
