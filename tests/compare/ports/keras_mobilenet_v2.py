"""MobileNetV2 of keras.applications for images of 64 x 64 x 3 and 10 classes, without a softmax at the end."""

from __future__ import annotations

import keras
import numpy as np

SCALE = 1.5  # of the variance of the kernels


def model(output: str | None = None) -> keras.Model:
    """The network with random weights of a scale that no layer shrinks, so that every layer affects the output.

    Args:
        output: the activation of the last layer.
    """
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(2)
    net = keras.applications.MobileNetV2(
        (64, 64, 3), weights=None, classes=10, classifier_activation=output or "linear"
    )
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            ranges = ((0.5, 1.5), (-0.1, 0.1), (-0.1, 0.1), (0.5, 2.0))  # gamma, beta, moving mean, moving variance
            layer.set_weights([rng.uniform(low, high, n) for low, high in ranges])
        elif isinstance(layer, keras.layers.Conv2D):
            kernel = layer.kernel.shape
            layer.set_weights([rng.normal(0, np.sqrt(SCALE / np.prod(kernel[:3])), kernel)])
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([rng.normal(0, np.sqrt(SCALE / 9), layer.kernel.shape)])
    return net


def model_softmax() -> keras.Model:
    """The network with the softmax that keras.applications adds by default."""
    return model("softmax")
