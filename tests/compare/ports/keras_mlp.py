"""The network of `torch_mlp` in Keras."""

from __future__ import annotations

import keras
import numpy as np
import seeded
from keras import layers

SHAPES = ((32, 20), (32,), (32, 32), (32,), (10, 32), (10,))


class ActiveDropout(layers.Dropout):
    """Dropout that is also active at inference."""

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        return super().call(inputs, training=True)


def model(
    activation: str = "relu", output: str | None = None, bias: bool = True, active_dropout: bool = False
) -> keras.Model:
    """The network with random weights.

    Args:
        activation: of the hidden layers.
        output: the activation of the last layer.
        bias: whether the second layer has a bias.
        active_dropout: whether dropout is also active at inference.
    """
    keras.utils.set_random_seed(2)
    inputs = keras.Input((20,))
    x = layers.Dense(32, activation=activation, name="hidden1")(inputs)
    x = layers.Dense(32, activation=activation, use_bias=bias, name="hidden2")(x)
    x = (ActiveDropout if active_dropout else layers.Dropout)(0.5, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(10, activation=output, name="logits")(x))


def _with(weights: list[np.ndarray]) -> keras.Model:
    net = model()
    net.set_weights(weights)
    return net


def model_seeded() -> keras.Model:
    """The network with the weights of `seeded`."""
    return _with([weight.T for weight in seeded.weights(SHAPES)])


def model_reshaped_kernel() -> keras.Model:
    """The kernel of the first layer is reshaped to (20, 32) instead of transposed."""
    weights = seeded.weights(SHAPES)
    return _with([weights[0].reshape(20, 32), *(weight.T for weight in weights[1:])])


def model_transposed_kernel() -> keras.Model:
    """The square kernel of the second layer is not transposed, which no shape reveals."""
    weights = seeded.weights(SHAPES)
    return _with([weight if weight.shape == (32, 32) else weight.T for weight in weights])


def model_wrong_activation() -> keras.Model:
    return model(activation="tanh")


def model_softmax() -> keras.Model:
    return model(output="softmax")


def model_missing_bias() -> keras.Model:
    return model(bias=False)


def model_active_dropout() -> keras.Model:
    return model(active_dropout=True)
