"""Ctrl-C, heard even where a library swallows it."""

from __future__ import annotations

import signal
import threading
from typing import Any


class CtrlC:
    """As a context, note Ctrl-C as KeyboardInterrupt is raised.

    The exception can come up inside some library's bare `except`, where it is
    lost, and the run would go on for hours; `raise_again` brings it back.
    """

    asked = False

    def __enter__(self) -> CtrlC:
        self.in_charge = threading.current_thread() is threading.main_thread()
        if self.in_charge:
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self.in_charge:
            signal.signal(signal.SIGINT, self.before)

    def raise_again(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was noted."""
        if self.asked:
            raise KeyboardInterrupt

    def _note(self, *_: Any) -> None:
        self.asked = True
        raise KeyboardInterrupt
