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
from ..results.schema import DIVISIONS, ParityRow, Results
from . import ratios, text

STAGES = {
    "parity": "checking that the contenders agree",
    "closed": "timing the closed division",
    "default": "timing the default division",
    "open": "timing the open division",
}
HEADINGS = ("contender", "parity", "step µs", "now")
FIRST = 0.05  # share of a stage from which on the time left is estimated


class LiveTable:
    """A live table with one row per contender. If the output is not a terminal, prints lines instead.

    It is drawn at most once per second, since drawing uses processor time and affects the measurements.

    Args:
        results: the results; `contenders` and `environment` are read.
        quiet: whether nothing is printed.
    """

    def __init__(self, results: Results, quiet: bool = False) -> None:
        self.results = results
        self.console = Console(highlight=False, quiet=quiet)
        self.cells: dict[str, dict[str, str]] = defaultdict(dict)
        self.stage, self.total, self.done = "", 0.0, 0.0
        self.began = self.drawn = time.monotonic()
        self.live = (
            Live(get_renderable=self._table, console=self.console, auto_refresh=False, transient=True)
            if self.console.is_terminal and not quiet
            else None
        )

    def __enter__(self) -> LiveTable:
        self._print(text.conditions(self.results))
        for line in text.kernels(self.results):
            self._print(line)
        if (load := self.results["environment"]["load"]) > text.BUSY:
            self._print(text.busy_now(load))
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def begin(self, stage: str, total_units: float) -> None:
        """Show that a stage begins.

        Args:
            stage: a key of `STAGES`.
            total_units: its work, in units of about equal time, such as epochs. Finished turns count as they are reported.
        """
        self.stage, self.total, self.done, self.began = stage, total_units, 0.0, time.monotonic()
        for cells in self.cells.values():
            cells["now"] = ""
        self._draw()

    def turn(self, contender: str, what: str, units: float = 1) -> None:
        """Show that a contender has finished a turn.

        Args:
            contender: its name.
            what: the turn in a few words, such as "seed 42, epoch 3".
            units: the work of the turn, in the units of `begin`.
        """
        self.done += units
        self.cells[contender]["now"] = what
        if time.monotonic() - self.drawn > 1:
            self._draw()

    def step(self, contender: str, median_us: float) -> None:
        """Show a contender's median step time so far, in microseconds. It is drawn with the next turn."""
        self.cells[contender]["step µs"] = f"{median_us:,.0f}"

    def answered(self, job: Job, answer: dict[str, Any]) -> None:
        """Show that a contender has finished a training."""
        accuracy, step_us = f"{100 * answer['test_accuracy']:.2f} %", f"{answer['steady_step_us']:>6,.0f} µs per step"
        self.line(f"{self._prefix(job)} {accuracy}  {step_us}  {answer['seconds']['total']:>6.2f} s  seed {job.seed}")

    def failed(self, job: Job, sentence: str) -> None:
        """Show that a contender has failed."""
        self.line(f"{self._prefix(job)} {sentence}")

    def _prefix(self, job: Job) -> str:
        return f"  {job.stage:7} {schema.titles(self.results)[job.contender]:14}"

    def line(self, what: str) -> None:
        """Print a line, such as one per round or seed, if the output is not a terminal."""
        if not self.live:
            self._print(what)

    def parity(self, name: str, row: ParityRow) -> None:
        """Show a contender's largest difference from the reference."""
        cells = []
        for dtype, cell in text.parity_cells(row):
            gap = text.difference(cell)
            cells.append(f"{dtype} {gap}" if cell["passed"] else f"{dtype} {gap} DIFFERS: {cell['first']}")
        self.cells[name]["parity"] = text.difference(row["float64"]) if row["float64"]["passed"] else "differs"
        self.line(f"  parity  {schema.titles(self.results).get(name, name):14} {';  '.join(cells)}")

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=not self.live)

    def _draw(self) -> None:
        self.drawn = time.monotonic()
        if self.live:
            self.live.refresh()

    def _table(self) -> Group:
        table = _grid({name: name in ("contender", "now") for name in HEADINGS})
        for row in self.results["contenders"]:
            cells = self.cells[row["name"]]
            cells = {**cells, "now": row["status"]} if row["status"] else cells
            table.add_row(row["title"], *(Text(cells.get(name, "")) for name in HEADINGS[1:]))
        left = time_left(time.monotonic() - self.began, self.done, self.total)
        return Group(Text(", ".join(filter(None, (STAGES.get(self.stage, self.stage), left))), style="bold"), table)


def time_left(elapsed: float, done: float, total: float) -> str:
    """Return an estimate of the time left of a stage; empty while too little is done.

    Args:
        elapsed: seconds since it began.
        done: finished work, in units of about equal time.
        total: all of its work.
    """
    if not FIRST * total <= done < total or not done:
        return ""
    seconds = elapsed / done * (total - done)
    return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"


def show(results: Results, console: Console) -> None:
    """Print the answer, the table of the closed division, the ratios of the others, and the agreement."""
    console.print()
    for line in [text.answer(results), *text.warnings(results)]:
        console.print(line, markup=False)
    for line in text.failures(results):
        console.print(line, markup=False)
    if schema.agreed(results) and schema.measured(results):
        _measurements(results, console)
    console.print()
    for line in text.verdict(results)[1:]:
        console.print(line, markup=False)


def _measurements(results: Results, console: Console) -> None:
    table = _grid({name: align == "left" for name, align in text.COLUMNS})
    for row in schema.measured(results):
        table.add_row(*text.cells(row))
    console.print(f"\n{text.DIVISIONS['closed']}")
    console.print(table)
    console.print(text.equal_work(results))
    if results["status"] != "measured":
        console.print(text.NOT_RELIABLE)
        return
    for division in DIVISIONS[1:]:
        if ratios.timed(results, division):
            console.print(f"\n{text.DIVISIONS[division]}\n{text.speed(results, division)}")
    if (target := results.get("target")) is not None:
        console.print(f"\nSeconds of training until the validation accuracy is {100 * target:.4g} %")
        console.print(_time_to_target(results))


def _time_to_target(results: Results) -> Table:
    ran = [0, *(i for i, division in enumerate(DIVISIONS, 1) if ratios.timed(results, division))]
    headings = ("contender", *DIVISIONS)
    table = _grid({headings[i]: i == 0 for i in ran})
    for cells in text.time_to_target(results):
        table.add_row(*(cells[i] for i in ran))
    return table


def _grid(columns: dict[str, bool]) -> Table:
    """Return a table without lines; `columns` gives each heading, and whether the column is aligned left."""
    table = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for name, left in columns.items():
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    return table
