"""The interface of a contender: everything that `compare` needs from a framework."""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from minigrad import datasets
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe
from minigrad.recipes.schema import Augment
from minigrad.runs import weights as weights_file

from .. import machine

Weights = Mapping[str, np.ndarray]

# Batch size of `predict`, the same for all contenders, since it determines the memory of a convolutional network.
PREDICT_BATCH = 1024
# Names of lists of layers with weights, numbered from 0.
LAYER_LISTS = ("conv", "conv_norm", "hidden", "hidden_norm")
# Layers without weights, and the name of their output.
OUTPUT_NAMES = {"pool": "pooled", "activation": "activation"}


class Library(TypedDict):
    """The library that multiplies matrices: its name with version, the kernel or instruction set, and its threads.

    `kernel` and `threads` are None if the library does not report them.
    """

    library: str
    kernel: str | None
    threads: int | None


class Observer:
    """Observes a contender's training. This base class does nothing.

    Attributes:
        every_step: whether `after_steps` must be called after each single
            step. Otherwise a framework that runs several steps in one call may call
            it once for all of them.
    """

    every_step = False

    def wants_gradients(self) -> bool:
        """Return whether the gradients of the next step are needed."""
        return False

    def after_steps(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        """Called when `steps` more steps are done.

        Args:
            steps: number of steps since the last call.
            loss: returns the last step's loss.
            weights: returns copies of the weights.
            gradients: returns copies of the last step's gradients.
        """


@dataclass(frozen=True)
class Batches:
    """The training images, and the batches and shifts of every epoch, which are the same for every contender.

    Attributes:
        train: the training set.
        batch_size: number of images per batch; the last batch may be smaller.
        seed: determines order and shifts.
        epochs: number of epochs.
        augment: the recipe's `data.augment`.
    """

    train: Split
    batch_size: int
    seed: int
    epochs: int
    augment: Augment = "none"

    def order(self, epoch: int) -> list[np.ndarray]:
        """Return the indices of each batch of an epoch, counted from 0."""
        return list(datasets.batches(len(self.train.labels), self.batch_size, self.seed, epoch))

    def shifts(self, epoch: int) -> np.ndarray | None:
        """Return the shift of each image in an epoch, (n, 2) pixels down and right; None without augmentation."""
        if self.augment == "none":
            return None
        return datasets.epoch_shifts(len(self.train.labels), self.seed, epoch)

    @property
    def steps(self) -> int:
        """Number of steps of all epochs."""
        return self.epochs * datasets.steps_per_epoch(len(self.train.labels), self.batch_size)


class Trace:
    """Collects and names the outputs of layers, in the order in which they are called; see `Contender.trace`."""

    def __init__(self) -> None:
        self.outputs: dict[str, Any] = {}
        self.layer = ""

    def add(self, name: str, layer_input: Any, output: Any) -> None:
        """Add a layer's output. `pool` and `activation` are named after the layer before them."""
        self.outputs.setdefault("scaled", layer_input)
        if name in OUTPUT_NAMES:
            self.outputs[f"{self.layer} {OUTPUT_NAMES[name]}"] = output
        else:
            self.layer = name.replace("_norm", "")
            self.outputs[name] = output


def mask_source(masks: Sequence[np.ndarray]) -> Callable[[int], np.ndarray]:
    """Return a function that returns the next dropout mask, cut to the batch size that it is called with.

    Args:
        masks: per hidden layer (steps, batch, units). The masks come step by step, and layer by layer within a step.

    The function raises IndexError if no mask is left. (A StopIteration would look like the end of the batches.)
    """
    ordered = deque(mask[step] for step in range(len(masks[0])) for mask in masks)
    return lambda n: ordered.popleft()[:n]


class Contender:
    """One framework.

    The methods are called in the order in which this class defines them. They
    import the framework, so that the module can be imported without it.

    Attributes:
        title: name in tables.
        trains_by: the framework's function that trains.
        needs: packages that must be installed.
        install: the command that installs them.
        environment: environment variables, set before the process starts.
        device: "cpu" or "gpu".
        open_description: what `fit_open` does differently from `fit`, in a few words.
        default_description: what `fit_default` does differently from `fit`, in a few words.
        program: a file in the folder `examples`, without its suffix: the program that a user of the framework writes for
            recipe `simple`. Empty if there is none.
        steps_per_call: the largest number of steps between two calls of the observer in `fit`.
        outside_verdict: whether the parity of the contender is reported but does not count for the verdict.
        accepts_masks: whether dropout masks can be set with `use_masks`.
    """

    title = ""
    trains_by = ""
    needs: tuple[str, ...] = ()
    install = ""
    environment: Mapping[str, str] = machine.NO_GPU
    device = "cpu"
    open_description = ""
    default_description = ""
    program = ""
    steps_per_call = 1
    outside_verdict = False
    accepts_masks = False

    @classmethod
    def missing(cls) -> str | None:
        """Return a sentence if a package or the GPU is missing, else None."""
        absent = [name for name in cls.needs if importlib.util.find_spec(name) is None]
        if absent:
            return f"needs {' and '.join(absent)}: {cls.install}"
        if cls.device == "gpu" and machine.gpu() is None:
            return "needs an NVIDIA GPU: nvidia-smi finds none on this machine"
        return None

    @classmethod
    def unsupported(cls, recipe: Recipe) -> str | None:
        """Return a sentence if the contender does not support the recipe, else None."""
        return None

    @classmethod
    def open_changes(cls, recipe: Recipe) -> str:
        """Return what `fit_open` does differently from `fit` for this recipe, in a few words; empty if nothing."""
        return cls.open_description

    @classmethod
    def default_changes(cls, recipe: Recipe) -> str:
        """Return what `fit_default` does differently from `fit` for this recipe, in a few words; empty if nothing."""
        return cls.default_description

    def load(self) -> None:
        """Import the framework, and all that it would otherwise import while it builds or trains."""

    def build(self, recipe: Recipe, data: Dataset, weights: Weights, dtype: str) -> None:
        """Build the recipe's network.

        Args:
            recipe: the recipe.
            data: gives the shape of the input, the number of classes, and the input's scale.
            weights: starting weights, float64, in torch's layout under the names of weights.safetensors.
            dtype: "float32" or "float64".
        """
        raise TypeError(f"{type(self).__name__} has no build")

    def state(self) -> Weights:
        """Return copies of the current weights and running statistics; empty if the framework does not provide them."""
        return {}

    def trace(self, images: np.ndarray) -> Weights:
        """Return the output of each layer in training mode, without changing the network.

        Args:
            images: raw images, (n, height, width, ...).

        Returns:
            Arrays with channels first, in forward order: `scaled`, the input of the first layer; `conv.0`,
            `conv_norm.0`, `conv.0 pooled`, `conv.0 activation`, and likewise
            for `hidden`; `output`, the logits, which are the input of the
            loss. Empty if the framework does not provide them.
        """
        return {}

    def use_masks(self, masks: Sequence[np.ndarray]) -> None:
        """Make the dropout layers multiply by these masks instead of random ones. Called only if `accepts_masks`.

        Args:
            masks: (steps, batch, units) per hidden layer.
        """
        raise TypeError(f"{type(self).__name__} has no use_masks")

    def fit(self, batches: Batches, observer: Observer) -> None:
        """Train with the framework's own training loop over exactly these batches, computing loss and accuracy."""
        raise TypeError(f"{type(self).__name__} has no fit")

    def fit_open(self, batches: Batches, observer: Observer) -> None:
        """Train as the framework's documentation recommends for speed.

        The images may be in another order, but the number of batches is the
        same. The network, its starting weights, the optimizer, the batch size
        and the dtype float32 are those of `fit`. `observer.after_steps` is called at least
        at each epoch's end; gradients need not be available.
        """
        self.fit(batches, observer)

    def fit_default(self, batches: Batches, observer: Observer) -> None:
        """Train as on the first page of the framework's documentation, with its default settings.

        The rules of `fit_open` apply: the same network, starting weights, optimizer, batch size and number of batches.
        """
        self.fit(batches, observer)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Return the logits, (n, classes), of raw images."""
        raise TypeError(f"{type(self).__name__} has no predict")

    def save(self, folder: Path) -> Path:
        """Write the trained network into `folder` as a user of the framework would, and return the file."""
        path = folder / "weights.safetensors"
        weights_file.write(path, self.state(), {})
        return path

    def product(self, a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
        """Return a function that multiplies two float32 matrices with the framework, and returns when that is done.

        The arrays are copied to the device, and a product is compiled, before the function is returned.
        """
        raise TypeError(f"{type(self).__name__} has no product")

    def library(self) -> Library:
        """Return the library that multiplies matrices."""
        raise TypeError(f"{type(self).__name__} has no library")

    def describe(self) -> dict[str, Any]:
        """Return the `version` of the framework, and the number of `parameters` of the network.

        Optionally also the `precision` of its arithmetic, and the number of `devices`: processes that train together.
        """
        raise TypeError(f"{type(self).__name__} has no describe")
