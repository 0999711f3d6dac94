"""SIGTERM and SIGHUP end a command as Ctrl-C does: nothing is left behind, and a sentence says how to continue."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
# `timeout` and a closing terminal send a signal to the process, and again to its group. A signal that is repeated later
# than this means that the command takes too long to end.
REPEAT_SECONDS = 2.0


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP asked the command to end."""


class Termination:
    """A context in which the first SIGTERM or SIGHUP raises `Terminated` in the main thread.

    A signal that is repeated after `REPEAT_SECONDS` ends the process at once.
    A signal that is ignored at the start stays ignored, as SIGHUP under `nohup`.

    Attributes:
        received: the first signal; None before.
        parent: the process that gets the signals instead, since it ends this one; None without one.
    """

    current: ClassVar[Termination | None] = None

    def __init__(self) -> None:
        self.received: int | None = None
        self.parent: int | None = None
        self.process, self.time = os.getpid(), 0.0
        self.numbers: list[signal.Signals] = []

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():  # other threads can't set handlers
            self.numbers = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
        self.outer, Termination.current = Termination.current, self
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        Termination.current = self.outer
        if self.received is None:  # otherwise a repeated signal must not change the exit status
            for number in self.numbers:
                signal.signal(number, signal.SIG_DFL)

    @property
    def status(self) -> int:
        """The exit status of an interrupted command: 128 + the signal; 130 after Ctrl-C."""
        return 128 + (self.received or signal.SIGINT)

    def install(self) -> None:
        """Install the handlers."""
        for number in self.numbers:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:
            _end(number)  # a fork of the command
        elif self.parent is not None:
            _end(number) if os.getppid() != self.parent else os.kill(self.parent, number)
        elif self.received is None:
            self.received, self.time = number, time.monotonic()
            raise Terminated
        elif time.monotonic() - self.time > REPEAT_SECONDS:
            _end(number)


def _end(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def reinstall() -> None:
    """Handle SIGTERM and SIGHUP in this package again, after a library has replaced the handlers of a command."""
    if Termination.current is not None and threading.current_thread() is threading.main_thread():
        Termination.current.install()


def received() -> bool:
    """Return whether SIGTERM or SIGHUP has asked the running command to end."""
    return Termination.current is not None and Termination.current.received is not None


def end_with_parent(parent: int | None = None) -> None:
    """Make the system end this process when its parent ends for any reason. Linux only.

    Args:
        parent: the process that must be the parent; if it is not, it has ended already. None does not check.
    """
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def follow(parent: int) -> None:
    """Let `parent`, which started this process, decide: it gets the signals of this process, which ends with it."""
    end_with_parent(parent)
    if Termination.current is not None:
        Termination.current.parent = parent


@contextmanager
def deferred() -> Iterator[None]:
    """A context in which Ctrl-C, SIGTERM and SIGHUP are held back; they take effect at its end.

    For code that an exception in the middle would crash, such as the import of
    a C++ library, or after which files would be left behind.
    """
    times: dict[int, float] = {}

    def record(number: int, frame: FrameType | None) -> None:
        if time.monotonic() - times.setdefault(number, time.monotonic()) > REPEAT_SECONDS:
            _end(number)

    before = _replace(lambda _: record)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in times:
            before[number](number, None)


Handler = Callable[[int, FrameType | None], Any]


def _replace(wrap: Callable[[Handler], Handler]) -> dict[int, Handler]:
    """Replace the handlers of Ctrl-C, SIGTERM and SIGHUP that are functions; return the earlier ones."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {int(number): signal.getsignal(number) for number in (signal.SIGINT, *SIGNALS)}
    before: dict[int, Handler] = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number, handler in before.items():
        signal.signal(number, wrap(handler))
    return before


class Interruption:
    """A context in which Ctrl-C, SIGTERM and SIGHUP raise an exception as before, and are recorded.

    Python raises the exception in the code that is running at that moment. If
    a library catches it with a bare `except`, work continues. `raise_again`
    then raises it again.
    """

    def __init__(self) -> None:
        self.happened = False

    def __enter__(self) -> Interruption:
        self.before = _replace(self._recording)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def raise_again(self) -> None:
        """Raise KeyboardInterrupt if one of the signals arrived in this context."""
        if self.happened:
            raise KeyboardInterrupt

    def _recording(self, handler: Handler) -> Handler:
        def handle(number: int, frame: FrameType | None) -> None:
            self.happened = True
            handler(number, frame)

        return handle
