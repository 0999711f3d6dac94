"""Layers of Keras: their kinds, settings and weights, in the words and the layout of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..model import Layout, Parameter
from . import activations
from .layouts import Form, Padding, per_dimension, same_padding

L = keras.layers
KINDS: dict[Any, str] = {
    L.Dense: "linear",
    L.DepthwiseConv1D: "conv1d",
    L.DepthwiseConv2D: "conv2d",
    L.Conv1D: "conv1d",
    L.Conv2D: "conv2d",
    L.BatchNormalization: "batch_norm",
    L.LayerNormalization: "layer_norm",
    L.Embedding: "embedding",
    L.MultiHeadAttention: "attention",
    L.MaxPooling1D: "max_pool",
    L.MaxPooling2D: "max_pool",
    L.AveragePooling1D: "avg_pool",
    L.AveragePooling2D: "avg_pool",
    L.GlobalAveragePooling1D: "global_avg_pool",
    L.GlobalAveragePooling2D: "global_avg_pool",
    L.GlobalMaxPooling1D: "global_max_pool",
    L.GlobalMaxPooling2D: "global_max_pool",
    L.Dropout: "dropout",
    L.SpatialDropout1D: "dropout",
    L.SpatialDropout2D: "dropout",
    L.Flatten: "flatten",
    L.ZeroPadding1D: "pad",
    L.ZeroPadding2D: "pad",
    L.Rescaling: "rescale",
    L.Add: "add",
}
ACTIVATIONS = (L.Activation, L.ReLU, L.LeakyReLU, L.ELU, L.Softmax)
DEPTHWISE = (L.DepthwiseConv1D, L.DepthwiseConv2D)
WITH_KERNEL = (
    *(L.Dense, L.Conv1D, L.Conv2D, L.Conv3D, *DEPTHWISE, L.SeparableConv1D, L.SeparableConv2D),
    *(L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose),
)
ROLES = {
    "kernel": "weight",
    "depthwise_kernel": "depthwise_weight",
    "pointwise_kernel": "pointwise_weight",
    "gamma": "weight",
    "beta": "bias",
    "embeddings": "weight",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def kind(layer: Any) -> str:
    """Return the kind of a layer: one of `model.KINDS`, or the name of its class."""
    if isinstance(layer, ACTIVATIONS):
        return "activation"
    return next((KINDS[base] for base in type(layer).__mro__ if base in KINDS), type(layer).__name__)


def children(layer: Any) -> list[Any]:
    """Return the layers that are attributes of a layer, also in lists and dictionaries, or the layers of a model."""
    if isinstance(layer, keras.Model):
        return list(layer.layers)
    values: list[Any] = []
    for value in vars(layer).values():
        values += value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
    return list({id(v): v for v in values if isinstance(v, keras.Layer) and v is not layer}.values())


def leaves(layer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the layers of a model that contain no others, or are of a known kind, and their names.

    Args:
        layer: the model, or a layer in it.
        path: the name of the layer in the model, as in `block/dense`; "" for the model itself.
    """
    inner = children(layer)
    if isinstance(layer, L.InputLayer):
        return
    if not inner or kind(layer) != type(layer).__name__ or isinstance(layer, (L.RNN, L.Wrapper)):
        yield path or layer.name, layer
        return
    for child in inner:
        yield from leaves(child, f"{path}/{child.name}".removeprefix("/"))


def data_format(layer: Any, dimensions: int) -> Layout | None:
    """Return the layout of the images or sequences of a layer that needs to know it, else None.

    Args:
        layer: the layer.
        dimensions: number of dimensions of its input.
    """
    if isinstance(layer, L.BatchNormalization):
        return "channels_last" if layer.axis in (-1, dimensions - 1) else "channels_first"
    if isinstance(layer, (L.ZeroPadding1D, L.SpatialDropout1D)):  # have no setting for it
        return "channels_last"
    return None if isinstance(layer, L.Flatten) else getattr(layer, "data_format", None)


def activation_of(layer: Any) -> Callable[[Any], Any] | None:
    """Return the function, or the layer, inside a layer such as `Dense(10, activation="relu")`, or None."""
    function = getattr(layer, "activation", None)
    if isinstance(layer, (*ACTIVATIONS, L.RNN)) or not callable(function):
        return None
    return None if function is keras.activations.linear else function


def activation_config(function: Callable[[Any], Any], form: Form, dimensions: int) -> dict[str, Any]:
    """Return the config of an activation.

    Args:
        function: a function of tensors, or an activation layer.
        form: the form of its input.
        dimensions: number of dimensions of its input.
    """
    if isinstance(function, L.Softmax):
        axis = function.axis if isinstance(function.axis, int) else -1
        return {"function": "softmax", "axis": form.canonical_axis(axis, dimensions)}
    apply = function.call if isinstance(function, keras.Layer) else function

    def values(x: np.ndarray) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(apply(keras.ops.convert_to_tensor(x, keras.config.floatx()))))

    name = getattr(function, "__name__", type(function).__name__).lower()
    config = activations.config(values, name)
    if config["function"] in ("softmax", "log_softmax"):
        config["axis"] = form.canonical_axis(-1, dimensions)
    return config


def config(layer: Any, kind: str, inputs: Sequence[tuple[int, ...]], form: Form, dimensions: int) -> dict[str, Any]:
    """Return the settings of a layer.

    Args:
        layer: the layer.
        kind: its kind.
        inputs: the shapes of its inputs in PyTorch's layout.
        form: the form of its arrays.
        dimensions: number of dimensions of its output.
    """
    if kind == "activation":
        return activation_config(layer.activation if type(layer) is L.Activation else layer, form, dimensions)
    if kind in ("conv1d", "conv2d"):
        return _conv(layer, inputs[0])
    if kind in ("max_pool", "avg_pool"):
        kernel = per_dimension(layer.pool_size, len(inputs[0]) - 2)
        stride = per_dimension(layer.strides, len(kernel))
        padding = _padding(layer.padding, inputs[0][2:], kernel, stride, [1] * len(kernel))
        settings = {"kernel_size": kernel, "stride": stride, "padding": padding}
        return settings | ({"count_padding": False} if kind == "avg_pool" else {})
    if kind == "batch_norm":
        momentum = round(1 - layer.momentum, 12)
        return {"eps": layer.epsilon, "momentum": momentum, "affine": layer.scale and layer.center, "unbiased": False}
    simple = {
        "linear": lambda: {"bias": layer.use_bias},
        "layer_norm": lambda: {"eps": layer.epsilon},
        "embedding": lambda: {"mask_zero": True} if layer.mask_zero else {},
        "attention": lambda: {"heads": layer.num_heads, "bias": layer.use_bias},
        "dropout": lambda: {"rate": float(layer.rate)},
        "pad": lambda: {"padding": [list(p) for p in (layer.padding if len(inputs[0]) > 3 else [layer.padding])]},
        "rescale": lambda: {"scale": _plain(layer.scale), "offset": _plain(layer.offset)},
    }
    return simple[kind]() if kind in simple else {}


def _conv(layer: Any, size: tuple[int, ...]) -> dict[str, Any]:
    kernel, stride, dilation = list(layer.kernel_size), list(layer.strides), list(layer.dilation_rate)
    return {
        "bias": layer.use_bias,
        "stride": stride,
        "padding": _padding(layer.padding, size[2:], kernel, stride, dilation),
        "dilation": dilation,
        "groups": size[1] if isinstance(layer, DEPTHWISE) else layer.groups,
    }


def _padding(padding: str, size: Sequence[int], kernel: list[int], stride: list[int], dilation: list[int]) -> Padding:
    if padding == "same":
        return same_padding(size, kernel, stride, dilation)
    if padding == "causal":
        return [[d * (k - 1), 0] for k, d in zip(kernel, dilation, strict=True)]
    return [[0, 0] for _ in kernel]


def _plain(value: Any) -> Any:
    """Return a number, or a list of numbers per channel, for JSON."""
    return np.asarray(value, dtype=np.float64).tolist()


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer in PyTorch's layout, and the variables of Keras that it consists of.

    Attributes:
        parameter: its description.
        variables: the variables; several for the packed weights of attention.
        pack: converts the variables' arrays to PyTorch's array.
        unpack: converts PyTorch's array to the variables' arrays.
    """

    parameter: Parameter
    variables: tuple[Any, ...]
    pack: Callable[[Sequence[np.ndarray]], np.ndarray]
    unpack: Callable[[np.ndarray], Sequence[np.ndarray]]


def weights_of(name: str, layer: Any) -> list[Weight]:
    """Return the weights of a layer.

    Args:
        name: of the layer.
        layer: the layer, which is built.
    """
    if isinstance(layer, L.MultiHeadAttention):
        return _attention(name, layer)
    inside = {id(v) for child in children(layer) for v in child.weights}  # an activation such as PReLU has its own
    return [
        _single(name, layer, v) for v in layer.weights if id(v) not in inside or isinstance(layer, (L.RNN, L.Wrapper))
    ]


def other_weight(variable: Any) -> Weight:
    """Return a variable that belongs to no layer."""
    shape = tuple(variable.shape)
    parameter = Parameter(variable.path, variable.path.split("/")[-1], shape, variable.trainable)
    return Weight(parameter, (variable,), lambda arrays: arrays[0], lambda array: [array])


def _single(name: str, layer: Any, variable: Any) -> Weight:
    shape, role = tuple(variable.shape), ROLES.get(variable.name, variable.name)
    axes = tuple(range(len(shape)))
    is_kernel = "kernel" in variable.name and isinstance(layer, WITH_KERNEL)
    is_depthwise = variable.name == "depthwise_kernel" or isinstance(layer, DEPTHWISE)
    if is_kernel and is_depthwise:
        axes = (*axes[-2:], *axes[:-2])  # (kh, kw, c, m) -> (c, m, kh, kw)
    elif is_kernel:
        axes = (axes[-1], axes[-2], *axes[:-2])  # (kh, kw, c, o) -> (o, c, kh, kw)
    transposed = tuple(shape[axis] for axis in axes)
    # A depthwise kernel is that of a convolution with a group per channel: (c m, 1, kh, kw).
    final = (transposed[0] * transposed[1], 1, *transposed[2:]) if is_kernel and is_depthwise else transposed
    return Weight(
        Parameter(f"{name}/{variable.name}", role, final, variable.trainable),
        (variable,),
        lambda arrays: arrays[0].transpose(axes).reshape(final),
        lambda array: [array.reshape(transposed).transpose(np.argsort(axes))],
    )


def _attention(name: str, layer: Any) -> list[Weight]:
    projections = {"q": layer.query_dense, "k": layer.key_dense, "v": layer.value_dense}
    kernels = [dense.kernel for dense in projections.values()]
    weights = []
    if len({tuple(kernel.shape) for kernel in kernels}) == 1:
        weights.append(_packed(f"{name}/in_proj_weight", "in_proj_weight", kernels, int(kernels[0].shape[0])))
    else:
        for letter, kernel in zip(projections, kernels, strict=True):
            role = f"{letter}_proj_weight"
            weights.append(_packed(f"{name}/{role}", role, [kernel], int(kernel.shape[0])))
    if layer.use_bias:
        biases = [dense.bias for dense in projections.values()]
        weights.append(_packed(f"{name}/in_proj_bias", "in_proj_bias", biases, None))
    output = layer.output_dense
    kernel = output.kernel
    shape = (int(kernel.shape[-1]), int(np.prod(kernel.shape[:-1])))
    parameter = Parameter(f"{name}/out_proj.weight", "out_proj.weight", shape, kernel.trainable)
    weights.append(
        Weight(
            parameter,
            (kernel,),
            lambda arrays: arrays[0].reshape(-1, shape[0]).T,
            lambda array: [array.T.reshape(tuple(kernel.shape))],
        )
    )
    if layer.use_bias:
        weights.append(_packed(f"{name}/out_proj.bias", "out_proj.bias", [output.bias], None))
    return weights


def _packed(name: str, role: str, variables: Sequence[Any], columns: int | None) -> Weight:
    """Return variables below each other, as PyTorch packs the query's, the key's and the value's projections.

    Args:
        name, role: of the parameter.
        variables: kernels (d, heads, size per head), or biases.
        columns: d; None for biases, which become one vector.
    """
    shapes = [tuple(v.shape) for v in variables]
    sizes = [int(np.prod(shape)) // (columns or 1) for shape in shapes]
    whole = (sum(sizes),) if columns is None else (sum(sizes), columns)

    def pack(arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([a.reshape(-1) if columns is None else a.reshape(columns, -1).T for a in arrays])

    def unpack(array: np.ndarray) -> Sequence[np.ndarray]:
        parts = np.split(array, np.cumsum(sizes)[:-1])
        return [part.T.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    trainable = any(v.trainable for v in variables)
    return Weight(Parameter(name, role, whole, trainable), tuple(variables), pack, unpack)
