"""python -m minigrad.study COMMAND; without arguments, an overview of the commands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from ..runs.errors import run_command
from ..runs.overview import overview

PROG = "python -m minigrad.study"
DESCRIPTION = """\
Learn how a network learns, with the engine that trains it: step through a real training step,
solve exercises, and watch trainings go wrong."""
READ_ON = "The guide: docs/study/ in the repository. Begin there, or with `start`."
COMMANDS = {
    "step": "write an HTML page that plays one training step, and trains the network in the browser",
    "start": "create a folder with the exercises",
    "next": "show the next exercise that is not solved",
    "check": "check the solution of an exercise",
    "hint": "show a hint",
    "solution": "show the solution of an exercise",
    "reset": "restore an exercise as it was at the start",
    "break": "run a training with a known mistake, and watch its symptoms",
}
# The module of each command, imported only when the command runs; its `main(argv)` gets the arguments after the command.
MODULES = {"step": "step", "break": "breaking"}
EXERCISES = "exercises"  # the package of all other commands; its `main(argv)` also gets the command


def main(argv: Sequence[str]) -> None:
    """Print the overview or the version, or run one command."""
    if overview(argv, PROG, DESCRIPTION, COMMANDS, read_on=READ_ON):
        return
    name, *rest = argv
    if name in MODULES:
        importlib.import_module(f"minigrad.study.{MODULES[name]}").main(rest)
    else:
        importlib.import_module(f"minigrad.study.{EXERCISES}").main(argv)


def command(argv: Sequence[str]) -> int:
    """Call `main`, print an error as one sentence on stderr, and return the exit status."""
    name = argv[0] if argv else ""
    return run_command(f"{PROG} {name}" if name in COMMANDS else PROG, main, argv)


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
