"""python -m minigrad train|predict|export|plot; without arguments, an overview of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from .runs.errors import run_command
from .runs.overview import overview, summaries

PROG = "python -m minigrad"
DESCRIPTION = """\
minigrad is reverse-mode automatic differentiation in NumPy, small enough to be read.
These commands train a digit classifier with it and use the trained network."""
READ_ON = """\
In Python: minigrad.train.fit. To learn how the engine works: python -m minigrad.study.
The guides: README.md and docs/ in the repository."""
COMMANDS = summaries("train", "predict", "export", "plot")
# The module of each command, imported only when the command runs.
MODULES = {
    "train": "minigrad.train",
    "predict": "minigrad.predict",
    "export": "minigrad.export",
    "plot": "minigrad.runs.plot",
}
EXTRAS = {"export": "onnx"}  # optional dependencies that a command needs


def main(argv: Sequence[str]) -> None:
    """Print the overview or the version, or run one command."""
    if overview(argv, PROG, DESCRIPTION, COMMANDS, read_on=READ_ON):
        return
    name, *rest = argv
    importlib.import_module(MODULES[name]).main(rest)


def command(argv: Sequence[str]) -> int:
    """Call `main`, print an error as one sentence on stderr, and return the exit status."""
    name = argv[0] if argv else ""
    return run_command(f"{PROG} {name}" if name in COMMANDS else PROG, main, argv, extra=EXTRAS.get(name))


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
