"""The commands on the exercises: start, next, check, hint, solution and reset."""

from __future__ import annotations

import ast
import importlib.util
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...recipes import Parser
from ...runs.errors import UserError
from ...runs.files import expand
from . import feedback, folder, runner
from .catalog import BY_NAME, EXERCISES, Exercise, find
from .feedback import PROG, paragraph, say
from .folder import Folder
from .outcome import Outcome

NAME = "the exercise: its name, such as 04_backward, or its number; by default the next one"


def run(argv: Sequence[str]) -> None:
    """Run a command. `argv` is its name and its arguments.

    Raises:
        UserError: an argument is wrong, or there is no folder with exercises.
        SystemExit: status 1 if an exercise is not solved; status 0 after --help.
    """
    name, *rest = argv
    COMMANDS[name](rest)


def parse(command: str, description: str, argv: Sequence[str], argument: tuple[str, str, str] | None) -> str | None:
    """Parse the argument of a command.

    Args:
        command: the command.
        description: what it does.
        argv: its arguments.
        argument: the name of the argument, how often it is expected ("?": optional), and its help; None if there is none.
    """
    parser = Parser(prog=f"{PROG} {command}", description=description)
    if argument is None:
        parser.parse_args(argv)
        return None
    name, count, text = argument
    optional: dict[str, Any] = {"nargs": "?"} if count == "?" else {}
    parser.add_argument(name, type=str, help=text, **optional)
    value = parser.parse_args(argv)[name]
    return None if value is None else str(value)


# start


def start(argv: Sequence[str]) -> None:
    """Create a folder with the exercises, or add missing ones."""
    description = "Create a folder with the exercises. In such a folder, add those that are missing."
    name = parse(
        "start", description, argv, ("DIR", "?", f"the folder; by default {folder.DEFAULT}, or the current one")
    )
    current = folder.around(Path.cwd()) if name is None else None
    path = Path(os.path.relpath(current)) if current else expand(folder.DEFAULT if name is None else name)
    known = folder.has_exercises(path)
    exercises, added = folder.start(path)
    if not known:
        say(f"{len(added)} exercises are in {path}/.", "bold")
    else:
        names = f"Added: {', '.join(e.name for e in added)}" if added else "None is missing"
        paragraph(f"{'This folder' if path == Path() else f'{path}/'} has the exercises already. {names}.", indent=0)
    first = next((e for e in EXERCISES if not exercises.is_solved(e)), EXERCISES[0])
    say()
    say(f"1. Open {path / first.file} in an editor. The task is at the top of the file.")
    say(
        "2. Replace "
        + ("each `...` by a number." if first.name == "02_predict" else "`raise NotImplementedError` by your code.")
    )
    say(f"3. Check it:  {PROG} check")
    say()
    for command, text in (
        ("next", "the task of the next exercise"),
        ("check", "check up to the first that is not solved"),
        ("hint", "a hint for the next exercise"),
        ("solution 01", "the solution of an exercise"),
        ("reset 01", "undo your changes; a copy is kept"),
    ):
        say(f"{PROG} {command:<12} {text}", "", 2)
    say()
    show_where(path)
    paragraph(
        "Each exercise needs only earlier ones. The guide, docs/study/ in the repository, explains what each of them needs.",
        indent=0,
    )


def show_where(path: Path) -> None:
    """Print where the commands work, unless they work in the current folder."""
    if Path.cwd().is_relative_to(path.resolve()):
        return
    if path == Path(folder.DEFAULT):
        paragraph(f"The commands work in {path}/ and in the folder that contains it.", indent=0)
    else:
        say(f"The commands work in {path}/. Begin with:")
        say(f"cd {shlex.quote(str(path))}", "", 2)
    say()


# next and check


def here() -> Folder:
    """Return the learner's folder, with a path that is short to read."""
    exercises = folder.find(Path.cwd())
    return Folder(Path(os.path.relpath(exercises.path)), exercises.solved)


def next_(argv: Sequence[str]) -> None:
    """Show the next exercise."""
    parse("next", "Show the first exercise that is not solved.", argv, None)
    exercises = here()
    for exercise in EXERCISES:
        if exercises.is_solved(exercise):
            continue
        skipped = exercises.is_unchanged(exercise) or missing_library(exercise)
        if skipped or not check_one(exercises, exercise, quiet=True):
            show_task(exercises, exercise)
            return
    feedback.progress(exercises)
    feedback.all_solved()


def show_task(exercises: Folder, exercise: Exercise) -> None:
    """Print the task of an exercise."""
    feedback.heading(exercise)
    say()
    for line in (ast.get_docstring(ast.parse(exercise.stub)) or "").split("\n"):
        say(line, "", 2 if line else 0)
    say()
    say(f"Your file:  {exercises.file(exercise)}")
    say(f"To read:    docs/study/{exercise.chapter}.md in the repository")
    if missing := missing_library(exercise):
        say(f"To install: {missing}")
    say(f"Check it:   {PROG} check")
    feedback.progress(exercises)


def check(argv: Sequence[str]) -> None:
    """Check one exercise, or all up to the first that is not solved."""
    description = (
        "Check an exercise. Without a name, check from the first one to the first that is not solved; files that have"
        " not changed since they were checked are not checked again."
    )
    name = parse(
        "check", description, argv, ("NAME", "?", "the exercise, such as 04_backward or 4; by default see above")
    )
    exercises = here()
    if name is None:
        passed = check_in_order(exercises)
    else:
        exercise = find(name)
        if missing := missing_library(exercise):
            raise UserError(f"{exercise.name}: {missing}")
        passed = check_one(exercises, exercise)
    feedback.progress(exercises)
    left = next((e for e in EXERCISES if not exercises.is_solved(e)), None)
    if left is None:
        feedback.all_solved()
    elif passed:
        say(f"Next: {left.name}, see {PROG} next")
    if not passed:
        raise SystemExit(1)


def check_in_order(exercises: Folder) -> bool:
    """Check up to the first exercise that fails, except those whose libraries are missing; return whether all are solved."""
    passed = True
    for exercise in EXERCISES:
        if exercises.is_solved(exercise):
            continue
        if missing := missing_library(exercise):
            feedback.not_checked(exercise, missing)
            passed = False
        elif not check_one(exercises, exercise):
            return False
    return passed


def check_one(exercises: Folder, exercise: Exercise, quiet: bool = False) -> bool:
    """Check an exercise, print and record the outcome.

    Args:
        exercises: the learner's folder.
        exercise: the exercise.
        quiet: whether to print nothing if it is not solved.

    Returns:
        Whether it is solved.
    """
    digest = exercises.digest(exercise)
    outcome, seconds = unmet(exercises, exercise), 0.0
    if outcome is None:
        printed: list[str] = []
        outcome, seconds = runner.run(exercise, exercises.file(exercise), printed.append if quiet else show_printed())
    if outcome.solved:
        feedback.solved(exercise, outcome, seconds)
    elif not quiet:
        feedback.failed(exercise, outcome)
        feedback.after_failure(exercise)
    if exercises.digest(exercise) == digest:  # the files were not changed meanwhile
        exercises.record(exercise, digest if outcome.solved else None)
    return outcome.solved


def unmet(exercises: Folder, exercise: Exercise) -> Outcome | None:
    """Return the failure of an exercise that imports one that is not solved; None if all are."""
    for name in exercise.needs:
        if not exercises.is_solved(BY_NAME[name]):
            return Outcome(
                False,
                f"{exercise.name} imports your solution of {name}, which is not solved, or has changed since it was checked.",
                hint=f"Solve it first: {PROG} check {name}",
            )
    return None


def missing_library(exercise: Exercise) -> str:
    """Return which library of an exercise is not installed, and what installs it; empty if all are installed."""
    for library in exercise.requires:
        if importlib.util.find_spec(library) is None:
            return f"needs {library}, which is not installed; expected pip install '.[{exercise.extra}]' first"
    return ""


def show_printed() -> Callable[[str], None]:
    """Return a function that prints a line of the learner's program, with a heading before the first one."""
    lines = 0

    def show(line: str) -> None:
        nonlocal lines
        if not lines:
            say("Your program prints:", "dim")
        lines += 1
        say(f"  | {line}")

    return show


# hint, solution and reset


def named_or_next(exercises: Folder, name: str | None) -> Exercise:
    """Return the exercise of that name, or the first that is not solved; the last one if all are solved."""
    if name is not None:
        return find(name)
    return next((e for e in EXERCISES if not exercises.is_solved(e)), EXERCISES[-1])


def hint(argv: Sequence[str]) -> None:
    """Print the hint of an exercise."""
    name = parse("hint", "Print a hint.", argv, ("NAME", "?", NAME))
    exercise = named_or_next(here(), name)
    feedback.heading(exercise)
    for text in exercise.hint.strip().split("\n\n"):
        say()
        if text.startswith("    "):
            for line in text.split("\n"):
                say(line)
        else:
            paragraph(text)
    say()
    say(f"To read:       docs/study/{exercise.chapter}.md in the repository", "dim", 2)
    say(f"The solution:  {PROG} solution {exercise.name}", "dim", 2)


def solution(argv: Sequence[str]) -> None:
    """Print the solution of an exercise; nothing else, so that it can be written to a file."""
    name = parse("solution", "Print the solution. Your file is not changed.", argv, ("NAME", "?", NAME))
    print(named_or_next(here(), name).solution, end="")


def reset(argv: Sequence[str]) -> None:
    """Restore an exercise."""
    description = "Restore an exercise as it was at the start. A copy of your file is kept."
    name = parse("reset", description, argv, ("NAME", "1", "the exercise, such as 04_backward or 4"))
    exercises, exercise = here(), find(str(name))
    file = exercises.file(exercise)
    missing = not file.exists()
    backup = exercises.reset(exercise)
    if backup is not None:
        paragraph(f"{file} is as at the start. Your version is kept as {backup.name}.", indent=0)
    elif missing:
        say(f"{file} did not exist, and is restored.")
    else:
        say(f"{file} is as at the start already.")


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "start": start,
    "next": next_,
    "check": check,
    "hint": hint,
    "solution": solution,
    "reset": reset,
}
