"""Reports in the terminal: a live table while a comparison runs, and the results at its end."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..jobs.job import Job
from ..results import schema
from ..results.schema import ParityRow, Results
from . import text

STAGES = {
    "parity": "checking that they agree",
    "closed": "timing the closed division",
    "open": "timing the open division",
    "sweep": "sweeping the hidden width",
}
HEADINGS = ("contender", "parity", "accuracy", "µs per step", "seconds", "now")


class LiveTable:
    """A live table with one row per contender. If the output is not a terminal, prints one line per finished job.

    It is drawn at most once per second, since drawing uses processor time and affects the measurements.

    Args:
        results: the results; `contenders` and `environment` are read.
        quiet: whether nothing is printed.
    """

    def __init__(self, results: Results, quiet: bool = False) -> None:
        self.results = results
        self.console = Console(highlight=False, quiet=quiet)
        self.cells: dict[str, dict[str, str]] = defaultdict(dict)
        self.stage, self.remaining = "", list[Job]()
        self.durations = defaultdict[str, list[float]](list)
        self.start_times: dict[Job, float] = {}
        self.drawn = 0.0
        self.live = (
            Live(get_renderable=self._table, console=self.console, auto_refresh=False, transient=True)
            if self.console.is_terminal and not quiet
            else None
        )

    def __enter__(self) -> LiveTable:
        self.console.print(text.conditions(self.results))
        if (load := self.results["environment"]["load"]) > text.BUSY:
            self.console.print(text.busy_now(load))
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def begin(self, stage: str, units: int) -> None:
        pass

    def turn(self, contender: str, what: str, units: int = 1) -> None:
        pass

    def step(self, contender: str, median_us: float) -> None:
        pass

    def line(self, what: str) -> None:
        self._print(what)

    def parity(self, name: str, row: ParityRow) -> None:
        """Show a contender's largest difference from minigrad."""
        cells = []
        for dtype, cell in text.parity_cells(row):
            gap = text.difference(cell)
            cells.append(f"{dtype} {gap}" if cell["passed"] else f"{dtype} {gap} DIFFERS: {cell['first']}")
        self.cells[name]["parity"] = text.difference(row["float64"]) if row["float64"]["passed"] else "differs"
        self._print(f"  parity  {self._title(name):14} {';  '.join(cells)}")

    def _title(self, name: str) -> str:
        return schema.titles(self.results).get(name, name)

    def _print(self, line: str) -> None:
        if not self.live:
            self.console.print(line, markup=False, soft_wrap=True)

    def _draw(self) -> None:
        self.drawn = time.monotonic()
        if self.live:
            self.live.refresh()

    def _table(self) -> Group:
        table = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
        for name in HEADINGS:
            table.add_column(name, no_wrap=True, justify="left" if name in ("contender", "now") else "right")
        for row in self.results["contenders"]:
            cells = self.cells[row["name"]]
            cells = {**cells, "now": row["status"]} if row["status"] else cells
            table.add_row(row["title"], *(Text(cells.get(name, "")) for name in HEADINGS[1:]))
        return Group(Text(f"{STAGES.get(self.stage, '')}{self._time_left()}", style="bold"), table)

    def _time_left(self) -> str:
        """Return the estimated time left of this stage, from the durations of its finished jobs."""
        durations = self.durations[self.stage]
        if not durations or not self.remaining:
            return ""
        running = sum(time.monotonic() - start for start in self.start_times.values())
        left = max(0.0, len(self.remaining) * sum(durations) / len(durations) - running)
        return f", about {left:.0f} s left"


def show(results: Results, console: Console) -> None:
    """Print the table of the closed division, the time to the target accuracy, and the verdict."""
    rows = schema.measured(results)
    if rows and schema.agreed(results):
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        for name, align in text.COLUMNS:
            table.add_column(name.replace(" ", "\n"), justify="left" if align == "left" else "right", no_wrap=True)
        for row in rows:
            table.add_row(*text.cells(row))
        console.print("\nClosed division: the same weights, batches, optimizer, loss, dtype and number of threads")
        console.print(table)
        console.print(text.equal_work(results))
        if results["target"] is not None:
            console.print(_time_to_target(results, results["target"]))
    for contender in results["contenders"]:
        if contender["status"] != "ok":
            console.print(f"{contender['title']}: {contender['status']}", markup=False)
    console.print()
    for line in text.verdict(results):
        console.print(line)
    if (share := results["environment"].get("others_share") or 0.0) > text.BUSY:
        console.print(text.busy_during(share))


def _time_to_target(results: Results, target: float) -> Group:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    shown = 4 if results["open"] else 2
    for name in ("contender", "closed", "open", "changes in the open division")[:shown]:
        table.add_column(name, justify="right" if name in ("closed", "open") else "left")
    for cells in text.time_to_target(results):
        table.add_row(*cells[:shown])
    return Group(
        f"\nTime to reach the target validation accuracy ({100 * target:.4g} %), in seconds of training", table
    )


def answered(job: Job, title: str, answer: dict[str, Any]) -> str:
    """Return a line on a finished training."""
    return (
        f"  {job.stage:7} {title:14} {100 * answer['test_accuracy']:.2f} %  {answer['steady_step_us']:>6,.0f} µs per step"
        f"  {answer['seconds']['total']:>6.2f} s  seed {job.seed}"
    )
