"""The network of a recipe as a plain torch module."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from minigrad import recipes

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class Network(nn.Module):
    """From raw input to logits: convolutions with 2x2 max pooling in a cnn, then linear layers.

    Args:
        model: the recipe's section.
        input_shape: the shape of one vector or image, (height, width) or (height, width, channels).
        classes: the number of logits.
        input_scale: multiplies the input, 1/255 for uint8 pixels.

    Raises:
        UserError: the input is no image for a cnn.
    """

    def __init__(self, model: recipes.Model, input_shape: tuple[int, ...], classes: int, input_scale: float) -> None:
        super().__init__()
        sizes = recipes.sizes(model, input_shape, classes)
        # Under batch norm a layer needs no bias: the norm has one.
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
        """Raw images (n, *input_shape), uint8 or floating, to logits (n, classes)."""
        x = images.flatten(1).to(self.output.weight.dtype) * self.input_scale
        if self.conv:
            channels, height, width = self.image
            x = x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
            # Of a batch that lies channels last, torch's batch norm sums 100,000 numbers in a row, and loses four digits.
            x = x.clone(memory_format=torch.contiguous_format)
            for layer, norm in zip(self.conv, self.conv_norm, strict=True):
                # Pooled first: a monotone activation commutes with the maximum, and has a quarter of the work left.
                x = self.activation(self.pool(norm(layer(x))))
            x = x.flatten(1)
        for layer, norm in zip(self.hidden, self.hidden_norm, strict=True):
            x = self.dropout(self.activation(norm(layer(x))))
        return cast(Tensor, self.output(x))
