"""The network of a recipe, built with minigrad."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import nn, ops, recipes
from .recipes.schema import Model
from .tape import no_grad
from .tensor import Tensor

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
# The second element of a seed sequence, which distinguishes the network from the data (see `datasets.order`), and the
# third one. Different elements give independent random streams.
_NETWORK, _INITIAL, _DROPOUT = 2, 0, 1


def initial_generator(seed: int) -> np.random.Generator:
    """Return the generator that draws the initial weights of a network."""
    return np.random.default_rng([seed, _NETWORK, _INITIAL])


class Classifier(nn.Module):
    """A classifier from raw input to logits: convolutions for the architecture "cnn", then linear layers.

    Args:
        model: the recipe's section `model`, which describes the layers.
        input_shape: the shape of one input: (features,), (height, width) or (height, width, channels).
        classes: the number of logits.
        scale: the factor for the input; 1/255 (the default) for uint8 pixels.
        seed: the seed of the initial weights and of the dropout in each epoch.
        dtype: the dtype of the parameters and the computation, float32 (the default) or float64.
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
        sizes, norm = recipes.sizes(model, input_shape, classes), model.batch_norm
        shared: Any = {"rng": initial_generator(seed), "dtype": dtype}
        # A layer before batch normalization needs no bias, because the normalization has one.
        window: Any = {"kernel_size": model.kernel_size, "padding": model.kernel_size // 2, "bias": not norm}
        self.conv = [nn.Conv2d(a, b, **window, **shared) for a, b in sizes.conv]
        self.conv_norm = [nn.BatchNorm2d(b, dtype=dtype) for _, b in sizes.conv if norm]
        self.hidden = [nn.Linear(a, b, bias=not norm, **shared) for a, b in sizes.hidden]
        self.hidden_norm = [nn.BatchNorm1d(b, dtype=dtype) for _, b in sizes.hidden if norm]
        self.output = nn.Linear(*sizes.output, **shared)
        self.activation = ACTIVATIONS[model.activation]()
        self.pool, self.dropout = nn.MaxPool2d(2), nn.Dropout(model.dropout)
        self.scale, self.seed, self.dtype, self.image = scale, seed, dtype, sizes.image

    def begin_epoch(self, epoch: int) -> None:
        """Seed the dropout from the seed and `epoch` only, so that a resumed run drops the same units."""
        self.dropout.rng = np.random.default_rng([self.seed, _NETWORK, _DROPOUT, epoch])

    def forward(self, images: np.ndarray) -> Tensor:
        """Compute the logits (n, classes) of raw images (n, *input_shape)."""
        return self.logits(self.scaled(images))

    def scaled(self, images: np.ndarray) -> np.ndarray:
        """Return raw images as the input of the first layer: (n, features), or (n, channels, height, width) for "cnn"."""
        n, (channels, height, width) = len(images), self.image  # n may be 0
        x = images.reshape(n, channels * height * width).astype(self.dtype)
        x *= self.scale
        if not self.conv:
            return x
        return x.reshape(n, height, width, channels).transpose(0, 3, 1, 2)

    def logits(self, x: Any) -> Tensor:
        """Compute the logits (n, classes) of the result of `scaled`, an array or a tensor."""
        if self.conv:
            for i, convolution in enumerate(self.conv):
                x = convolution(x)
                if self.conv_norm:
                    x = self.conv_norm[i](x)
                # A monotone activation commutes with the maximum; after pooling it has a quarter of the elements.
                x = self.activation(self.pool(x))
            x = ops.flatten(x, 1)
        for i, linear in enumerate(self.hidden):
            x = linear(x)
            if self.hidden_norm:
                x = self.hidden_norm[i](x)
            x = self.dropout(self.activation(x))
        return self.output(x)

    def predict(self, images: np.ndarray, batch_size: int = 512) -> np.ndarray:
        """Compute logits in evaluation mode, in batches, without recording. An overflow gives infinite or NaN logits.

        Args:
            images: (n, *input_shape) raw images.
            batch_size: the number of images per forward pass, by default 512.

        Returns:
            An array (n, classes).
        """
        training = self.training
        self.eval()
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            parts = [self(images[i : i + batch_size]).data for i in range(0, len(images), batch_size)]
        self.train(training)
        return np.concatenate(parts)
