"""The exercises: 15 small files that a learner completes, each checked in a process of its own.

`stubs/` has the files as `start` writes them, `solutions/` the same files
completed, and `hints/` a text per exercise. They are data: nothing imports
them. The commands are in `commands.py`, the checks in `checks/`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .loading import mine

__all__ = ["main", "mine"]


def main(argv: Sequence[str]) -> None:
    """Run a command on the exercises; `argv` is the command and its arguments."""
    from .commands import run  # imported here, because the learner's files import this package for `mine`

    run(argv)
