"""The errors that a command reports in one sentence, and the exit status of a command."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence

from .signals import Termination
from .streams import lasting_streams

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


class UnwritableError(UserError):
    """A file cannot be written: the disk is full, or its folder was removed or does not permit writing.

    Args:
        path: the file or folder.
        error: the system's error.
    """

    def __init__(self, path: object, error: OSError) -> None:
        super().__init__(
            f"{path}: can't be written ({reason(error)}); expected a folder that can be written, with free space"
        )


# The errors of a file system that end a command with one sentence, wherever they occur.
SYSTEM_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE),
}


def reason(error: OSError) -> str:
    """Return why the system refused an operation, such as "No space left on device"."""
    return error.strerror or " ".join(str(error).split())[:200] or type(error).__name__


class Stopped(Exception):
    """Ctrl-C, SIGTERM or SIGHUP ended a run; the message says what is kept and how to continue."""


def printable(message: object) -> str:
    """Return a text with line breaks, control characters and bytes that are not UTF-8, which a file may contain, escaped."""
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
        0 on success; 2 after a `UserError`, an error of the file system, or if standard output could not be written; or the
        shell's number for an interruption: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP. Any other exception is a
        bug and keeps its traceback.
    """
    status = 0
    try:
        with lasting_streams(prog) as problems, Termination() as termination:
            status = _status(prog, main, argv, extra, termination)
    except SystemExit as end:  # --help
        if end.code or not problems:
            raise
    return status or (2 if problems else 0)


def _status(
    prog: str,
    main: Callable[[Sequence[str]], None],
    argv: Sequence[str] | None,
    extra: str | None,
    termination: Termination,
) -> int:
    """Call `main(argv)`, print an error as one sentence, and return the exit status."""
    try:
        _refuse_lost_folder()
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
        return termination.status
    except KeyboardInterrupt:
        print(f"\n{prog}: stopped", file=sys.stderr)
        return termination.status
    except Exception as error:
        if termination.received is not None:  # a library has turned the interruption into an error of its own
            print(f"\n{prog}: stopped", file=sys.stderr)
            return termination.status
        if not isinstance(error, OSError) or error.errno not in SYSTEM_ERRORS:
            raise
        path = "a file can't be read or written" if error.filename is None else os.fsdecode(error.filename)
        print(f"{prog}: error: {printable(path)}: {printable(reason(error))}", file=sys.stderr)
        return 2
    return 0 if termination.received is None else termination.status


def _refuse_lost_folder() -> None:
    """Check that the current folder exists, since libraries ask for it.

    Raises:
        UserError: the folder was removed.
    """
    try:
        os.getcwd()  # noqa: PTH109
    except OSError as error:
        raise UserError("the current folder no longer exists; expected a folder that exists, see cd") from error
