"""Build a trained network from its file, without running code from the file.

A weights.safetensors contains numbers and the description of the network.
From a model.keras, Keras loads only the numbers: the configuration in it is
read as plain JSON, and must equal that of a network that this package builds,
in Keras's own classes or in those of this package.
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from minigrad.datasets import Dataset, align_classes
from minigrad.recipes import Recipe, note_default_data
from minigrad.runs import UserError, expand, weights
from minigrad.runs.foreign import Invalid, parsing, part_of_file
from minigrad.runs.weights import NetworkSpec

from .archive import network_spec, read_config, relevant
from .model import build_model, get_weights, set_weights
from .stock import with_stock_layers


def restore(path: str | None) -> tuple[keras.Model, NetworkSpec]:
    """Build a trained network from its file.

    Args:
        path: a weights.safetensors that any of the three packages wrote, or a model.keras that `fit` or `export` wrote.

    Returns:
        The network, and its specification: recipe, input shape, classes and input scale.

    Raises:
        UserError: the file is missing or damaged, or was written by another program.

    Example:
        net, spec = restore("runs/keras-1/weights.safetensors")
        logits = net.predict(images)
    """
    if path is None:
        raise UserError("model.weights: null; expected a weights.safetensors or a model.keras")
    return _from_keras(expand(path)) if path.endswith(".keras") else _from_weights(expand(path))


def restore_for(recipe: Recipe, data: Dataset) -> tuple[keras.Model, Dataset]:
    """Build the network of the recipe's weights file for a data set; without a file, an untrained network.

    Args:
        recipe: its `model.weights` is the file. If that is null, its other keys describe the network.
        data: the data set on which the network will be evaluated.

    Returns:
        The network, and the data set with its classes in the order that the network was trained with.

    Raises:
        UserError: the file can't be used, or its network expects other data.
    """
    if recipe.model.weights is None:
        print("model.weights is null: this network is untrained")
        return build_model(recipe.model, data.input_shape, data.classes, data.input_scale), data
    net, spec = restore(recipe.model.weights)
    note_default_data(recipe.data.path, spec.recipe.data.path)
    return net, refuse_misfit(spec, data, recipe.model.weights)


def refuse_misfit(spec: NetworkSpec, data: Dataset, source: object) -> Dataset:
    """Check that a network was trained on data of this kind.

    Args:
        spec: the specification of the network.
        data: the data set.
        source: the file of the network, for messages.

    Returns:
        The data set with its classes in the order of the network, and with the names of the network if it has none.

    Raises:
        UserError: the input shape, the number of classes, the input scale or the names of the classes differ.
    """
    for name, expected, actual in (
        ("input_shape", spec.input_shape, data.input_shape),
        ("classes", spec.classes, data.classes),
        ("input_scale", spec.input_scale, data.input_scale),
    ):
        if expected != actual:
            raise UserError(f"data.path: {name} is {actual}; expected {expected}, which the network was trained on")
    aligned = align_classes(data, spec.class_names, source)
    return replace(aligned, class_names=aligned.class_names or spec.class_names)


def build_network(spec: NetworkSpec) -> keras.Model:
    """Build the untrained network of a specification."""
    model = replace(spec.recipe.model, weights=None)
    return build_model(model, spec.input_shape, spec.classes, spec.input_scale)


def _from_weights(path: Path) -> tuple[keras.Model, NetworkSpec]:
    spec, arrays = weights.load(path)
    net = build_network(spec)
    set_weights(net, arrays)
    return net, spec


def _from_keras(path: Path) -> tuple[keras.Model, NetworkSpec]:
    config, name = read_config(path), f"model.weights: {path}"
    expected = f"a model.keras that keras_model wrote with Keras {keras.__version__}"
    with parsing(name, expected, "is not a network of keras_model"), part_of_file():
        spec = network_spec(config)
        if 4 * sum(math.prod(shape) for shape in spec.shapes().values()) > path.stat().st_size:
            raise Invalid("it holds fewer numbers than its network has")
    net = build_network(spec)
    # Earlier versions saved the network with this package's layers instead of stock layers.
    known = [relevant(json.loads(candidate.to_json())) for candidate in (with_stock_layers(net), net)]
    with parsing(name, expected, "is not a network of keras_model"), warnings.catch_warnings(action="ignore"):
        if relevant(config) not in known:
            raise Invalid("its configuration is not that of a network of keras_model")
        net.load_weights(path)  # Keras warns about misfits before it raises an exception
    for name, array in get_weights(net).items():
        if not np.isfinite(array).all():
            raise UserError(f"model.weights: {path}: {name} holds NaN or inf; expected finite numbers")
    return net, spec
