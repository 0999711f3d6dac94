"""In the terminal: a table that fills while it runs, and the verdict."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..jobs.job import Job
from . import text as words

STAGES = {"parity": "do they agree", "closed": "closed division", "open": "open division", "sweep": "width sweep"}
HEADINGS = ("contender", "parity", "accuracy", "µs a step", "seconds", "now")


class Progress:
    """A live table, a row a contender; where nobody watches, a line for each thing done.

    It is drawn once a second and no more, since drawing takes time from what is timed.
    """

    def __init__(self, results: dict[str, Any]) -> None:
        self.results = results
        self.console = Console(highlight=False)
        self.cells: dict[str, dict[str, str]] = defaultdict(dict)
        self.stage, self.left, self.took = "", list[Job](), defaultdict[str, list[float]](list)
        self.began: dict[Job, float] = {}
        watched = self.console.is_terminal
        self.live = (
            Live(get_renderable=self._table, console=self.console, auto_refresh=False, transient=True)
            if watched
            else None
        )

    def __enter__(self) -> Progress:
        self.console.print(words.conditions(self.results))
        if (load := self.results["environment"]["load"]) > words.BUSY:
            self.console.print(words.busy(load))
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def begin(self, stage: str, planned: Sequence[Job]) -> None:
        """A stage, and the jobs that it has."""
        self.stage, self.left = stage, list(planned)
        self._draw()

    def epoch(self, job: Job, done: int) -> None:
        """A job that runs, and how many epochs it has done."""
        self.began.setdefault(job, time.monotonic())
        what = f"seed {job.seed}"
        if job.stage in ("closed", "open"):
            what += f", epoch {done} of {job.recipe.trainer.max_epochs}"
        self.cells[job.contender]["now"] = what if job.stage != "sweep" else "sweeping"
        if time.monotonic() - self.drawn > 1:
            self._draw()

    def done(self, job: Job, failed: str | None, answer: dict[str, Any] | None) -> None:
        """A job that has ended, and what it answered."""
        self.left = [left for left in self.left if left.name != job.name]
        if job in self.began:
            self.took[job.stage].append(time.monotonic() - self.began.pop(job))
        cells = self.cells[job.contender]
        cells["now"] = failed or ""
        if failed:
            self._line(f"  {job.stage:7} {self._title(job.contender):14} {failed}")
        elif answer and job.stage in ("closed", "open"):
            figures = {
                "accuracy": f"{100 * answer['test_accuracy']:.2f} %",
                "µs a step": f"{answer['step_us']:,.0f}",
                "seconds": f"{answer['seconds']['train']:.2f}",
            }
            if job.stage == "closed":
                cells |= figures
            said = "  ".join(
                (f"{figures['accuracy']}", f"{figures['µs a step']:>6} µs a step", f"{figures['seconds']:>6} s")
            )
            self._line(f"  {job.stage:7} {self._title(job.contender):14} {said}  seed {job.seed}")
        elif answer and job.stage == "sweep":
            points = ", ".join(f"{p['width']:,}: {p['step_us']:,.0f}" for p in answer["points"])
            self._line(f"  sweep   {self._title(job.contender):14} µs a step at width {points}")
        self._draw()

    def parity(self, title: str, row: dict[str, Any]) -> None:
        """One contender's largest difference from minigrad."""
        found = []
        for dtype, cell in words.dtypes(row):
            gap = words.difference(cell)
            found.append(f"{dtype} {gap}{';' if cell['passed'] else ' DIFFERS: ' + cell['first']}")
        name = next(row["name"] for row in self.results["contenders"] if row["title"] == title)
        self.cells[name]["parity"] = words.difference(row["float64"]) if row["float64"]["passed"] else "differs"
        self._line(f"  parity  {title:14} {'  '.join(found).rstrip(';')}")

    def _title(self, name: str) -> str:
        return next((row["title"] for row in self.results["contenders"] if row["name"] == name), name)

    def _line(self, text: str) -> None:
        if not self.live:
            self.console.print(text, markup=False, soft_wrap=True)

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
        """Of this stage, by what its jobs have taken so far."""
        took = self.took[self.stage]
        if not took or not self.left:
            return ""
        running = sum(time.monotonic() - began for began in self.began.values())
        left = max(0.0, len(self.left) * sum(took) / len(took) - running)
        return f", about {left:.0f} s left"


def _to_target(results: dict[str, Any]) -> Group:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    shown = 4 if results["open"] else 2
    for name in ("contender", "closed", "open", "in the open division")[:shown]:
        table.add_column(name, justify="right" if name in ("closed", "open") else "left")
    for cells in words.to_target(results):
        table.add_row(*cells[:shown])
    return Group(f"\nSeconds of training until {100 * results['target']:.0f} % of the validation set are right", table)


def show(results: dict[str, Any], console: Console) -> None:
    """The table and the verdict."""
    if words.raced(results) and results["parity"]["passed"] is not False:
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        for name, align in words.COLUMNS:
            table.add_column(name.replace(" ", "\n"), justify="left" if align == "left" else "right", no_wrap=True)
        for row in words.raced(results):
            table.add_row(*words.cells(row))
        console.print("\nClosed division: the same weights, batches, optimiser, loss, dtype and threads")
        console.print(table)
        console.print(words.equal_work(results))
        if results["target"] is not None:
            console.print(_to_target(results))
    for row in results["contenders"]:
        if row["status"] != "ok":
            console.print(f"{row['title']}: {row['status']}", markup=False)
    console.print()
    for line in words.verdict(results):
        console.print(line)
    if (share := results["environment"].get("others_share") or 0.0) > words.BUSY:
        console.print(words.busy(share))
