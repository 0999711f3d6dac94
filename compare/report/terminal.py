"""In the terminal: what runs now, what came of it, and the verdict."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from . import words


class Progress:
    """A spinner that says what runs, and a line for each thing done."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.status = self.console.status("starting")

    def __enter__(self) -> Progress:
        self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.status.stop()

    def say(self, what: str) -> None:
        self.status.update(what)

    def parity(self, title: str, row: dict[str, Any]) -> None:
        """One contender's largest difference from minigrad."""
        found = []
        for dtype, cell in words.dtypes(row):
            gap = words.difference(cell)
            found.append(f"{dtype} {gap}{'' if cell['passed'] else ' DIFFERS: ' + cell['first']}")
        self.console.print(f"  parity  {title:14} {';  '.join(found)}")

    def race(self, row: dict[str, Any]) -> None:
        """One contender's time."""
        figures = (
            f"{100 * row['test_accuracy']:.2f} %  {row['step_us']:>6,.0f} µs a step  {row['seconds']['train']:6.2f} s"
        )
        self.console.print(f"  race    {row['title']:14} {figures}")


def heading(results: dict[str, Any], console: Console) -> None:
    """What is about to be compared, on what."""
    console.print(words.conditions(results), soft_wrap=False)


def show(results: dict[str, Any], console: Console) -> None:
    """The table and the verdict."""
    if words.raced(results) and results["parity"]["passed"] is not False:
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        for name, align in words.COLUMNS:
            table.add_column(name.replace(" ", "\n"), justify="left" if align == "left" else "right", no_wrap=True)
        for row in words.raced(results):
            table.add_row(*words.cells(row))
        console.print()
        console.print(table)
    for row in results["contenders"]:
        if row["status"] != "ok":
            console.print(f"{row['title']}: {row['status']}", markup=False)
    console.print()
    for line in words.verdict(results):
        console.print(line)
