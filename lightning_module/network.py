"""The network of a recipe, and the augmentation of its images, in plain torch. Imports torch, but not Lightning.

The torch contender of `compare` uses this module too, and Lightning must not
add to the time that its imports take.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the customary name)

from minigrad import datasets, recipes

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Network(nn.Module):
    """The network of a recipe: raw images to logits.

    A cnn has convolutions, each followed by 2x2 max pooling, before its
    linear layers; an mlp has linear layers only. Each layer except the last
    is followed by batch norm, if the recipe has it, and by the activation.

    Args:
        model: the recipe's section `model`.
        input_shape: the shape of one input: (features,), (height, width) or (height, width, channels).
        classes: the number of logits.
        input_scale: the factor by which the network multiplies its input: 1/255 for uint8 pixels, 1 for floats.

    Raises:
        UserError: the input of a cnn is not an image, or too small.
    """

    def __init__(self, model: recipes.Model, input_shape: tuple[int, ...], classes: int, input_scale: float) -> None:
        super().__init__()
        sizes = recipes.sizes(model, input_shape, classes)
        # With batch norm a layer needs no bias: the norm has one.
        bias = not model.batch_norm
        window: dict[str, Any] = {"kernel_size": model.kernel_size, "padding": model.kernel_size // 2, "bias": bias}
        norm2d, norm1d = (nn.BatchNorm2d, nn.BatchNorm1d) if model.batch_norm else (nn.Identity, nn.Identity)
        self.conv = nn.ModuleList(nn.Conv2d(a, b, **window) for a, b in sizes.conv)
        self.conv_norm = nn.ModuleList(norm2d(b) for _, b in sizes.conv)
        self.hidden = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in sizes.hidden)
        self.hidden_norm = nn.ModuleList(norm1d(b) for _, b in sizes.hidden)
        self.output = nn.Linear(*sizes.output)
        self.pool, self.activation = nn.MaxPool2d(2), ACTIVATIONS[model.activation]()
        self.dropout = nn.Dropout(model.dropout) if model.dropout else nn.Identity()
        self.image, self.input_scale = sizes.image, input_scale

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits.

        Args:
            images: raw images (n, *input_shape), uint8 or floating point.

        Returns:
            Logits (n, classes), in the dtype of the weights.
        """
        x = images.flatten(1).to(self.output.weight.dtype) * self.input_scale
        if self.conv:
            channels, height, width = self.image
            x = x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
            # In channels-last memory format, torch's batch norm adds 100,000 numbers in sequence and loses four digits.
            x = x.clone(memory_format=torch.contiguous_format)
            for layer, norm in zip(self.conv, self.conv_norm, strict=True):
                # Pooling first gives the same result, since the activation is monotone, on a quarter of the values.
                x = self.activation(self.pool(norm(layer(x))))
            x = x.flatten(1)
        for layer, norm in zip(self.hidden, self.hidden_norm, strict=True):
            x = self.dropout(self.activation(norm(layer(x))))
        return cast(Tensor, self.output(x))


class Scale(nn.Module):
    """Multiplies raw images by a factor, as `Network` does; the first layer of a network of your own.

    Args:
        factor: 1/255 for uint8 pixels, 1 for floats: `input_scale` of the data.

    Example:
        nn.Sequential(Scale(1 / 255), nn.Flatten(), nn.Linear(784, 10))
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        """Return floating-point images of the same shape."""
        return images * self.factor


def shifted(images: Tensor, shifts: Tensor) -> Tensor:
    """Shift each image by whole pixels and fill with zeros; the same as `minigrad.datasets.shifted`, on any device.

    Args:
        images: (n, height, width) or (n, height, width, channels), any dtype.
        shifts: (n, 2) int64: pixels down and to the right, at most `datasets.MAX_SHIFT` in either direction.

    Returns:
        The shifted images, in the shape and dtype of `images`.
    """
    height, width, m = images.shape[1], images.shape[2], datasets.MAX_SHIFT
    channels = (0, 0) * (images.ndim - 3)
    windows = F.pad(images, (*channels, m, m, m, m)).unfold(1, height, 1).unfold(2, width, 1)
    moved = windows[torch.arange(len(images), device=images.device), m - shifts[:, 0], m - shifts[:, 1]]
    return moved.movedim(1, -1) if channels else moved
