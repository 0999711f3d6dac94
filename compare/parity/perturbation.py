"""Perturbs a training by rounding errors: the input, the starting weights, the weights after every step, and the rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe

from ..contenders.base import Observer, Weights
from .tolerances import EPS

if TYPE_CHECKING:
    from ..contenders import minigrad

# Sizes of the errors, in multiples of EPS; see `tolerances`.
ULPS = 16
RATE_ULPS = 64
RUNS = ((0, 1), (0, -1), (1, 1), (1, -1))  # seed and sign of each perturbed run
BLOCK = 4096  # number of images that are perturbed at once, which limits the memory


@dataclass
class Perturbation:
    """Multiplies each element of an array by 1 + d or 1 - d, at random, where d is `ULPS * EPS`.

    A zero remains a zero. The second perturbation of a pair, with the same seed and the other sign, moves each element
    in the opposite direction.

    Args:
        seed: selects the directions.
        sign: 1 or -1.
    """

    seed: int
    sign: int

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.size = np.float32(self.sign * ULPS * EPS)

    def __call__(self, array: np.ndarray) -> None:
        """Perturb an array of floats in place."""
        signs = self.rng.integers(0, 2, array.shape, np.int8)
        array *= 1 + self.size * (2 * signs - 1).astype(array.dtype)

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe with another learning rate."""
        rate = recipe.model.learning_rate * (1 + self.sign * RATE_ULPS * EPS)
        return replace(recipe, model=replace(recipe.model, learning_rate=rate))

    def data(self, data: Dataset) -> Dataset:
        """Return the data set with perturbed training images, scaled, as float32."""
        images, labels = data.train
        scaled = np.empty(images.shape, np.float32)
        for start in range(0, len(images), BLOCK):
            block = scaled[start : start + BLOCK]
            np.multiply(images[start : start + BLOCK], np.float32(data.input_scale), out=block)
            self(block)
        return replace(data, train=Split(scaled, labels))

    def weights(self, weights: Weights) -> dict[str, np.ndarray]:
        """Return perturbed copies of weights."""
        copies = {name: np.array(w) for name, w in weights.items()}
        for w in copies.values():
            self(w)
        return copies


class Perturbing(Observer):
    """Perturbs minigrad's weights after every step, once another observer has recorded it.

    Args:
        contender: minigrad, built.
        perturbation: the perturbation.
        recorder: the other observer.
    """

    every_step = True

    def __init__(self, contender: minigrad.Contender, perturbation: Perturbation, recorder: Observer) -> None:
        self.net, self.perturbation, self.recorder = contender.net, perturbation, recorder

    def wants_gradients(self) -> bool:
        return self.recorder.wants_gradients()

    def after_steps(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        self.recorder.after_steps(steps, loss, weights, gradients)
        for p in self.net.parameters():
            self.perturbation(p.data)
