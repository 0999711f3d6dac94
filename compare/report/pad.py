"""The drawing pad of the report: what its script must know of the networks, as JSON.

`pad.html.jinja` holds the markup, `pad_network.js` the forward pass,
`pad_image.js` the way from strokes to an image, and `pad.js` the page.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad import nn, recipes
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Model, Recipe, Sizes

LARGEST = 4_000_000  # numbers in all networks together, about 21 MB of page


def payload(
    recipe: Recipe, data: Dataset, networks: Mapping[str, Mapping[str, np.ndarray]], samples: int = 24
) -> dict[str, Any] | None:
    """What `pad.html.jinja` needs under the name `pad`, or None where nothing can be drawn.

    That is so for vectors, images of several channels, floats (whose range is
    unknown), no networks, or networks too large for a page.

    Args:
        recipe: of all the networks; its seed chooses the test images.
        data: gives the shape, (height, width) or (height, width, 1), the
            classes, and test images to click on.
        networks: trained weights by the contender's title, in torch's layout,
            under the names of weights.safetensors.
        samples: how many test images, at most.

    Returns:
        `shape` [height, width]; `classes`; `plan`, the layers in order with
        all that stands between them; `networks`, each a title and its weights
        as base64 of little-endian float32; `examples`, each a label and
        `pixels` as base64 of height * width bytes.
    """
    shape = data.input_shape
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,)) or data.input_scale == 1 or not networks:
        return None
    sizes = recipes.sizes(recipe.model, shape, data.classes)
    shapes = sizes.shapes(recipe.model)
    if len(networks) * sum(int(np.prod(s)) for s in shapes.values()) > LARGEST:
        return None
    return {
        "shape": list(shape[:2]),
        "classes": data.classes,
        "plan": {
            "scale": data.input_scale,
            "activation": recipe.model.activation,
            "eps": nn.BatchNorm1d(1).eps,
            "layers": _layers(sizes, recipe.model),
        },
        "networks": [
            {"title": title, "weights": {name: _text(weights[name], "<f4") for name in shapes}}
            for title, weights in networks.items()
        ],
        "examples": _examples(data.test, recipe.seed_everything, samples),
    }


def _layers(sizes: Sizes, model: Model) -> list[dict[str, Any]]:
    """Each layer's kind, its name among the weights, and what a convolution must know of its input."""
    _, height, width = sizes.image
    layers: list[dict[str, Any]] = []
    for i, (channels, _) in enumerate(sizes.conv):
        image = {"channels": channels, "height": height >> i, "width": width >> i}  # each pooling halves it
        layers.append({"kind": "conv", "name": f"conv.{i}", **image, "kernel_size": model.kernel_size})
    layers += [{"kind": "linear", "name": f"hidden.{i}"} for i in range(len(sizes.hidden))]
    for layer in layers:
        layer["norm"] = layer["name"].replace(".", "_norm.") if model.batch_norm else None
    return [*layers, {"kind": "linear", "name": "output", "norm": None}]


def _examples(test: Split, seed: int, samples: int) -> list[dict[str, Any]]:
    """Test images drawn by the seed: one of each class, then a second of each, as far as they go."""
    order = np.random.default_rng(seed).permutation(len(test.labels))
    labels = test.labels[order]
    turn = np.empty(len(labels), np.int64)  # how many of its class come before it
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.count_nonzero(labels == label))
    chosen = order[np.lexsort((labels, turn))][:samples]
    return [{"label": int(test.labels[i]), "pixels": _text(test.images[i], "u1")} for i in chosen]


def _text(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode()
