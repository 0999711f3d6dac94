"""The parts of a command line that need no framework: the overview, the version and the error for unknown commands."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import minigrad

from .errors import UserError


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
