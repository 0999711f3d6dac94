"""python -m keras_model fit|test|predict."""

import signal
import sys
from collections.abc import Sequence
from typing import Any

from minigrad.runs import run_command

from .quiet import quiet_start


def main(argv: Sequence[str]) -> None:
    """Run one command."""
    asked = False

    def note(*_: Any) -> None:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        with quiet_start():
            from .cli import main
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:  # and swallowed by some library's bare `except` while it was imported
        raise KeyboardInterrupt
    main(argv)


if __name__ == "__main__":
    sys.exit(run_command("python -m keras_model", main, extra="keras"))
