"""The contenders, one file each in this folder.

To add a framework, add a file with a class `Contender` that extends
`contenders.base.Contender`. The name of the file is the name of the contender.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from minigrad.recipes import Recipe

from .base import Contender

# The contenders that run by default, in this order.
DEFAULT = ("minigrad", "by_hand", "torch", "lightning", "keras")


def names() -> list[str]:
    """Return the names of all contenders: the default ones in order, then the others."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py") if path.stem != "base")
    return [*DEFAULT, *(name for name in modules if name not in DEFAULT)]


def on_this_gpu() -> list[str]:
    """Return the contenders that compute on a GPU, if this machine has one that they can use."""
    return [name for name in names() if find(name).device == "gpu" and find(name).missing() is None]


def find(name: str) -> type[Contender]:
    """Return the class of a contender. This imports no framework."""
    return importlib.import_module(f"{__name__}.{name}").Contender  # type: ignore[no-any-return]


def unavailable(names: Iterable[str], recipe: Recipe) -> dict[str, str]:
    """Return the contenders that cannot take part, each with a sentence with the reason."""
    reasons = {name: find(name).unsupported(recipe) or find(name).missing() for name in names}
    return {name: reason for name, reason in reasons.items() if reason is not None}
