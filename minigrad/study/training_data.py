"""The data of the tab that trains in the page."""

from __future__ import annotations

from typing import Any

from ..datasets import Dataset
from ..recipes import Recipe


def training(recipe: Recipe, data: Dataset) -> dict[str, Any] | None:
    return None
