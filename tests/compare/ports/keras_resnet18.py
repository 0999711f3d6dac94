"""The network of `torch_resnet18` in Keras. The shortcut of a block runs first, as in keras.applications."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers


@dataclass
class ResNet:
    """The network, with what a port can get wrong.

    Attributes:
        epsilon: of batch norm; the default of Keras is 1e-3.
        momentum: of batch norm, of the old value.
        same: whether convolutions with stride 2 have padding "same" instead of PyTorch's.
        swap: whether the order of the channels of the input is reversed.
        scale: the factor of the input.
        output: the activation of the last layer.
    """

    epsilon: float = 1e-5
    momentum: float = 0.9
    same: bool = False
    swap: bool = False
    scale: float | None = None
    output: str | None = None

    def conv(self, x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
        if stride == 1 or kernel == 1 or self.same:
            return layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)(x)
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
        return layers.Conv2D(filters, kernel, stride, use_bias=False, name=name)(x)

    def norm(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return layers.BatchNormalization(momentum=self.momentum, epsilon=self.epsilon, name=name)(x)

    def block(self, x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
        shortcut = x
        if stride != 1:
            shortcut = self.conv(x, filters, 1, stride, f"{name}_downsample_0")
            shortcut = self.norm(shortcut, f"{name}_downsample_1")
        x = self.norm(self.conv(x, filters, 3, stride, f"{name}_conv1"), f"{name}_bn1")
        x = layers.ReLU(name=f"{name}_relu1")(x)
        x = self.norm(self.conv(x, filters, 3, 1, f"{name}_conv2"), f"{name}_bn2")
        return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, shortcut]))

    def build(self) -> keras.Model:
        x = inputs = keras.Input((32, 32, 3))
        if self.scale is not None:
            x = layers.Rescaling(self.scale)(x)
        if self.swap:
            x = keras.ops.flip(x, axis=-1)
        x = layers.ReLU(name="relu")(self.norm(self.conv(x, 64, 7, 2, "conv1"), "bn1"))
        x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)  # zeros are never the maximum, since relu comes before
        x = layers.MaxPooling2D(3, 2, name="maxpool")(x)
        for number, filters in enumerate((64, 128, 256, 512), 1):
            x = self.block(x, filters, 1 if number == 1 else 2, f"layer{number}_0")
            x = self.block(x, filters, 1, f"layer{number}_1")
        x = layers.GlobalAveragePooling2D(name="avgpool")(x)
        return keras.Model(inputs, layers.Dense(10, activation=self.output, name="fc")(x))


def model() -> keras.Model:
    """The network with random weights."""
    keras.utils.set_random_seed(2)
    return ResNet().build()


def model_wrong_epsilon() -> keras.Model:
    """Batch norm has the default epsilon of Keras."""
    return ResNet(epsilon=1e-3).build()


def model_wrong_momentum() -> keras.Model:
    """Batch norm has the default momentum of Keras."""
    return ResNet(momentum=0.99).build()


def model_same_padding() -> keras.Model:
    """At stride 2, Keras pads more at the end than at the beginning."""
    return ResNet(same=True).build()


def model_swapped_channels() -> keras.Model:
    return ResNet(swap=True).build()


def model_scaled_twice() -> keras.Model:
    return ResNet(scale=1 / 255).build()


def model_softmax() -> keras.Model:
    return ResNet(output="softmax").build()
