"""The layer sizes of a recipe's network, shared by all packages, and whether the data fit the recipe."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from ..datasets import Dataset
from ..runs.errors import UserError
from .schema import Model, Recipe, watches_validation

MAX_PARAMETERS = 10**9  # of a network, 4 GB in float32


class Sizes(NamedTuple):
    """The input and output sizes of each layer.

    Attributes:
        image: (channels, height, width) of the input of a cnn; (1, 1, features) for an mlp.
        conv: (in, out) channels of each convolution.
        hidden: (in, out) features of each hidden linear layer.
        output: (in, out) features of the last linear layer.
    """

    image: tuple[int, int, int]
    conv: list[tuple[int, int]]
    hidden: list[tuple[int, int]]
    output: tuple[int, int]

    def shapes(self, model: Model) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array in weights.safetensors, in torch's layout.

        With batch norm, the layer before it has no bias, since the norm has one.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        kernel = (model.kernel_size, model.kernel_size)
        for kind, pairs in (("conv", self.conv), ("hidden", self.hidden)):
            for i, (a, b) in enumerate(pairs):
                shapes[f"{kind}.{i}.weight"] = (b, a, *kernel) if kind == "conv" else (b, a)
                if not model.batch_norm:
                    shapes[f"{kind}.{i}.bias"] = (b,)
            if model.batch_norm:
                for i, (_, b) in enumerate(pairs):
                    names = ("weight", "bias", "running_mean", "running_var")
                    shapes |= {f"{kind}_norm.{i}.{name}": (b,) for name in names}
        return shapes | {"output.weight": self.output[::-1], "output.bias": self.output[1:]}


def sizes(model: Model, input_shape: tuple[int, ...], classes: int) -> Sizes:
    """Return the layer sizes of a network.

    Args:
        model: the network's section of the recipe.
        input_shape: (features,), (height, width) or (height, width, channels).
        classes: the number of outputs.

    Raises:
        UserError: the network is a cnn, and the input is not an image or is too small for its poolings; or the
            network would have more than `MAX_PARAMETERS`.
    """
    image, conv = (1, 1, math.prod(input_shape)), []
    width = image[2]
    if model.architecture == "cnn":
        if len(input_shape) not in (2, 3):
            raise UserError(
                f"model.architecture: cnn on inputs of shape {input_shape}; expected images, (height, width) or"
                " (height, width, channels)"
            )
        image = (input_shape[2] if len(input_shape) == 3 else 1, input_shape[0], input_shape[1])
        conv = list(pairwise([image[0], *model.channels]))
        pooled = [size // 2 ** len(conv) for size in image[1:]]
        if not min(pooled):
            raise UserError(
                f"model.channels: {model.channels} on images of {image[1]}x{image[2]}; expected at most"
                f" {int(math.log2(min(image[1:])))} convolutions, each of which halves height and width"
            )
        width = math.prod(pooled) * model.channels[-1]
    widths = [width, *model.hidden]
    layers = Sizes(image, conv, list(pairwise(widths)), (widths[-1], classes))
    parameters = sum(map(math.prod, layers.shapes(model).values()))
    if parameters > MAX_PARAMETERS:
        raise UserError(
            f"model.hidden: {model.hidden} on inputs of shape {input_shape} needs {parameters:.1e} parameters; expected at"
            f" most {MAX_PARAMETERS:.0e}"
        )
    return layers


def refuse_misfit(recipe: Recipe, data: Dataset) -> None:
    """Check that a network can be trained on `data` with `recipe`.

    Raises:
        UserError: a cnn or `augment: shift` without images; images that are too small; a last batch of one image with
            batch norm; or no validation images although the training needs their metrics.
    """
    sizes(recipe.model, data.input_shape, data.classes)
    size, batch = len(data.train.labels), recipe.data.batch_size
    if recipe.data.augment == "shift" and len(data.input_shape) not in (2, 3):
        raise UserError(
            f"data.augment: shift on inputs of shape {data.input_shape}; expected images, (height, width) or"
            " (height, width, channels)"
        )
    if watches_validation(recipe) and not len(data.validation.labels):
        raise UserError(
            f"data.validation_size: {recipe.data.validation_size or 'null'} holds out none of {size} training images;"
            " expected 1 or more, since early_stopping and reduce_on_plateau watch validation metrics"
        )
    if recipe.model.batch_norm and min(batch, size % batch or batch) == 1:
        raise UserError(
            f"data.batch_size: {batch} leaves a batch of one of {size} training images, which batch_norm cannot"
            " normalize; expected another size"
        )
