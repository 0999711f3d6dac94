"""A trained network from its file, without running code that the file brings.

A weights.safetensors holds numbers, and how the network is built. Of a
model.keras Keras is given the numbers alone: the configuration in it is read
as plain JSON and must be, word for word, that of a network which we build, in
Keras's own classes or in those of this package.
"""

from __future__ import annotations

import json
import math
import warnings
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad import recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import UserError, expand, weights
from minigrad.runs.weights import NetworkSpec

from .model import build_model, get_weights, set_weights
from .stock import with_stock_layers

MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
# Parts of a configuration that say nothing of what is computed, or, as the precision, not for us.
PASSING = {"build_config", "compile_config", "dtype", "shared_object_id"}
LAYERS = {
    *("InputLayer", "Rescaling", "Reshape", "Permute", "Flatten", "Conv2D", "MaxPooling2D", "Dense", "Activation"),
    *("BatchNormalization", "Dropout"),
}


def restore(path: str | None) -> tuple[keras.Model, NetworkSpec]:
    """The network in a weights.safetensors of any of the three packages, or in a model.keras, and what it takes.

    Raises:
        UserError: no such file, or not one that these packages wrote whole.
    """
    if path is None:
        raise UserError("model.weights: null; expected a weights.safetensors or a model.keras")
    return from_keras(expand(path)) if path.endswith(".keras") else from_weights(expand(path))


def network_for(recipe: Recipe, data: Dataset) -> keras.Model:
    """The network that the recipe's weights are of, to be measured on `data`; without weights an untrained one.

    Raises:
        UserError: also where it takes other data.
    """
    if recipe.model.weights is None:
        print("model.weights is null: this network is untrained")
        return build_model(recipe.model, data.input_shape, data.classes, data.input_scale)
    net, network = restore(recipe.model.weights)
    refuse_misfit(network, data)
    return net


def from_weights(path: Path) -> tuple[keras.Model, NetworkSpec]:
    """The network of a weights.safetensors."""
    network, arrays = weights.load(path)
    model = replace(network.recipe.model, weights=None)
    net = build_model(model, network.input_shape, network.classes, network.input_scale)
    set_weights(net, arrays)
    return net, network


def from_keras(path: Path) -> tuple[keras.Model, NetworkSpec]:
    """The network of a model.keras."""
    config = read_config(path)
    try:
        network = read_off(config)
        shapes = network.shapes()
        if 4 * sum(math.prod(shape) for shape in shapes.values()) > path.stat().st_size:
            raise ValueError("it holds fewer numbers than its network has")
        with warnings.catch_warnings(action="ignore"):  # Keras's, of what doesn't fit, which it refuses then
            net = build_model(network.recipe.model, network.input_shape, network.classes, network.input_scale)
            # Earlier versions saved the network as it was trained, without stock layers.
            if _plain(config) not in [_plain(json.loads(each.to_json())) for each in (with_stock_layers(net), net)]:
                raise ValueError("its configuration is another")
            net.load_weights(path)
    except Exception as error:  # a tampered file can break anything
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"model.weights: {path}: {why}; expected a model.keras that keras_model wrote with Keras {keras.__version__}"
        ) from error
    for name, array in get_weights(net).items():
        if not np.isfinite(array).all():
            raise UserError(f"model.weights: {path}: {name} holds NaN or inf; expected finite numbers")
    return net, network


def read_config(path: Path) -> Any:
    """The configuration in a .keras archive that has no damage and nothing that Keras doesn't write.

    Raises:
        UserError: it is none.
    """
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with zipfile.ZipFile(path) as archive:
            members = [part.filename for part in archive.infolist()]
            if sorted(members) != sorted(MEMBERS):
                raise ValueError(f"it holds {', '.join(members)[:100]}")
            if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
                raise ValueError("it is compressed, as Keras's are not")
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")
            refuse_odd_weights(archive.read("model.weights.h5"))
            return json.loads(archive.read("config.json"))
    except Exception as error:  # of which the reader of archives has many kinds
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"model.weights: {path}: {why}; expected a model.keras") from error


def refuse_odd_weights(content: bytes) -> None:
    """Check that an HDF5 file holds plain numbers of its own, no more than its size.

    Raises:
        ValueError: it holds others, or refers to another file.
    """
    import h5py

    with h5py.File(BytesIO(content)) as file:
        numbers: list[Any] = []

        def look(name: str, link: Any) -> None:
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{name} is a link")
            if isinstance(part := file[name], h5py.Dataset):
                numbers.append(part)

        file.visititems_links(look)
        if any(part.external or part.is_virtual or part.dtype.kind not in "fiu" for part in numbers):
            raise ValueError("it holds other than its own numbers")
        if sum(part.nbytes for part in numbers) > len(content):
            raise ValueError("it holds compressed numbers, as Keras's are not")


def _plain(config: Any) -> Any:
    """A configuration without what says nothing of the computation."""
    if isinstance(config, dict):
        return {name: _plain(part) for name, part in config.items() if name not in PASSING}
    return [_plain(part) for part in config] if isinstance(config, list) else config


def refuse_misfit(network: NetworkSpec, data: Dataset) -> None:
    """Check that `data` are what the network takes.

    Raises:
        UserError: they aren't.
    """
    for what, taken, given in (
        ("input_shape", network.input_shape, data.input_shape),
        ("classes", network.classes, data.classes),
        ("input_scale", network.input_scale, data.input_scale),
    ):
        if taken != given:
            raise UserError(f"data.path: {what} is {given}; expected {taken}, which the network was trained on")


def read_off(config: Any) -> NetworkSpec:
    """What a network takes, and the recipe that it was built by, from its configuration."""

    def each(kind: str) -> list[Any]:
        return [layer["config"] for layer in config["config"]["layers"] if layer["class_name"] == kind]

    for layer in config["config"]["layers"]:
        if layer["class_name"] not in LAYERS:
            raise ValueError(f"it holds a layer of class {layer['class_name']}")
    conv, (*hidden, output), dropout = each("Conv2D"), each("Dense"), each("Dropout")
    model: dict[str, Any] = {
        "architecture": "cnn" if conv else "mlp",
        "hidden": [layer["units"] for layer in hidden],
        "activation": next((layer["activation"] for layer in each("Activation")), "relu"),
        "dropout": dropout[0]["rate"] if dropout else 0.0,
        "batch_norm": bool(each("BatchNormalization")),
    }
    if conv:
        model |= {"channels": [layer["filters"] for layer in conv], "kernel_size": conv[0]["kernel_size"][0]}
    shape, scale = each("InputLayer")[0]["batch_shape"][1:], each("Rescaling")[0]["scale"]
    if not all(type(n) is int and n > 0 for n in [*shape, output["units"]]):
        raise ValueError("its sizes are no sizes")
    return NetworkSpec(
        recipes.from_metadata({"model": model}), tuple(shape), output["units"], 1.0 if scale == 1 else 1 / 255
    )
