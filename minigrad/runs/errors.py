"""The errors that a command reports in one sentence, and the exit status of a command."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence

# The extra that installs each of Keras's backends.
BACKENDS = {"jax": "jax", "torch": "lightning", "tensorflow": "keras"}


HALF_MESSAGE = 1000  # characters; longer messages are shortened to twice as many


class UserError(Exception):
    """An input of the user cannot be used.

    The message is one sentence that names the input, its value and what was
    expected. A command prints it and exits with status 2, without a traceback.
    Since the message may quote a file, control characters in it are escaped,
    and the middle of a very long message is left out.
    """

    def __init__(self, message: object = "") -> None:
        text = printable(message)
        super().__init__(text if len(text) <= 2 * HALF_MESSAGE else f"{text[:HALF_MESSAGE]} … {text[-HALF_MESSAGE:]}")


def need_tensorboard() -> None:
    """Check that TensorBoard is installed, for --tensorboard.

    Raises:
        UserError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard: true, but TensorBoard is not installed; expected pip install tensorboard first")


class Stopped(Exception):
    """Ctrl-C ended a run; the message says what is kept and how to continue."""


def printable(message: object) -> str:
    """Escape line breaks and control characters, which may come from a file."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(message))


def run_command(
    prog: str,
    main: Callable[[Sequence[str]], None],
    argv: Sequence[str] | None = None,
    extra: str | None = None,
) -> int:
    """Call `main(argv)` and return its exit status.

    Args:
        prog: the command's name, for the messages.
        main: the command.
        argv: its arguments; None takes those of the process.
        extra: the extra that installs the command's optional dependencies, for the message if one is missing.

    Returns:
        0 on success, 2 after a `UserError`, or 130, the shell's number for Ctrl-C, after an interruption. Any other
        exception is a bug and keeps its traceback.
    """
    try:
        main(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        extra = BACKENDS.get(str(error.name), extra)
        print(f"{prog}: error: needs {error.name}; expected pip install '.[{extra}]' first", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"\n{prog}: stopped; {stopped}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print(f"\n{prog}: stopped", file=sys.stderr)
        return 130
    return 0
