"""The network of `torch_lenet` in Keras. Before it is flattened, an image gets the order of PyTorch."""

from __future__ import annotations

import keras
import numpy as np
import seeded
from keras import layers

SHAPES = ((6, 3, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (10, 84), (10,))


def model(
    activation: str = "relu",
    output: str | None = None,
    bias: bool = True,
    permute: bool = True,
    scale: float | None = None,
    swap: bool = False,
    padded_pooling: bool = False,
) -> keras.Model:
    """The network with random weights.

    Args:
        activation: of the hidden layers.
        output: the activation of the last layer.
        bias: whether the second convolution has a bias.
        permute: whether channels come first when the image is flattened.
        scale: the factor of the input.
        swap: whether the order of the channels of the input is reversed.
        padded_pooling: whether the second pooling layer is 3 x 3 with padding "same".
    """
    keras.utils.set_random_seed(2)
    x = inputs = keras.Input((32, 32, 3))
    if scale is not None:
        x = layers.Rescaling(scale)(x)
    if swap:
        x = keras.ops.flip(x, axis=-1)
    x = layers.Conv2D(6, 5, activation=activation, name="conv1")(x)
    x = layers.AveragePooling2D(2, name="pool1")(x)
    x = layers.Conv2D(16, 5, activation=activation, use_bias=bias, name="conv2")(x)
    x = layers.AveragePooling2D(*((3, 3, "same") if padded_pooling else (2,)), name="pool2")(x)
    x = layers.Permute((3, 1, 2), name="channels_first")(x) if permute else x
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(120, activation=activation, name="fc1")(x)
    x = layers.Dense(84, activation=activation, name="fc2")(x)
    return keras.Model(inputs, layers.Dense(10, activation=output, name="fc3")(x))


def _seeded(kernel1: np.ndarray | None = None) -> keras.Model:
    """The network with the weights of `seeded`, and optionally with another first kernel."""
    weights = [w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T for w in seeded.weights(SHAPES)]
    net = model()
    net.set_weights(weights if kernel1 is None else [kernel1, *weights[1:]])
    return net


def model_seeded() -> keras.Model:
    """The network with the weights of `seeded`."""
    return _seeded()


def model_reshaped_kernel() -> keras.Model:
    """The first kernel is reshaped to (5, 5, 3, 6) instead of transposed."""
    return _seeded(seeded.weights(SHAPES)[0].reshape(5, 5, 3, 6))


def model_swapped_kernel() -> keras.Model:
    """The first kernel expects blue, green, red instead of red, green, blue."""
    return _seeded(seeded.weights(SHAPES)[0].transpose(2, 3, 1, 0)[:, :, ::-1])


def model_padded_pooling() -> keras.Model:
    """The second pooling layer pads, and averages only pixels of the image."""
    return model(padded_pooling=True)


def model_flatten_order() -> keras.Model:
    """The image is flattened with its channels last; a map permutes the columns of the next weight."""
    return model(permute=False)


def model_swapped_channels() -> keras.Model:
    return model(swap=True)


def model_scaled_twice() -> keras.Model:
    """The model divides by 255 what the caller has divided already."""
    return model(scale=1 / 255)


def model_wrong_activation() -> keras.Model:
    return model(activation="tanh")


def model_softmax() -> keras.Model:
    return model(output="softmax")


def model_missing_bias() -> keras.Model:
    return model(bias=False)
