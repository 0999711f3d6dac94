"""Runs a check in a process of its own, with a time limit, and shows what the learner's program prints.

At its end, the processes that the program started are killed: those of its
process group, and on Linux those that inherited its environment.
"""

from __future__ import annotations

import os
import re
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import minigrad

from ... import blas
from ...runs.errors import printable
from .catalog import Exercise
from .outcome import Outcome

CHECK = "MINIGRAD_CHECK"  # the environment variable that marks the processes of a check
GRACE = 5  # seconds after the time limit in which the process can report where it was
MOST_LINES, LONGEST_LINE = 40, 200  # of what the learner's program prints
MOST_BYTES = 1 << 20  # of a report
LIBRARY_LOG = re.compile(
    rb"WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d|I0000 "
)  # TensorFlow writes them at its start
ONE_CORE = dict.fromkeys((*blas.VARIABLES, "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")


def run(
    exercise: Exercise, file: Path, show: Callable[[str], None], seconds: int | None = None
) -> tuple[Outcome, float]:
    """Check a learner's file.

    Args:
        exercise: the exercise.
        file: the learner's file.
        show: is called with each line that the learner's program prints.
        seconds: the time limit; None means that of the exercise.

    Returns:
        The outcome, and the seconds that the check took.
    """
    start, limit = time.monotonic(), seconds or exercise.seconds
    reader, writer = os.pipe()
    arguments = [str(writer), exercise.name, str(file.absolute()), str(limit), str(os.getpid())]
    mark = secrets.token_hex(16)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", exercise.worker, *arguments],
            cwd=file.parent,
            env=_environment() | {CHECK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
            start_new_session=True,  # Ctrl-C ends this process, which then ends the group of the other one
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        report = _follow(process, reader, start + limit + GRACE, show)
    finally:
        _end(process, mark)
        os.close(reader)
    outcome = Outcome.from_json(report) if report is not None else Outcome(False, _too_long(limit))
    return outcome or Outcome(False, _ended(process)), time.monotonic() - start


def _environment() -> dict[str, str]:
    """Return the environment of the checking process: one core, and this minigrad, wherever it was imported from."""
    path = [str(Path(minigrad.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    plain = {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:replace"}
    return {**os.environ, **ONE_CORE, **quiet, **plain}


def _follow(
    process: subprocess.Popen[bytes], reader: int, deadline: float, show: Callable[[str], None]
) -> bytes | None:
    """Return the report; None if there is none at the deadline. Shows the output meanwhile."""
    assert process.stdout is not None
    output, printed = process.stdout.fileno(), Printed(show)
    report = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        selector.register(output, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                printed.end()
                return report or None
            # After the report, a process that the program started may keep its output open.
            events = selector.select(left if reader in selector.get_map() else min(left, 0.1))
            for key, _ in events:
                data = os.read(key.fd, 1 << 16)
                if key.fd == output:
                    printed.add(data)
                else:
                    report = (report + data)[:MOST_BYTES]
                if not data:
                    selector.unregister(key.fd)
            if reader not in selector.get_map() and process.poll() is not None:
                with suppress(
                    OSError
                ):  # what was printed before the end; a process that it started may keep the pipe open
                    os.set_blocking(output, False)
                    printed.add(os.read(output, 1 << 16))
                break
    printed.end()
    return report


class Printed:
    """Shows the first lines of what a program prints, with control characters escaped."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show, self.rest, self.lines = show, b"", 0

    def add(self, data: bytes) -> None:
        """Show the lines that are complete."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        self.rest = self.rest[: 4 * LONGEST_LINE]

    def end(self) -> None:
        """Show the last line, and how many were left out."""
        if self.rest:
            self._line(self.rest)
        if self.lines > MOST_LINES:
            self.show(f"... and {self.lines - MOST_LINES:,} more lines")

    def _line(self, line: bytes) -> None:
        if LIBRARY_LOG.match(line):
            return
        self.lines += 1
        if self.lines <= MOST_LINES:
            text = printable(line.decode("utf-8", "replace").expandtabs(4).rstrip("\r"))
            self.show(text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} ...")


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End the process and those that it started. `mark` is the value of `CHECK` in their environment."""
    with suppress(subprocess.TimeoutExpired):
        if process.poll() is None and sys.exc_info()[0] is None:
            process.wait(1)  # it has sent its report, and ends
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for environment in Path("/proc").glob("[0-9]*/environ"):  # on Linux, those that have left the process group
        with suppress(OSError):
            if f"{CHECK}={mark}".encode() in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()


def _too_long(seconds: int) -> str:
    return f"The time limit of {seconds} seconds is exceeded, so the check was ended."


def _ended(process: subprocess.Popen[Any]) -> str:
    """Describe a process that ended without a report."""
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return f"The program ended before the check was complete: the system stopped it with {name}."
    return f"The program ended before the check was complete, with exit status {process.returncode}."
