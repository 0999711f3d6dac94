"""The network of a recipe as a Functional Keras model, and its weights in torch's layout."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from minigrad.recipes import Model, Recipe, sizes
from minigrad.runs import weights as weights_file

from .layers import BatchNormalization
from .optimizers import build_optimizer

# What torch calls Keras's variables; a bias is one in both.
NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# What brings a kernel into torch's layout: (in, out) to (out, in), and (height, width, in, out) to (out, in, height, width).
TO_TORCH = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}


def build_model(
    model: Model,
    input_shape: tuple[int, ...] = (28, 28),
    classes: int = 10,
    input_scale: float = 1 / 255,
) -> keras.Model:
    """From raw input to logits: convolutions with 2x2 max pooling in a cnn, then dense layers.

    Args:
        model: the recipe's section; what describes the network is used here, and `weights`.
        input_shape: the shape of one vector or image, (height, width) or (height, width, channels).
        classes: the number of logits.
        input_scale: multiplies the input; 1/255 takes raw uint8 pixels.

    Raises:
        UserError: the input is no image for a cnn, or the weights file doesn't fit.
    """
    layers, pixels = sizes(model, input_shape, classes), input_scale != 1
    # Whatever keras.json says: the images are, and on its CPU TensorFlow knows no other.
    channels_last: Any = {"data_format": "channels_last"}

    def normalised(x: Any, name: str) -> Any:
        return BatchNormalization(name=name)(x) if model.batch_norm else x

    def activated(x: Any, name: str) -> Any:
        return keras.layers.Activation(model.activation, name=name)(x)

    inputs = keras.Input(input_shape, dtype="uint8" if pixels else None, name="image")
    # A NumPy scalar keeps float64 where a Python float would pass through float32 on TensorFlow.
    x = keras.layers.Rescaling(np.dtype(keras.config.floatx()).type(input_scale), name="scale")(inputs)
    # Under batch norm a layer needs no bias: the norm has one.
    bias = {"use_bias": not model.batch_norm}
    if layers.conv:
        x = keras.layers.Reshape((*layers.image[1:], layers.image[0]), name="channels")(x)
        for i, (_, size) in enumerate(layers.conv):
            window = {"kernel_size": model.kernel_size, "padding": "same", **bias, **channels_last}
            x = normalised(keras.layers.Conv2D(size, name=f"conv_{i}", **window)(x), f"conv_norm_{i}")
            # Pooled first: a monotone activation commutes with the maximum, and has a quarter of the work left.
            x = activated(keras.layers.MaxPooling2D(2, name=f"pool_{i}", **channels_last)(x), f"conv_activation_{i}")
        # Channels first, so that the next layer's kernel is only transposed in the weights file.
        x = keras.layers.Permute((3, 1, 2), name="channels_first")(x)
    x = keras.layers.Flatten(name="flatten", **channels_last)(x)
    for i, (_, size) in enumerate(layers.hidden):
        x = normalised(keras.layers.Dense(size, name=f"hidden_{i}", **bias)(x), f"hidden_norm_{i}")
        x = activated(x, f"hidden_activation_{i}")
        if model.dropout:
            x = keras.layers.Dropout(model.dropout, name=f"dropout_{i}")(x)
    net = keras.Model(inputs, keras.layers.Dense(classes, name="output")(x), name="classifier")
    if model.weights is not None:
        set_weights(
            net,
            weights_file.load_for(
                model.weights, weights_file.NetworkSpec(Recipe(model=model), input_shape, classes, input_scale)
            ),
        )
    return net


def compile_model(
    net: keras.Model,
    model: Model,
    steps: int,
    epochs: int = 1,
    *,
    steps_per_execution: int | None = None,
    **averaging: Any,
) -> None:
    """Compile for training by the recipe: its optimiser, cross-entropy from logits, accuracy.

    Args:
        net: what `build_model` gave.
        model: the recipe's section.
        steps: of an epoch.
        epochs: of the whole training, for a schedule that ends with it.
        steps_per_execution: None takes what is quickest on this backend.
        averaging: what `build_optimizer` takes besides.
    """
    if steps_per_execution is None:
        most = most_steps_per_execution()
        steps_per_execution = math.ceil(steps / max(1, math.ceil(steps / most)))  # equal parts of an epoch
    net.compile(
        build_optimizer(model, steps * epochs, **averaging),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=max(1, steps_per_execution),
        jit_compile=jit_compile(),
    )


def most_steps_per_execution() -> int:
    """How many steps may run between two looks at Python, by measurement."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return 1 if tf.distribute.has_strategy() else 128  # MirroredStrategy fails in a loop of steps
    return {"jax": 128}.get(backend, 1)  # torch's trainer knows no other


def jit_compile() -> bool | str:
    """Whether XLA compiles the step: on JAX yes; on TensorFlow's CPU it makes steps this small slower."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return "auto" if tf.config.list_physical_devices("GPU") else False
    return backend == "jax"


def named_variables(net: keras.Model) -> dict[str, Any]:
    """The variables of weights.safetensors under their names there: parameters and moving statistics."""
    found: dict[str, Any] = {}
    for layer in net.layers:
        name = re.sub(r"_(\d+)$", r".\1", layer.name)
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D | keras.layers.BatchNormalization):
            found |= {f"{name}.{NAMES.get(v.name, v.name)}": v for v in layer.weights}
    return found


def to_torch(array: np.ndarray) -> np.ndarray:
    """A variable's value, or its gradient, in the layout of weights.safetensors."""
    return array.transpose(TO_TORCH[array.ndim])


def get_weights(net: keras.Model) -> dict[str, np.ndarray]:
    """Parameters and moving statistics under the names and in the layout of weights.safetensors."""
    return {name: to_torch(ops.convert_to_numpy(v)) for name, v in named_variables(net).items()}


def set_weights(net: keras.Model, arrays: Mapping[str, Any]) -> None:
    """The inverse of `get_weights`; every one must be there."""
    for name, v in named_variables(net).items():
        v.assign(np.transpose(arrays[name], np.argsort(TO_TORCH[len(v.shape)])))


def count_parameters(net: keras.Model) -> int:
    """How many numbers training moves."""
    return int(sum(np.prod(v.shape) for v in net.trainable_variables))
