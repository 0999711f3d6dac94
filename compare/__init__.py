"""Trains a recipe's network in every framework, checks that they agree step by step, and measures their speed.

`compare.run` is the entry point in Python, `python -m compare` the one in the
shell. `compare.diff` and `python -m compare diff` compare two models of a
user. Importing this package imports no framework: each contender and each
model runs in a process of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["diff", "run"]

if TYPE_CHECKING:
    from .api import run
    from .porting.api import diff
else:  # hidden from type checkers, which would otherwise accept any name

    def __getattr__(name: str) -> Any:
        if name == "run":
            from .api import run

            return run
        if name == "diff":
            from .porting.api import diff

            return diff
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
