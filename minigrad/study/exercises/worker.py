"""The checking process: runs the learner's file and its check, and sends the outcome through a pipe.

`python -m minigrad.study.exercises.worker DESCRIPTOR EXERCISE FILE SECONDS PARENT`
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, ModuleType

from ...runs.signals import end_with_parent
from .loading import load
from .outcome import Outcome, TimeUp, Wrong, describe

Check = Callable[[ModuleType], str]  # raises Wrong, or returns what was reached
MEMORY = 4 << 30  # bytes of address space, so that a list that grows without end does not stop the machine
LAST_LINES = 4  # of a trace


def examine(path: Path, check: Check) -> Outcome:
    """Run a learner's file and its check, and describe what happened."""
    try:
        return Outcome(True, check(load(path)))
    except Wrong as wrong:
        return Outcome(False, wrong.message, wrong.values, wrong.hint, _trace(wrong.__cause__, path.parent))
    except TimeUp as error:
        trace = _trace(error, path.parent)
        return Outcome(False, f"{error}.", [], "Is there a loop that does not end, or that does far too much?", trace)
    except NotImplementedError as error:
        return _unwritten(error, path)
    except SyntaxError as error:
        return _syntax_error(error, path)
    except BaseException as error:  # the learner's file may raise anything, also SystemExit
        return Outcome(False, f"{describe(error)}.", [], "", _trace(error, path.parent))


def _trace(error: BaseException | None, folder: Path) -> list[tuple[str, int, str, str]]:
    """Return the lines of an exception's traceback that are in the learner's folder: the last ones of many."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    lines = [(Path(f.filename).name, f.lineno or 0, f.name, f.line or "") for f in frames if _is_in(f.filename, folder)]
    once = [line for i, line in enumerate(lines) if lines[i + 1 : i + 2] == [] or line[:2] != lines[i + 1][:2]]
    return once[-LAST_LINES:]  # a comprehension has a frame of its own, with the same line


def _is_in(file: str, folder: Path) -> bool:
    return Path(file).parent == folder


def _unwritten(error: NotImplementedError, path: Path) -> Outcome:
    """Describe a function that still has the stub's `raise NotImplementedError`."""
    trace = _trace(error, path.parent)
    if not trace:
        return Outcome(False, f"{describe(error)}.")
    file, line, function, _ = trace[-1]
    return Outcome(False, f"{function}, in {file}, line {line}, is not written yet.")


def _syntax_error(error: SyntaxError, path: Path) -> Outcome:
    """Describe a file that is not Python, with the line and the position."""
    file = Path(error.filename or path.name).name
    line = "" if error.lineno is None else f", line {error.lineno}"
    message = f"{file}{line}: {type(error).__name__}: {error.msg}."
    values = []
    if error.text:
        values = [("", error.text.rstrip("\n")), ("", " " * (max(error.offset or 1, 1) - 1) + "^")]
    return Outcome(False, message, values)


def serve(checks: Mapping[str, Check], memory: int | None = MEMORY) -> None:
    """Check one exercise as the command line says, send its outcome, and end this process.

    Args:
        checks: the check of each exercise.
        memory: the largest address space in bytes; None for libraries that reserve much more than they use.
    """
    descriptor, exercise, file, seconds, parent = sys.argv[1:]
    end_with_parent(int(parent))
    path = Path(file)
    sys.path.append(str(path.parent))  # modules that the learner wrote; at the end, so that they hide no others
    _limit_time(int(seconds))
    if memory is not None:
        _limit_memory(memory)
    try:
        outcome = examine(path, checks[exercise])
    except TimeUp as error:  # while another exception was described
        outcome = Outcome(False, f"{error}.")
    signal.setitimer(signal.ITIMER_REAL, 0)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    with os.fdopen(int(descriptor), "wb") as pipe:
        pipe.write(outcome.to_json())
    os._exit(0)  # neither threads of the learner nor the end of a library can delay it


def _limit_time(seconds: int) -> None:
    """Raise `TimeUp` in the learner's code after some seconds."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise TimeUp(f"The time limit of {seconds} seconds is exceeded")

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory(size: int) -> None:
    with suppress(ImportError, ValueError, OSError):  # not every system has such a limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))


if __name__ == "__main__":
    from .checks import CHECKS

    serve(CHECKS)
