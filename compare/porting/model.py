"""What a side reports about its model, in the terms of PyTorch: layers in the order in which they run, and parameters.

The classes here become JSON on their way from a worker to the parent process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Framework = Literal["torch", "keras"]
Layout = Literal["channels_first", "channels_last"]
Dtype = Literal["float64", "float32"]
Mode = Literal["eval", "train"]

# The kinds of layers that are known by the same name in both frameworks. Any other layer has the name of its class.
KINDS = (
    "linear",  # config: bias
    "conv1d",  # config: bias, stride, padding, dilation, groups; see `padding_before_after`
    "conv2d",
    "batch_norm",  # config: eps, momentum (PyTorch's: the weight of the new value), affine, unbiased (of the running variance)
    "layer_norm",  # config: eps
    "embedding",
    "attention",  # multi-head attention; config: heads
    "activation",  # config: function, such as relu, relu6, gelu, gelu_tanh, softmax, silu, tanh, sigmoid
    "max_pool",  # config: kernel_size, stride, padding; of 1 or 2 dimensions
    "avg_pool",  # config: kernel_size, stride, padding, count_padding
    "global_avg_pool",  # its output is (n, c), also in PyTorch
    "global_max_pool",
    "dropout",  # config: rate
    "flatten",
    "pad",  # config: padding
    "rescale",  # config: scale, offset
    "add",
)


@dataclass(frozen=True)
class Parameter:
    """A parameter or a buffer.

    Attributes:
        name: the full name in its own framework, such as `layer1.0.conv1.weight` or `conv2d_3/kernel`.
        role: its role in the layer, in PyTorch's words: weight, bias, running_mean, running_var, in_proj_weight, ...
        shape: in PyTorch's layout.
        trainable: whether the optimizer updates it.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    trainable: bool


@dataclass(frozen=True)
class Layer:
    """One call of a layer. A layer that is called twice appears twice; its parameters belong to the first call.

    Attributes:
        name: unique in the model; the name in its own framework, with `#2` for the second call, and `.activation`
            behind it for the activation inside a Keras layer such as `Dense(10, activation="relu")`.
        kind: one of `KINDS`, or the name of the class.
        config: the settings that determine the output, by the names and with the conventions of PyTorch.
        parameters: of this layer, without those of layers inside it.
        inputs: the shapes of the inputs, in PyTorch's layout.
        output: the shape of the output, in PyTorch's layout.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    parameters: tuple[Parameter, ...]
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]

    def parameter(self, role: str) -> Parameter | None:
        """Return the parameter with this role, if there is one."""
        return next((p for p in self.parameters if p.role == role), None)


@dataclass(frozen=True)
class Structure:
    """A model.

    Attributes:
        framework: "torch" or "keras".
        backend: "torch", or the backend of Keras.
        layout: the layout of images in the model: channels_first, channels_last, or None if it has no layer for images.
        layers: in the order in which they run.
        others: parameters of the model that belong to none of the layers.
    """

    framework: Framework
    backend: str
    layout: Layout | None
    layers: tuple[Layer, ...]
    others: tuple[Parameter, ...] = ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters and buffers."""
        return (*(p for layer in self.layers for p in layer.parameters), *self.others)

    def layer(self, name: str) -> Layer:
        """Return the layer with this name. Raises KeyError if there is none."""
        return {layer.name: layer for layer in self.layers}[name]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Structure:
        """Build a structure from what `as_dict` returned, also after JSON."""

        def parameter(p: dict[str, Any]) -> Parameter:
            return Parameter(p["name"], p["role"], tuple(p["shape"]), p["trainable"])

        def layer(values: dict[str, Any]) -> Layer:
            parameters = tuple(map(parameter, values["parameters"]))
            inputs = tuple(tuple(shape) for shape in values["inputs"])
            return Layer(values["name"], values["kind"], values["config"], parameters, inputs, tuple(values["output"]))

        return cls(
            values["framework"],
            values["backend"],
            values["layout"],
            tuple(map(layer, values["layers"])),
            tuple(map(parameter, values["others"])),
        )
