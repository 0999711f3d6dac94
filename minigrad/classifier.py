"""The network of a recipe, in minigrad."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from . import nn
from .recipes.schema import Model
from .tape import no_grad
from .tensor import Tensor

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
# Third words of the seed sequences, so that the streams are independent.
_INITIAL, _DROPOUT = 0, 1


class Classifier(nn.Module):
    """Linear layers with activations and dropout between them, from raw input to logits.

    Args:
        model: the recipe's section; `hidden`, `activation` and `dropout` are used here.
        input_shape: the shape of one image or vector.
        classes: the number of logits.
        scale: multiplies the input, 1/255 for uint8 pixels.
        seed: draws the starting weights, and the dropout of each epoch.
        dtype: of the parameters and all arithmetic, float32 or float64.
    """

    def __init__(
        self,
        model: Model,
        input_shape: tuple[int, ...],
        classes: int,
        scale: float = 1 / 255,
        seed: int = 42,
        dtype: Any = np.float32,
    ) -> None:
        rng = np.random.default_rng([seed, 2, _INITIAL])
        sizes = [math.prod(input_shape), *model.hidden]
        self.hidden = [nn.Linear(a, b, rng=rng, dtype=dtype) for a, b in pairwise(sizes)]
        self.activation = ACTIVATIONS[model.activation]()
        self.dropout = nn.Dropout(model.dropout)
        self.output = nn.Linear(sizes[-1], classes, rng=rng, dtype=dtype)
        self.scale, self.seed, self.dtype = scale, seed, dtype

    def begin_epoch(self, epoch: int) -> None:
        """Draw this epoch's dropout from (seed, epoch) alone, so that a resumed run drops the same units."""
        self.dropout.rng = np.random.default_rng([self.seed, 2, _DROPOUT, epoch])

    def forward(self, images: np.ndarray) -> Tensor:
        """Raw images (n, *input_shape) to logits (n, classes)."""
        x = np.multiply(images.reshape(len(images), -1), self.scale, dtype=self.dtype)
        for layer in self.hidden:
            x = self.dropout(self.activation(layer(x)))
        return self.output(x)

    def predict(self, images: np.ndarray, batch_size: int = 4096) -> np.ndarray:
        """Logits of any number of images, as an array, without dropout and without a tape."""
        training = self.training
        self.eval()
        with no_grad():
            parts = [self(images[i : i + batch_size]).data for i in range(0, len(images), batch_size)]
        self.train(training)
        return np.concatenate(parts)
