"""The drawing pad of the report: the networks and images that its script needs, as JSON.

`pad.html.jinja` has the markup, `pad_network.js` the forward pass,
`pad_image.js` the conversion of strokes to an image, `pad_view.js` the
drawing on the screen, and `pad.js` the events.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad import nn, recipes
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Model, Recipe, Sizes

LARGEST = 4_000_000  # parameters of all networks together; about 21 MB in the page


def payload(
    recipe: Recipe, data: Dataset, networks: Mapping[str, Mapping[str, np.ndarray]], samples: int = 24
) -> dict[str, Any] | None:
    """Return the variable `pad` of `pad.html.jinja`, or None if there is no pad.

    There is none for vectors, images of several channels, floats (whose range
    is unknown), no networks, or networks too large for a page.

    Args:
        recipe: the recipe of all networks; its seed selects the test images.
        data: gives the shape, (height, width) or (height, width, 1), the
            number of classes, and test images to click on.
        networks: trained weights by the contender's title, in torch's layout,
            under the names of weights.safetensors.
        samples: maximum number of test images.

    Returns:
        `shape` [height, width]; `names`, the name or number of each class;
        `named`, whether they are names; `plan`, the layers in order, the
        activation and the input's scale; `networks`, each a title and weights
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
        "names": list(data.class_names) or [str(k) for k in range(data.classes)],
        "named": bool(data.class_names),
        "plan": {
            "scale": data.input_scale,
            "activation": recipe.model.activation,
            "eps": nn.BatchNorm1d(1).eps,
            "layers": _layers(sizes, recipe.model),
        },
        "networks": [
            {"title": title, "weights": {name: _base64(weights[name], "<f4") for name in shapes}}
            for title, weights in networks.items()
        ],
        "examples": _examples(data.test, recipe.seed_everything, samples),
    }


def _layers(sizes: Sizes, model: Model) -> list[dict[str, Any]]:
    """Return each layer's kind and name, and for a convolution the shape of its input."""
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
    """Return random test images: one per class, then a second one per class, and so on."""
    order = np.random.default_rng(seed).permutation(len(test.labels))
    labels = test.labels[order]
    turn = np.empty(len(labels), np.int64)  # number of earlier images of the same class
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.count_nonzero(labels == label))
    chosen = order[np.lexsort((labels, turn))][:samples]
    return [{"label": int(test.labels[i]), "pixels": _base64(test.images[i], "u1")} for i in chosen]


def _base64(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode()
