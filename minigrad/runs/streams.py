"""Standard output and standard error that never end a command: a training is worth more than its messages."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Stream(io.FileIO):
    """A file descriptor to write to; what can't be written is discarded.

    Attributes:
        error: the first error; None if everything was written.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = self.error or error
            return memoryview(data).nbytes


@contextmanager
def lasting_streams(prog: str) -> Iterator[list[str]]:
    """A context in which writing to standard output and standard error raises no exception.

    Characters that the terminal cannot encode are written as `\\xb5`. If
    nobody reads the output any longer (`| head -1`) or its disk is full, the
    output is discarded. A stream that the process was started
    without is discarded as well. Streams that are not the process's own, such
    as those of a notebook or of a test, are not changed.

    Args:
        prog: the command's name, for the message if standard output could not be written although somebody reads it.

    Yields:
        A list, which contains that message when the context has ended.
    """
    problems: list[str] = []
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    opened = {name: _open(stream) for name, stream in before.items() if stream is getattr(sys, f"__{name}__")}
    for name, (stream, _) in opened.items():
        setattr(sys, name, stream)
    try:
        yield problems
    finally:
        for name, (stream, raw) in opened.items():  # standard output first
            stream.flush()
            if name == "stdout" and raw.error is not None and raw.error.errno != errno.EPIPE:
                problem = f"standard output: can't be written ({raw.error.strerror}), so some of the output is missing"
                problems.append(f"{prog}: error: {problem}; expected a place that can be written")
                print(problems[0], file=sys.stderr)
            setattr(sys, name, before[name])


def _open(stream: Any) -> tuple[io.TextIOWrapper, _Stream]:
    """Return a replacement for a standard stream, and the part of it that writes."""
    if stream is None:
        raw = _Stream(os.open(os.devnull, os.O_WRONLY), "w")
        return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True), raw
    stream.flush()
    raw = _Stream(stream.fileno(), "w", closefd=False)
    unbuffered, line_buffering = stream.write_through, stream.line_buffering
    options: dict[str, Any] = {"line_buffering": line_buffering, "write_through": unbuffered}
    buffer: Any = raw if unbuffered else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding=stream.encoding, errors="backslashreplace", **options), raw
