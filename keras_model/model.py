"""The network of a recipe as a Functional model, and its weights in torch's layout."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from minigrad.recipes import Model, Recipe, Sizes, sizes
from minigrad.runs import NetworkSpec, weights

from .layers import BatchNormalization
from .optimizers import build_optimizer
from .parts import Parts
from .precision import dtype_policy
from .stock import unwrapped

# Torch's names of Keras's variables; a bias has the same name in both.
NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Axes that transpose a kernel to torch's layout, by its number of dimensions: (in, out) to (out, in), and
# (height, width, in, out) to (out, in, height, width).
TO_TORCH = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}


def build_model(
    model: Model,
    input_shape: tuple[int, ...] = (28, 28),
    classes: int = 10,
    input_scale: float = 1 / 255,
    precision: str = "float32",
) -> keras.Model:
    """Build the Functional model of a recipe, from raw input to logits.

    A cnn has convolutions with 2x2 max pooling before the dense layers.

    Args:
        model: the recipe's section `model`. The keys that describe the network are used, and `weights`, a file of
            initial weights.
        input_shape: the shape of one input: (features,), (height, width) or (height, width, channels). Default (28, 28).
        classes: the number of logits, default 10.
        input_scale: the factor by which the network multiplies its input; the default 1/255 is for uint8 pixels.
            With 1, the input is of floats.
        precision: the dtype policy of the network, such as float64 or mixed_bfloat16. The default float32 does not depend
            on keras.json.

    Returns:
        A model that maps inputs (n, *input_shape) to logits (n, classes).

    Raises:
        UserError: the input of a cnn is not an image, or the weights file doesn't fit the network.

    Example:
        net = build_model(recipes.load("cnn").model)
        logits = net.predict(images)
    """
    layers = sizes(model, input_shape, classes)
    arrays = None
    if model.weights is not None:  # read before the network is built, which takes longer
        arrays = weights.load_for(model.weights, NetworkSpec(Recipe(model=model), input_shape, classes, input_scale))
    with dtype_policy(precision):
        net = _functional(model, layers, input_shape, classes, input_scale)
    if arrays is not None:
        set_weights(net, arrays)
    return net


def _functional(model: Model, layers: Sizes, input_shape: tuple[int, ...], classes: int, scale: float) -> keras.Model:
    """Build the Functional model in the current dtype policy."""
    inputs = keras.Input(input_shape, dtype="uint8" if scale != 1 else None, name="image")
    # A NumPy scalar stays float64; TensorFlow would convert a Python float to float32 first.
    x = keras.layers.Rescaling(np.dtype(keras.config.floatx()).type(scale), name="scale")(inputs)
    if layers.conv:
        x = keras.layers.Reshape((*layers.image[1:], layers.image[0]), name="channels")(x)
        for i, (_, channels) in enumerate(layers.conv):
            x = _convolution(x, model, i, channels)
        # Channels first, so that the next kernel needs only a transposition in the weights file.
        x = keras.layers.Permute((3, 1, 2), name="channels_first")(x)
    x = keras.layers.Flatten(name="flatten", data_format="channels_last")(x)
    for i, (_, units) in enumerate(layers.hidden):
        x = _hidden_layer(x, model, i, units)
    return keras.Model(inputs, keras.layers.Dense(classes, name="output")(x), name="classifier")


def _convolution(x: Any, model: Model, i: int, channels: int) -> Any:
    """Apply the i-th convolution, pooling, batch normalization if any, and activation."""
    # Set explicitly, so that keras.json has no effect. TensorFlow's CPU kernels support only images with channels last.
    layout: Any = {"data_format": "channels_last"}
    window = {"kernel_size": model.kernel_size, "padding": "same"}
    # No bias before batch normalization, which has its own.
    x = keras.layers.Conv2D(channels, use_bias=not model.batch_norm, name=f"conv_{i}", **window, **layout)(x)
    if model.batch_norm:
        x = BatchNormalization(name=f"conv_norm_{i}")(x)
    # Pooling first leaves a quarter of the work for the activation; the two commute, since activations are monotone.
    x = keras.layers.MaxPooling2D(2, name=f"pool_{i}", **layout)(x)
    return keras.layers.Activation(model.activation, name=f"conv_activation_{i}")(x)


def _hidden_layer(x: Any, model: Model, i: int, units: int) -> Any:
    """Apply the i-th hidden dense layer, batch normalization if any, activation, and dropout if any."""
    x = keras.layers.Dense(units, use_bias=not model.batch_norm, name=f"hidden_{i}")(x)
    if model.batch_norm:
        x = BatchNormalization(name=f"hidden_norm_{i}")(x)
    x = keras.layers.Activation(model.activation, name=f"hidden_activation_{i}")(x)
    return keras.layers.Dropout(model.dropout, name=f"dropout_{i}")(x) if model.dropout else x


def compile_model(
    net: keras.Model,
    model: Model,
    steps: int,
    epochs: int = 1,
    *,
    steps_per_execution: int | None = None,
    parts: Parts = Parts(),  # noqa: B008 (it is frozen)
    **averaging: Any,
) -> None:
    """Compile a model for training: the recipe's optimizer, cross-entropy from logits, accuracy.

    Args:
        net: the model that `build_model` returned.
        model: the recipe's section `model`.
        steps: the number of steps per epoch.
        epochs: the number of epochs in the whole training, for the schedule. Default 1.
        steps_per_execution: as in `keras.Model.compile`. The default None chooses the fastest value for the backend.
        parts: the user's optimizer and loss, which replace those, and further metrics. Default none.
        **averaging: further arguments of the optimizer: `use_ema` and `ema_momentum`.
    """
    if steps_per_execution is None:
        executions = max(1, math.ceil(steps / max_steps_per_execution()))
        steps_per_execution = math.ceil(steps / executions)  # executions of equal length
    optimizer = parts.optimizer
    if optimizer is None:
        optimizer = build_optimizer(model, steps * epochs, **averaging)
    else:
        for name, value in averaging.items():
            setattr(unwrapped(optimizer), name, value)
    net.compile(
        optimizer,
        parts.loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy", *parts.metrics],
        steps_per_execution=max(1, steps_per_execution),
        jit_compile=jit_compile(),
    )


def max_steps_per_execution() -> int:
    """Return the largest useful `steps_per_execution` on this backend, by measurement."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return 1 if tf.distribute.has_strategy() else 128  # MirroredStrategy fails with more than one
    return {"jax": 128}.get(backend, 1)  # the torch trainer supports 1 only


def jit_compile() -> bool | str:
    """Return the `jit_compile` argument: True on JAX; False on TensorFlow's CPU, where XLA slows such small steps."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return "auto" if tf.config.list_physical_devices("GPU") else False
    return backend == "jax"


def named_variables(net: keras.Model) -> dict[str, Any]:
    """Return the variables of a network, parameters and moving statistics, by their names in weights.safetensors."""
    variables: dict[str, Any] = {}
    for layer in net.layers:
        name = re.sub(r"_(\d+)$", r".\1", layer.name)
        if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D | keras.layers.BatchNormalization):
            variables |= {f"{name}.{NAMES.get(v.name, v.name)}": v for v in layer.weights}
    return variables


def to_torch(array: np.ndarray) -> np.ndarray:
    """Return the value of a variable, or its gradient, in the layout of weights.safetensors."""
    return array.transpose(TO_TORCH[array.ndim])


def get_weights(net: keras.Model) -> dict[str, np.ndarray]:
    """Return parameters and moving statistics with the names and the layout of weights.safetensors.

    Args:
        net: a network that `build_model` built.

    Returns:
        Arrays in the dtype of their variables, such as `hidden.0.weight` of shape (units, inputs).
    """
    return {name: to_torch(ops.convert_to_numpy(v)) for name, v in named_variables(net).items()}


def set_weights(net: keras.Model, arrays: Mapping[str, Any]) -> None:
    """Set parameters and moving statistics; the inverse of `get_weights`.

    Args:
        net: a network that `build_model` built.
        arrays: an array for every variable, with the names and in the layout of weights.safetensors.

    Raises:
        KeyError: an array is missing.
    """
    for name, v in named_variables(net).items():
        v.assign(np.transpose(arrays[name], np.argsort(TO_TORCH[len(v.shape)])))


def count_parameters(net: keras.Model) -> int:
    """Return the number of trainable parameters."""
    return int(sum(np.prod(v.shape) for v in net.trainable_variables))
