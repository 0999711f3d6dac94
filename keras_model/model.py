"""The network of a recipe as a Functional Keras model, and its weights in torch's layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from minigrad.recipes import Model
from minigrad.runs import weights as weights_file

from .optimizers import build_optimizer

# How many steps run between two looks at Python; torch's trainer allows one only.
STEPS_PER_EXECUTION = {"tensorflow": 32, "jax": 32}


def build_model(
    model: Model,
    input_shape: tuple[int, ...] = (28, 28),
    classes: int = 10,
    input_scale: float = 1 / 255,
) -> keras.Model:
    """Dense layers with activations and dropout between them, from raw input to logits.

    Args:
        model: the recipe's section; `hidden`, `activation`, `dropout` and `weights` are used here.
        input_shape: the shape of one image or vector.
        classes: the number of logits.
        input_scale: multiplies the input; 1/255 takes raw uint8 pixels.

    Raises:
        UserError: the weights file doesn't fit.
    """
    pixels = input_scale != 1
    inputs = keras.Input(input_shape, dtype="uint8" if pixels else None, name="image")
    # A NumPy scalar keeps float64 where a Python float would pass through float32 on TensorFlow.
    x = keras.layers.Rescaling(np.dtype(keras.config.floatx()).type(input_scale), name="scale")(inputs)
    x = keras.layers.Flatten(name="flatten")(x)
    for i, size in enumerate(model.hidden):
        x = keras.layers.Dense(size, activation=model.activation, name=f"hidden_{i}")(x)
        if model.dropout:
            x = keras.layers.Dropout(model.dropout, name=f"dropout_{i}")(x)
    net = keras.Model(inputs, keras.layers.Dense(classes, name="output")(x), name="classifier")
    if model.weights is not None:
        shapes = {name: array.shape for name, array in get_weights(net).items()}
        set_weights(net, weights_file.read_for(model.weights, shapes, input_scale))
    return net


def compile_model(net: keras.Model, model: Model, total_steps: int, steps_per_execution: int | None = None) -> None:
    """Compile for training by the recipe: its optimiser, cross-entropy from logits, accuracy.

    Args:
        net: what `build_model` gave.
        model: the recipe's section.
        total_steps: of the whole training, for a cosine schedule.
        steps_per_execution: None takes what is quickest on this backend.
    """
    if steps_per_execution is None:
        steps_per_execution = STEPS_PER_EXECUTION.get(keras.backend.backend(), 1)
    net.compile(
        build_optimizer(model, total_steps),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=max(1, min(steps_per_execution, total_steps)),
        jit_compile=keras.backend.backend() == "jax",  # on TensorFlow's CPU it made steps this small slower
    )


def get_weights(net: keras.Model, value: Callable[[Any], Any] = keras.ops.convert_to_numpy) -> dict[str, np.ndarray]:
    """The parameters, or any `value` of each, under the names and in the layout of weights.safetensors."""
    arrays = {}
    for layer in net.layers:
        if isinstance(layer, keras.layers.Dense):
            name = layer.name.replace("_", ".")
            arrays[f"{name}.weight"] = value(layer.kernel).T
            arrays[f"{name}.bias"] = value(layer.bias)
    return arrays


def set_weights(net: keras.Model, arrays: Mapping[str, Any]) -> None:
    """The inverse of `get_weights`; every parameter must be there."""
    for layer in net.layers:
        if isinstance(layer, keras.layers.Dense):
            name = layer.name.replace("_", ".")
            layer.kernel.assign(np.ascontiguousarray(arrays[f"{name}.weight"].T))
            layer.bias.assign(arrays[f"{name}.bias"])


def count_parameters(net: keras.Model) -> int:
    """How many numbers training moves."""
    return int(sum(np.prod(v.shape) for v in net.trainable_variables))
