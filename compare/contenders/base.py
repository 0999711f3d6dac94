"""What `compare` asks of a framework, and all that it knows of one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import datasets
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe
from minigrad.recipes.schema import Augment
from minigrad.runs import weights as weights_file

from .. import machine as devices

Weights = Mapping[str, np.ndarray]

# Images, the same for all, since it decides how much memory a convolutional network takes.
PREDICTED_AT_ONCE = 1024
# Layers without weights, and how what they make is called.
KINDS = ("conv", "conv_norm", "hidden", "hidden_norm")  # lists of layers, numbered from 0
FOLLOWING = {"pool": "pooled", "activation": "activation"}


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


class Trace:
    """Names what layers make, in the order of their calls; see `Contender.trace`."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.layer = ""

    def add(self, name: str, given: Any, made: Any) -> None:
        """A layer was given one array and made another; `pool` and `activation` follow the layer called before."""
        self.found.setdefault("scaled", given)
        if name in FOLLOWING:
            self.found[f"{self.layer} {FOLLOWING[name]}"] = made
        else:
            self.layer = name.replace("_norm", "")
            self.found[name] = made


def in_turn(masks: Sequence[np.ndarray]) -> Callable[[int], np.ndarray]:
    """Hands out masks (steps, batch, units), cut to a batch of n, as layers ask: each layer of a step, step by step."""
    turns = (mask[step] for step in range(len(masks[0])) for mask in masks)
    return lambda n: next(turns)[:n]


class Contender:
    """One framework. Methods are called in the order they stand here; framework imports stand inside them."""

    title = ""  # how it is called in tables
    trains_by = ""  # the path that its training takes
    needs: tuple[str, ...] = ()  # packages
    install = ""  # the command that brings them
    environment: Mapping[str, str] = devices.NO_GPU  # set before its process starts
    device = "cpu"  # or gpu
    open_by = ""  # what `fit_open` does otherwise than `fit`, whatever the recipe, in a few words
    code: tuple[str, ...] = ()  # what a user of it writes for a step and its loop, for `compare.code`
    user_code: tuple[str, ...] = ()  # likewise for all of a recipe: network, optimiser, data, loop
    apart = False  # whether its parity is reported without entering the verdict
    masks = False  # whether dropout's masks can be given to it

    @classmethod
    def missing(cls) -> str | None:
        """A sentence if a package is missing, or the GPU, else None."""
        absent = [name for name in cls.needs if importlib.util.find_spec(name) is None]
        if absent:
            return f"needs {' and '.join(absent)}: {cls.install}"
        if cls.device == "gpu" and devices.gpu() is None:
            return "needs an NVIDIA GPU: nvidia-smi finds none here"
        return None

    @classmethod
    def misfit(cls, recipe: Recipe) -> str | None:
        """A sentence if the recipe asks for what it does not know, else None."""
        return None

    @classmethod
    def opens(cls, recipe: Recipe) -> str:
        """What `fit_open` does otherwise than `fit` with this recipe, in a few words; empty if nothing."""
        return cls.open_by

    def load(self) -> None:
        """Import the framework."""

    def build(self, recipe: Recipe, data: Dataset, weights: Weights, dtype: str) -> None:
        """Make the network of the recipe with these weights, in float32 or float64."""
        raise TypeError(f"{type(self).__name__} has no build")

    def state(self) -> Weights:
        """Weights and running statistics as the framework holds them now, copied; empty if it can't tell."""
        return {}

    def trace(self, images: np.ndarray) -> Weights:
        """What each layer makes of raw images in training, from the input on; empty if it can't tell.

        Names: `scaled`, the input of the first layer; `conv.0`, `conv_norm.0`,
        `conv.0 pooled`, `conv.0 activation`, and so for `hidden`; `output`,
        the logits as the loss takes them. Channels come first. Nothing of the
        network changes.
        """
        return {}

    def take_masks(self, masks: Sequence[np.ndarray]) -> None:
        """Let dropout multiply by these instead of its own draws: (steps, batch, units) a hidden layer; `masks` is set."""
        raise TypeError(f"{type(self).__name__} has no take_masks")

    def fit(self, batches: Batches, watch: Watch) -> None:
        """Train by the framework's own path over exactly these batches, counting loss and accuracy as it goes."""
        raise TypeError(f"{type(self).__name__} has no fit")

    def fit_open(self, batches: Batches, watch: Watch) -> None:
        """Train as the framework's own documentation advises for speed: other batches of the same images, as many.

        The network, its starting weights, the optimiser, the batch size and
        float32 are `fit`'s. `watch.after` is called at each epoch's end at
        least; gradients are not to be had.
        """
        self.fit(batches, watch)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Logits, (n, classes), of raw images."""
        raise TypeError(f"{type(self).__name__} has no predict")

    def save(self, folder: Path) -> Path:
        """Write the trained network into `folder` as a user of the framework would; returns the file."""
        path = folder / "weights.safetensors"
        weights_file.write(path, self.state(), {})
        return path

    def describe(self) -> dict[str, Any]:
        """`version` of the framework, and the number of `parameters`, counted."""
        raise TypeError(f"{type(self).__name__} has no describe")
