"""What `compare` asks of a framework, and all that it knows of one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import datasets
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe
from minigrad.recipes.schema import Augment

Weights = Mapping[str, np.ndarray]

# Images, the same for all, since it decides how much memory a convolutional network takes.
PREDICTED_AT_ONCE = 1000


class Watch:
    """Looks on while a contender trains; this one sees nothing.

    `every_step` says whether it must be called after each single step, or
    may be called after several that the framework ran in one go.
    """

    every_step = False

    def wants_gradients(self) -> bool:
        """Whether the step that comes is one whose gradients are looked at."""
        return False

    def after(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        """`steps` more are done; the rest are functions, called only where the answer is wanted."""


@dataclass(frozen=True)
class Batches:
    """The training images, which of them each step sees, and how they are moved: the same for every contender."""

    train: Split
    batch_size: int
    seed: int
    epochs: int
    augment: Augment = "none"

    def order(self, epoch: int) -> list[np.ndarray]:
        """The epoch's index batches, counted from 0."""
        return list(datasets.batches(len(self.train.labels), self.batch_size, self.seed, epoch))

    def shifts(self, epoch: int) -> np.ndarray | None:
        """How far each image is moved in the epoch, (n, 2) pixels down and right; None where the recipe moves none."""
        if self.augment == "none":
            return None
        return datasets.epoch_shifts(len(self.train.labels), self.seed, epoch)

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.epochs * datasets.steps_per_epoch(len(self.train.labels), self.batch_size)


class Contender:
    """One framework. Methods are called in the order they stand here; framework imports stand inside them."""

    title = ""  # how it is called in tables
    trains_by = ""  # the path that its training takes
    needs: tuple[str, ...] = ()  # packages
    install = ""  # the command that brings them
    environment: Mapping[str, str] = {}  # set before its process starts
    apart = False  # whether its parity is reported without entering the verdict

    @classmethod
    def missing(cls) -> str | None:
        """A sentence if a package is missing, else None."""
        absent = [name for name in cls.needs if importlib.util.find_spec(name) is None]
        return f"needs {' and '.join(absent)}: {cls.install}" if absent else None

    @classmethod
    def misfit(cls, recipe: Recipe) -> str | None:
        """A sentence if the recipe asks for what it does not know, else None."""
        return None

    def load(self) -> None:
        """Import the framework."""

    def build(self, recipe: Recipe, data: Dataset, weights: Weights, dtype: str) -> None:
        """Make the network of the recipe with these weights, in float32 or float64."""
        raise TypeError(f"{type(self).__name__} has no build")

    def fit(self, batches: Batches, watch: Watch) -> None:
        """Train by the framework's own path over exactly these batches, counting loss and accuracy as it goes."""
        raise TypeError(f"{type(self).__name__} has no fit")

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits, (n, classes), of raw images."""
        raise TypeError(f"{type(self).__name__} has no predict")

    def describe(self) -> dict[str, Any]:
        """`version` of the framework, and the number of `parameters`, counted."""
        raise TypeError(f"{type(self).__name__} has no describe")
