"""The arguments of a stage in a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigrad.datasets import Dataset
from minigrad.recipes import Recipe

from ..contenders.base import Contender, Weights
from .turns import Turns


@dataclass(frozen=True)
class Task:
    """The arguments of a stage.

    Attributes:
        contender: loaded, not yet built.
        recipe: with the job's seed.
        data: the data set, memory-mapped.
        weights: the starting weights, float64.
        out: the job's folder.
        options: the job's options.
        import_seconds: seconds from the start of the process until the framework was loaded.
        turns: the turns of this process.
    """

    contender: Contender
    recipe: Recipe
    data: Dataset
    weights: Weights
    out: Path
    options: dict[str, Any]
    import_seconds: float
    turns: Turns
