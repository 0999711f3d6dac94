"""What the commands print about an exercise and the outcome of its check."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from ...runs.errors import printable
from .catalog import EXERCISES, Exercise
from .folder import Folder
from .outcome import Outcome

PROG = "python -m minigrad.study"
WIDTH = 79


def say(text: str = "", style: str = "", indent: int = 0) -> None:
    """Print a line, with control characters escaped."""
    line = Text(" " * indent + printable(text), style)
    Console(highlight=False, markup=False, emoji=False, soft_wrap=True).print(line)


def paragraph(text: str, style: str = "", indent: int = 2) -> None:
    """Print a sentence or several, wrapped."""
    for line in textwrap.wrap(printable(text), WIDTH - indent, break_long_words=False, break_on_hyphens=False):
        say(line, style, indent)


def heading(exercise: Exercise) -> None:
    """Print the number and the name of an exercise."""
    say(f"Exercise {exercise.number} of {len(EXERCISES)}: {exercise.name}", "bold")


def solved(exercise: Exercise, outcome: Outcome, seconds: float) -> None:
    """Print that an exercise is solved."""
    say(f"{exercise.name:<18} solved  {seconds:4.1f} s  {outcome.message}".rstrip(), "green")


def not_checked(exercise: Exercise, reason: str) -> None:
    """Print why an exercise can't be checked."""
    say(f"{exercise.name:<18} not checked: {reason}", "yellow")


def failed(exercise: Exercise, outcome: Outcome) -> None:
    """Print why an exercise is not solved."""
    say(f"{exercise.name:<18} not solved yet", "yellow")
    say()
    paragraph(outcome.message)
    if outcome.trace:
        say()
        for file, line, function, code in outcome.trace:
            within = "" if function == "<module>" else f", in {function}"
            say(f"{file}, line {line}{within}", "dim", 4)
            say(code, "", 6)
    if outcome.values:
        say()
        width = max(len(name) for name, _ in outcome.values)
        for name, text in outcome.values:
            value_lines(name, text, width)
    if outcome.hint:
        say()
        paragraph(outcome.hint, "cyan")


def value_lines(name: str, text: str, width: int) -> None:
    """Print a name and a value of one or more lines."""
    for i, line in enumerate(text.split("\n")):
        say(f"{name if i == 0 else '':<{width}}  {line}".rstrip(), "", 4)


def after_failure(exercise: Exercise) -> None:
    """Print what to type after a failure."""
    say()
    say(f"A hint:    {PROG} hint {exercise.name}", "dim", 2)
    say(f"To read:   docs/study/{exercise.chapter}.md in the repository", "dim", 2)


def progress(folder: Folder) -> None:
    """Print how many exercises are solved."""
    count = sum(folder.is_solved(exercise) for exercise in EXERCISES)
    say()
    say(f"{count} of {len(EXERCISES)} solved  [{'#' * count}{'.' * (len(EXERCISES) - count)}]", "bold")


def all_solved() -> None:
    """Print that nothing is left to do."""
    say()
    paragraph(
        "All exercises are solved. You have built reverse-mode differentiation, and trained a network with it."
        " minigrad/tape.py contains the same loop, with broadcasting, dtypes and errors.",
        indent=0,
    )
