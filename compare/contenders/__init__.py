"""The contenders: one file each, in this folder.

To add a framework, add a file with a class `Contender` that extends
`contenders.base.Contender`; its name is the file's.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from .base import Contender

# These run unless others are asked for, in this order.
DEFAULT = ("minigrad", "by_hand", "torch", "lightning", "keras")


def names() -> list[str]:
    """All contenders: the default ones in order, then the others."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py") if path.stem != "base")
    return [*DEFAULT, *(name for name in found if name not in DEFAULT)]


def on_this_machine() -> list[str]:
    """Those who compute on a GPU, if there is one that they can use."""
    return [name for name in names() if find(name).device == "gpu" and find(name).missing() is None]


def find(name: str) -> type[Contender]:
    """The class of a contender; importing it imports no framework."""
    return importlib.import_module(f"{__name__}.{name}").Contender  # type: ignore[no-any-return]
