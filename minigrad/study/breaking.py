"""python -m minigrad.study break NAME: predict, run and observe a training with a known mistake."""

from __future__ import annotations

import difflib
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..recipes import Parser
from ..runs import curves, folder
from ..runs.errors import UserError
from ..runs.files import writing
from .breaks import BREAKS
from .breaks.definition import Break
from .breaks.experiment import EpochRecord, Run, run

PROG = "python -m minigrad.study break"
COLORS = {"correct": "green", "broken": "red"}
WIDTH = 80
SHOWN = (1, 2, 4, 8)  # epochs
LETTERS = "abc"


def main(argv: Sequence[str]) -> None:
    """List the mistakes, or run the training with one of them beside the correct training."""
    parser = Parser(
        prog=PROG,
        description="Predict, run and observe a training with a known mistake, beside the correct training. Without NAME,"
        " the mistakes are listed.",
    )
    parser.add_argument("name", type=str | None, nargs="?", default=None, metavar="NAME", help=", ".join(BREAKS))
    parser.add_argument(
        "--seed", type=int, default=0, help="the seed of the initial weights and the order of the images"
    )
    parser.add_flag("--yes", "run without a question")
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        metavar="FILE",
        help="draw both trainings into this PNG, SVG or PDF file",
    )
    parser.add_flag("--overwrite", "replace the file")
    options = parser.parse_args(argv)
    console = Console(highlight=False, markup=False)
    console.width = min(console.width, WIDTH)
    if options.name is None:
        if options.out is not None:
            raise UserError(
                f"--out {options.out}: there is nothing to draw; expected a NAME too, such as learning_rate"
            )
        _list(console)
        return
    if options.name not in BREAKS:
        similar = difflib.get_close_matches(options.name, BREAKS, n=1)
        suggestion = f"; did you mean {similar[0]}?" if similar else ""
        raise UserError(f"NAME: {options.name!r}; expected one of {', '.join(BREAKS)}{suggestion}")
    if options.seed < 0:
        raise UserError(f"--seed: {options.seed}; expected a whole number of 0 or more")
    if options.out is None:
        _show(console, options.name, options.seed, ask=not options.yes)
        return
    suffix = Path(options.out).suffix
    if suffix.lower() not in curves.FORMATS:
        raise UserError(f"--out {options.out}: has the suffix {suffix!r}; expected one of {', '.join(curves.FORMATS)}")
    with folder.claim_file(options.out, Path(), overwrite=options.overwrite) as path:
        runs = _show(console, options.name, options.seed, ask=not options.yes)
        from .breaks import picture

        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        picture.draw(path, runs, f"{options.name}: {BREAKS[options.name]().summary}", BREAKS[options.name]().score_name)
        console.print(f"\nBoth trainings are drawn in {path}.", soft_wrap=True)


def _list(console: Console) -> None:
    console.print(f"usage: {PROG} NAME\n")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    for name, function in BREAKS.items():
        table.add_row(name, function().summary)
    console.print(table)


def _show(console: Console, name: str, seed: int, *, ask: bool) -> dict[str, Run]:
    """Ask, run both trainings, and print what happened and why."""
    subject = BREAKS[name]()
    console.print(Text(f"{name}: {subject.summary}", style="bold"))
    _section(console, "What do you expect?", subject.question)
    for letter, (text, _) in zip(LETTERS, subject.choices, strict=True):
        _paragraph(console, f"{letter}  {text}", f"{letter}  ")
    prediction = _prediction() if ask and sys.stdin.isatty() and console.is_terminal else ""
    runs = {"correct": run(subject.correct, seed), "broken": run(subject.broken, seed)}
    _measures(console, subject, runs)
    _compare(console, subject, prediction, runs)
    sentences = [text for holds, text in subject.statements(*runs.values()) if holds]
    _section(console, "What happened", *(f"- {text}" for text in sentences))
    _section(console, "Why", subject.why)
    _code(console, subject)
    _section(console, "How to recognize it", subject.recognize)
    _section(console, "How to fix it", subject.fix)
    return runs


def _prediction() -> str:
    """Return the learner's line; empty at the end of the input."""
    try:
        return input(f"\nYour prediction ({', '.join(LETTERS)}, or a sentence): ").strip()
    except EOFError:
        return ""


def _section(console: Console, title: str, *paragraphs: str) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    for text in paragraphs:
        _paragraph(console, text, "- " if text.startswith("- ") else "")


def _paragraph(console: Console, text: str, mark: str = "") -> None:
    """Print a wrapped and indented paragraph; its later lines are aligned after `mark`, its beginning."""
    indent = {"initial_indent": "  ", "subsequent_indent": " " * (2 + len(mark))}
    console.print(textwrap.fill(text, console.width, break_on_hyphens=False, **indent))  # type: ignore[arg-type]


def _measures(console: Console, subject: Break, runs: dict[str, Run]) -> None:
    """Print the measures of some epochs, the correct training above the broken one."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    layered = [f"{measure}\n{layer}" for measure in ("|grad|", "update") for layer in ("hidden", "output")]
    for column in ("epoch", "", "loss", subject.score_name, *layered, "dead"):
        table.add_column(column, justify="left" if column == "" else "right", vertical="bottom", no_wrap=True)
    for number in SHOWN:
        for kind, trained in runs.items():
            cells = _cells(trained.epochs[number - 1], trained.units, percent=subject.score_name == "accuracy")
            table.add_row(str(number) if kind == "correct" else "", Text(kind, style=COLORS[kind]), *cells)
    console.print()
    console.print(Text("The run", style="bold"))
    console.print(Padding(table, (0, 0, 0, 2)))
    console.print()
    _paragraph(
        console,
        "Means over the steps of an epoch: the loss, the norm of each weight's gradient, | |, which is the root of the sum of"
        " squares, and the update, |change| / |weight|."
        f" Dead units are 0 for every training image. {subject.score_note}",
    )


def _cells(epoch: EpochRecord, units: int, *, percent: bool) -> list[str]:
    numbers = [f(layer) for f in (epoch.gradient, epoch.ratio) for layer in ("hidden", "output")]
    score = f"{epoch.score:.1%}" if percent else f"{epoch.score:.2f}"
    return [_number(epoch.loss, 4), score, *map(_number, numbers), f"{epoch.dead} of {units}"]


def _number(x: float, digits: int = 2) -> str:
    """Return a number with few digits; "0" means exactly 0."""
    return f"{x:.{digits}g}"


def _compare(console: Console, subject: Break, prediction: str, runs: dict[str, Run]) -> None:
    """Print the prediction beside the choice that describes what happened."""
    answer = subject.answer(*runs.values())
    if answer is None:
        return
    observed = f"Observed: {LETTERS[answer]}  {subject.choices[answer][0]}"
    if not prediction:
        _section(console, "The answer", observed)
        return
    letter = prediction.lower().rstrip(").")
    chosen = f"{letter}  {subject.choices[LETTERS.index(letter)][0]}" if letter in tuple(LETTERS) else prediction
    _section(console, "Your prediction", f"Expected: {chosen}", observed)


def _code(console: Console, subject: Break) -> None:
    console.print()
    console.print(Text("The lines that differ", style="bold"))
    for kind, lines in subject.code().items():
        for i, line in enumerate(lines or ["(these lines are missing)"]):
            label = kind if i == 0 else ""
            console.print(Text(f"  {label:<9}{line}", style=COLORS[kind]), soft_wrap=True)
