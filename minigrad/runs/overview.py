"""The parts of a command line that need no framework: the overview, the version and the error for unknown commands."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import minigrad

from .errors import UserError

# What a command does, in the same words in all packages.
SUMMARIES = {
    "train": "train the network of a recipe in a run folder, and test it",
    "fit": "train the network of a recipe in a run folder, and test it",
    "validate": "measure loss and accuracy of a trained network on the validation images",
    "test": "measure loss and accuracy of a trained network on the test images, and draw its mistakes",
    "predict": "write the predictions of a trained network for images",
    "export": "write a trained network in formats for deployment, and check each file",
    "plot": "draw the learning curves of one or several runs",
}


def summaries(*commands: str) -> dict[str, str]:
    """Return what each command does, by its name, for `overview`."""
    return {name: SUMMARIES[name] for name in commands}


def description_of(command: str) -> str:
    """Return what a command does as a sentence, for its --help."""
    return f"{SUMMARIES[command][0].upper()}{SUMMARIES[command][1:]}."


def overview(
    argv: Sequence[str],
    prog: str,
    description: str,
    commands: Mapping[str, str],
    *,
    read_on: str = "",
    own_options: bool = False,
) -> bool:
    """Handle a command line that needs no framework, without importing one.

    Prints the overview if `argv` is empty or starts with --help, and the
    version if it starts with --version.

    Args:
        argv: the arguments after the program's name.
        prog: how the program is called, such as "python -m keras_model".
        description: what the package is, one or two sentences.
        commands: the help of each command, by its name, in the order in which they are listed.
        read_on: where to read more, printed at the end of the overview.
        own_options: whether the package's own parser accepts options before
            the command. If False (the default), such an option is an error.

    Returns:
        True if `argv` has been handled; False if it starts with a command
        (or with one of the package's own options), which the caller must run.

    Raises:
        UserError: the command is unknown. The message lists the commands and
            suggests the most similar one.

    Example:
        def main(argv: Sequence[str]) -> None:
            if overview(argv, PROG, DESCRIPTION, COMMANDS):
                return
            import keras
            ...
    """
    first = argv[0] if argv else "--help"
    if first in ("-h", "--help"):
        print(_text(prog, description, commands, read_on))
        return True
    if first == "--version":
        print(f"{prog.rpartition(' ')[2]} {minigrad.__version__}")
        return True
    if first in commands or (own_options and first.startswith("-")):
        return False
    similar = difflib.get_close_matches(first, commands, n=1)
    suggestion = f"; did you mean {similar[0]}?" if similar else ""
    raise UserError(f"{first!r} is not a command; expected one of {', '.join(commands)}{suggestion}")


def _text(prog: str, description: str, commands: Mapping[str, str], read_on: str) -> str:
    width = max(map(len, commands))
    lines = [f"usage: {prog} COMMAND [OPTIONS]", "", description, "", "commands:"]
    lines += [f"  {name:<{width}}  {summary}" for name, summary in commands.items()]
    lines += ["", f"{prog} COMMAND --help lists the options of a command; {prog} --version prints the version."]
    return "\n".join([*lines, read_on] if read_on else lines)
