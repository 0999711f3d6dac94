"""The errors that a command reports in one sentence, and the exit status of a command."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence

from .signals import Termination

# The extra that installs each of Keras's backends.
BACKENDS = {"jax": "jax", "torch": "lightning", "tensorflow": "keras"}


class UserError(Exception):
    """An input of the user cannot be used.

    The message is one sentence that names the input, its value and what was
    expected. A command prints it and exits with status 2, without a traceback.
    """


def need_tensorboard() -> None:
    """Check that TensorBoard is installed, for --tensorboard.

    Raises:
        UserError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard: true, but TensorBoard is not installed; expected pip install tensorboard first")


class Stopped(Exception):
    """Ctrl-C, SIGTERM or SIGHUP ended a run; the message says what is kept and how to continue."""


def _printable(message: object) -> str:
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
        0 on success, 2 after a `UserError`, or the shell's number for an interruption: 130 after Ctrl-C, 143 after SIGTERM,
        129 after SIGHUP. Any other exception is a bug and keeps its traceback.
    """
    with Termination() as termination:
        try:
            main(sys.argv[1:] if argv is None else argv)
        except UserError as error:
            print(f"{prog}: error: {_printable(error)}", file=sys.stderr)
            return 2
        except ModuleNotFoundError as error:
            if extra is None:
                raise
            extra = BACKENDS.get(str(error.name), extra)
            print(f"{prog}: error: needs {error.name}; expected pip install '.[{extra}]' first", file=sys.stderr)
            return 2
        except Stopped as stopped:
            print(f"\n{prog}: stopped; {stopped}", file=sys.stderr)
            return termination.status
        except KeyboardInterrupt:
            print(f"\n{prog}: stopped", file=sys.stderr)
            return termination.status
        except Exception:
            # A library may have turned the interruption into an error of its own.
            if termination.received is None:
                raise
            print(f"\n{prog}: stopped", file=sys.stderr)
        return 0 if termination.received is None else termination.status
