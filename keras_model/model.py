"""The network of a recipe as a Functional Keras model, and its weights in torch's layout."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from minigrad.recipes import Model, plan
from minigrad.runs import weights as weights_file

from .optimizers import build_optimizer

# How many steps run between two looks at Python; torch's trainer allows one only.
STEPS_PER_EXECUTION = {"tensorflow": 32, "jax": 32}
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


@keras.saving.register_keras_serializable("keras_model")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's own with torch's settings and torch's moving variance: of n values in a channel it takes up the sum
    of squares over n - 1, where Keras's takes the one over n. And float64 stays, where Keras's is float32 on JAX.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **options: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **options)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            *others, _ = ops.shape(inputs)
            n = ops.cast(math.prod(others), inputs.dtype)

            def total(x: Any) -> Any:
                # Image by image first: TensorFlow adds one after another, and 100,000 numbers in a row lose digits.
                within = list(range(1, len(others)))
                return ops.sum(ops.sum(x, within) if within else x, 0)

            mean = total(inputs) / n
            variance = total(ops.square(inputs - ops.stop_gradient(mean))) / n  # whose slope in the mean is 0
            for moving, seen in ((self.moving_mean, mean), (self.moving_variance, variance * (n / (n - 1)))):
                moving.assign(self.momentum * moving + (1 - self.momentum) * seen)
        return ops.batch_normalization(inputs, mean, variance, -1, self.beta, self.gamma, self.epsilon)


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
    sizes, pixels = plan(model, input_shape, classes), input_scale != 1
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
    if sizes.conv:
        x = keras.layers.Reshape((*sizes.image[1:], sizes.image[0]), name="channels")(x)
        for i, (_, size) in enumerate(sizes.conv):
            window = {"kernel_size": model.kernel_size, "padding": "same", **bias, **channels_last}
            x = normalised(keras.layers.Conv2D(size, name=f"conv_{i}", **window)(x), f"conv_norm_{i}")
            # Pooled first: a monotone activation commutes with the maximum, and has a quarter of the work left.
            x = activated(keras.layers.MaxPooling2D(2, name=f"pool_{i}", **channels_last)(x), f"conv_activation_{i}")
        # Channels first, so that the next layer's kernel is only transposed in the weights file.
        x = keras.layers.Permute((3, 1, 2), name="channels_first")(x)
    x = keras.layers.Flatten(name="flatten", **channels_last)(x)
    for i, (_, size) in enumerate(sizes.hidden):
        x = normalised(keras.layers.Dense(size, name=f"hidden_{i}", **bias)(x), f"hidden_norm_{i}")
        x = activated(x, f"hidden_activation_{i}")
        if model.dropout:
            x = keras.layers.Dropout(model.dropout, name=f"dropout_{i}")(x)
    net = keras.Model(inputs, keras.layers.Dense(classes, name="output")(x), name="classifier")
    if model.weights is not None:
        set_weights(net, weights_file.read_for(model.weights, sizes.shapes(model), input_scale))
    return net


def compile_model(net: keras.Model, model: Model, total_steps: int, steps_per_execution: int | None = None) -> None:
    """Compile for training by the recipe: its optimiser, cross-entropy from logits, accuracy.

    Args:
        net: what `build_model` gave.
        model: the recipe's section.
        total_steps: of the whole training, for a schedule that ends with it.
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
