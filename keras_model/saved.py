"""A trained network from its file, without running code that the file brings.

A weights.safetensors holds numbers, and how the network is built. Of a
model.keras every class that it names must be one that this package builds
networks of, before Keras loads it in safe mode; its weights then go into a
network of our own.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad import recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Model, Recipe
from minigrad.runs import UserError, weights
from minigrad.runs.weights import Network

from .model import build_model, get_weights, set_weights

MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
LAYERS = (
    *("InputLayer", "Rescaling", "Reshape", "Permute", "Flatten", "Conv2D", "MaxPooling2D", "Dense", "Activation"),
    "Dropout",
)
# (module, class) of all that a model.keras of ours names.
KNOWN = {
    *(("keras.layers", name) for name in LAYERS),
    *(("keras.initializers", name) for name in ("GlorotUniform", "Ones", "Zeros")),
    ("keras.src.models.functional", "Functional"),
    ("keras", "DTypePolicy"),
    ("keras_model.layers", "BatchNormalization"),
    (None, "__keras_tensor__"),
}


def restore(path: str | None) -> tuple[keras.Model, Network]:
    """The network in a weights.safetensors of any of the three packages, or in a model.keras, and what it takes.

    Raises:
        UserError: no such file, or not one that these packages wrote whole.
    """
    if path is None:
        raise UserError("model.weights: null; expected a weights.safetensors or a model.keras")
    return from_keras(Path(path)) if path.endswith(".keras") else from_weights(Path(path))


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


def from_weights(path: Path) -> tuple[keras.Model, Network]:
    """The network of a weights.safetensors."""
    network = weights.read_network(path)
    try:
        recipe = recipes.to_recipe(recipes.recipe_parser("recipe", "").parse_object(network.recipe))
        shapes = recipes.plan(recipe.model, network.input_shape, network.classes).shapes(recipe.model)
    except UserError as error:
        raise UserError(f"model.weights: {path}: its recipe makes no sense: {error}") from error
    found = weights.read_for(path, shapes, network.input_scale)
    recipe.model.weights = None
    net = build_model(recipe.model, network.input_shape, network.classes, network.input_scale)
    set_weights(net, found)
    return net, network


def from_keras(path: Path) -> tuple[keras.Model, Network]:
    """The network of a model.keras."""
    refuse_foreign(path)
    try:
        loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
        model, network = read_off(loaded)
        net = build_model(model, network.input_shape, network.classes, network.input_scale)
        found, expected = get_weights(loaded), get_weights(net)
        if {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in expected.items()}:
            raise ValueError("its layers are not in the order of a recipe's")
    except Exception as error:  # a tampered file can break Keras anywhere
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"model.weights: {path} is no model.keras of this package ({why})") from error
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise UserError(f"model.weights: {path}: {name} holds NaN or inf; expected finite numbers")
    set_weights(net, found)
    return net, network


def refuse_foreign(path: Path) -> None:
    """Check that a .keras file is an archive that names only what we build networks of.

    Raises:
        UserError: it isn't.
    """
    if not path.is_file():
        raise UserError(f"model.weights: {path} does not exist; expected a model.keras or a weights.safetensors")
    try:
        with zipfile.ZipFile(path) as archive:
            if odd := set(archive.namelist()) ^ MEMBERS:
                raise ValueError(f"{min(odd)} is {'in it' if min(odd) not in MEMBERS else 'missing'}")
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")
            config = json.loads(archive.read("config.json"))
        config.pop("compile_config", None)  # which is not loaded
    except (
        OSError,
        ValueError,
        AttributeError,
        RecursionError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise UserError(
            f"model.weights: {path} is no archive that Keras wrote ({error}); expected a model.keras"
        ) from error
    for module, name in sorted(set(_named(config)) - KNOWN, key=str):
        raise UserError(
            f"model.weights: {path} holds {module}.{name}; expected only layers that keras_model builds networks of"
        )


def _named(config: Any) -> list[tuple[Any, Any]]:
    """(module, class) of all objects in a model's configuration."""
    found, left = [], [config]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if "class_name" in part:
                found.append((str(part["module"]) if part.get("module") else None, str(part["class_name"])))
            left += part.values()
        elif isinstance(part, list):
            left += part
    return found


def refuse_misfit(network: Network, data: Dataset) -> None:
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


def read_off(net: keras.Model) -> tuple[Model, Network]:
    """The recipe's section that a network of this package was built by, and what it takes."""

    def each(kind: Any) -> list[Any]:
        return [layer for layer in net.layers if isinstance(layer, kind)]

    conv, (*hidden, output) = each(keras.layers.Conv2D), each(keras.layers.Dense)
    dropout, scale = each(keras.layers.Dropout), each(keras.layers.Rescaling)[0].scale
    activation: Any = next((layer.activation.__name__ for layer in each(keras.layers.Activation)), "relu")
    model = Model(
        architecture="cnn" if conv else "mlp",
        hidden=[layer.units for layer in hidden],
        activation=activation,
        dropout=dropout[0].rate if dropout else 0.0,
        batch_norm=bool(each(keras.layers.BatchNormalization)),
    )
    if conv:
        model.channels, model.kernel_size = [layer.filters for layer in conv], conv[0].kernel_size[0]
    recipe = recipes.check(Recipe(model=model))
    shape: tuple[int, ...] = tuple(net.input_shape[1:])
    return model, Network(recipe.as_dict(), shape, output.units, 1.0 if scale == 1 else 1 / 255)
