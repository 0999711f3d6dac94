"""The network of a recipe, in minigrad."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import nn, ops, recipes
from .recipes.schema import Model
from .tape import no_grad
from .tensor import Tensor

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
# Third words of the seed sequences, so that the streams are independent.
_INITIAL, _DROPOUT = 0, 1


class Classifier(nn.Module):
    """From raw input to logits: convolutions if the recipe wants a cnn, then linear layers.

    Args:
        model: the recipe's section; its first keys are used here.
        input_shape: the shape of one vector or image, (height, width) or (height, width, channels).
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
        sizes, norm = recipes.sizes(model, input_shape, classes), model.batch_norm
        same: Any = {"rng": np.random.default_rng([seed, 2, _INITIAL]), "dtype": dtype}
        # Under batch norm a layer needs no bias: the norm has one.
        window: Any = {"kernel_size": model.kernel_size, "padding": model.kernel_size // 2, "bias": not norm}
        self.conv = [nn.Conv2d(a, b, **window, **same) for a, b in sizes.conv]
        self.conv_norm = [nn.BatchNorm2d(b, dtype=dtype) for _, b in sizes.conv if norm]
        self.hidden = [nn.Linear(a, b, bias=not norm, **same) for a, b in sizes.hidden]
        self.hidden_norm = [nn.BatchNorm1d(b, dtype=dtype) for _, b in sizes.hidden if norm]
        self.output = nn.Linear(*sizes.output, **same)
        self.activation = ACTIVATIONS[model.activation]()
        self.pool, self.dropout = nn.MaxPool2d(2), nn.Dropout(model.dropout)
        self.scale, self.seed, self.dtype, self.image = scale, seed, dtype, sizes.image

    def begin_epoch(self, epoch: int) -> None:
        """Draw this epoch's dropout from (seed, epoch) alone, so that a resumed run drops the same units."""
        self.dropout.rng = np.random.default_rng([self.seed, 2, _DROPOUT, epoch])

    def forward(self, images: np.ndarray) -> Tensor:
        """Raw images (n, *input_shape) to logits (n, classes)."""
        x: Any = images.reshape(len(images), -1).astype(self.dtype)
        x *= self.scale
        if self.conv:
            channels, height, width = self.image
            x = x.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
            for i, convolution in enumerate(self.conv):
                x = convolution(x)
                if self.conv_norm:
                    x = self.conv_norm[i](x)
                # Pooled first: a monotone activation commutes with the maximum, and has a quarter of the work left.
                x = self.activation(self.pool(x))
            x = ops.flatten(x, 1)
        for i, linear in enumerate(self.hidden):
            x = linear(x)
            if self.hidden_norm:
                x = self.hidden_norm[i](x)
            x = self.dropout(self.activation(x))
        return self.output(x)

    def predict(self, images: np.ndarray, batch_size: int = 512) -> np.ndarray:
        """Logits of any number of images, as an array, without dropout and without a tape."""
        training = self.training
        self.eval()
        with no_grad():
            parts = [self(images[i : i + batch_size]).data for i in range(0, len(images), batch_size)]
        self.train(training)
        return np.concatenate(parts)
