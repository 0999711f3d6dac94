"""The network of `torch_transformer` in Keras.

Keras scales the scores of attention by a float32 constant, also in float64. With 16 numbers per head it is exactly 1/4.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers


class ActiveDropout(layers.Dropout):
    """Dropout that is also active at inference."""

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        return super().call(inputs, training=True)


def gelu(x: keras.KerasTensor) -> keras.KerasTensor:
    """GELU without an approximation. TensorFlow's own is accurate only to 1e-8 in float64: its constants are float32."""
    return 0.5 * x * (1.0 + keras.ops.erf(x / 2**0.5))


def model(
    epsilon: float = 1e-5,
    bias: bool = True,
    active_dropout: bool = False,
    activation: str | Callable[[keras.KerasTensor], keras.KerasTensor] = gelu,
    output: str | None = None,
) -> keras.Model:
    """The network with random weights.

    Args:
        epsilon: of layer norm; the default of Keras is 1e-3.
        bias: whether the attention has biases.
        active_dropout: whether dropout is also active at inference.
        activation: between the two linear layers.
        output: the activation of the last layer.
    """
    keras.utils.set_random_seed(2)
    dropout = ActiveDropout if active_dropout else layers.Dropout
    inputs = keras.Input((12, 32))
    x = layers.LayerNormalization(epsilon=epsilon, name="norm1")(inputs)
    x = layers.MultiHeadAttention(2, 16, use_bias=bias, name="attention")(x, x)
    x = residual = layers.Add(name="add1")([inputs, dropout(0.1, name="dropout1")(x)])
    x = layers.LayerNormalization(epsilon=epsilon, name="norm2")(x)
    x = layers.Dense(64, name="linear1")(x)
    x = layers.Activation(activation, name="gelu")(x)
    x = layers.Dense(32, name="linear2")(x)
    x = layers.Add(name="add2")([residual, dropout(0.1, name="dropout2")(x)])
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model(inputs, layers.Dense(10, activation=output, name="head")(x))


def model_wrong_epsilon() -> keras.Model:
    """Layer norm has the default epsilon of Keras."""
    return model(epsilon=1e-3)


def model_library_gelu() -> keras.Model:
    """GELU of Keras. Equal to PyTorch's within rounding, except in float64 on TensorFlow."""
    return model(activation="gelu")


def model_tanh_gelu() -> keras.Model:
    return model(activation=lambda x: keras.activations.gelu(x, approximate=True))


def model_wrong_activation() -> keras.Model:
    return model(activation="silu")


def model_missing_bias() -> keras.Model:
    """The attention has no biases."""
    return model(bias=False)


def model_active_dropout() -> keras.Model:
    return model(active_dropout=True)


def model_softmax() -> keras.Model:
    return model(output="softmax")
