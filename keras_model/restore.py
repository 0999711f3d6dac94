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
from pathlib import Path

import keras
import numpy as np

from minigrad import recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import UserError, expand, weights
from minigrad.runs.weights import NetworkSpec

from .archive import plain, read_config, read_off
from .model import build_model, get_weights, set_weights
from .stock import with_stock_layers


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
    network = weights.read_network(path)
    try:
        recipe = recipes.from_metadata(network.recipe)
        shapes = recipes.sizes(recipe.model, network.input_shape, network.classes).shapes(recipe.model)
    except (UserError, RecursionError) as error:
        raise UserError(f"model.weights: {path}: its recipe makes no sense: {error}") from error
    found = weights.read_for(path, shapes, network.input_scale)
    recipe.model.weights = None
    net = build_model(recipe.model, network.input_shape, network.classes, network.input_scale)
    set_weights(net, found)
    return net, network


def from_keras(path: Path) -> tuple[keras.Model, NetworkSpec]:
    """The network of a model.keras."""
    config = read_config(path)
    try:
        network = read_off(config)
        recipe = recipes.from_metadata(network.recipe)
        shapes = recipes.sizes(recipe.model, network.input_shape, network.classes).shapes(recipe.model)
        if 4 * sum(math.prod(shape) for shape in shapes.values()) > path.stat().st_size:
            raise ValueError("it holds fewer numbers than its network has")
        with warnings.catch_warnings(action="ignore"):  # Keras's, of what doesn't fit, which it refuses then
            net = build_model(recipe.model, network.input_shape, network.classes, network.input_scale)
            # Earlier versions saved the network as it was trained, without stock layers.
            if plain(config) not in [plain(json.loads(each.to_json())) for each in (with_stock_layers(net), net)]:
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
