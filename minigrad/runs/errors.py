"""One sentence for a mistake of the user's, and what every command does with it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence

# Keras can stand on these; each is an extra of its own.
BACKENDS = {"jax": "jax", "torch": "lightning", "tensorflow": "keras"}


class UserError(Exception):
    """Something the user gave can't be used.

    The message is one sentence that names the thing, the value and what was
    expected. A command prints it and exits with status 2, without a traceback.
    """


def need_tensorboard() -> None:
    """Check that --tensorboard can be kept.

    Raises:
        UserError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("--tensorboard: true, but TensorBoard is not installed; expected pip install tensorboard first")


class Stopped(Exception):
    """Ctrl-C ended a run; the message says what is kept and how to go on."""


def _printable(message: object) -> str:
    """One line, whatever a file's own words would do to a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(message))


def run_command(
    prog: str,
    main: Callable[[Sequence[str]], None],
    argv: Sequence[str] | None = None,
    extra: str | None = None,
) -> int:
    """Call `main(argv)` and turn its end into an exit status.

    `extra` names the optional dependencies that the command stands on, for
    the sentence where one is missing.

    Returns 0, or 2 after a `UserError`, or 130 (the shell's number for
    Ctrl-C) after an interruption. Any other exception is a bug of ours and
    keeps its traceback.
    """
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
        return 130
    except KeyboardInterrupt:
        print(f"\n{prog}: stopped", file=sys.stderr)
        return 130
    return 0
