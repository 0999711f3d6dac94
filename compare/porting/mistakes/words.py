"""How each framework writes a layer, a setting or an activation function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..adapters.layouts import same_padding
from ..model import Framework, Layer
from .forward import paddings

# The class of each kind in PyTorch and in Keras; {n} is the number of dimensions.
CLASSES: dict[str, tuple[str, str]] = {
    "linear": ("nn.Linear", "Dense"),
    "conv1d": ("nn.Conv1d", "Conv1D"),
    "conv2d": ("nn.Conv2d", "Conv2D"),
    "batch_norm": ("nn.BatchNorm{n}d", "BatchNormalization"),
    "layer_norm": ("nn.LayerNorm", "LayerNormalization"),
    "embedding": ("nn.Embedding", "Embedding"),
    "attention": ("nn.MultiheadAttention", "MultiHeadAttention"),
    "max_pool": ("nn.MaxPool{n}d", "MaxPooling{n}D"),
    "avg_pool": ("nn.AvgPool{n}d", "AveragePooling{n}D"),
    "global_avg_pool": ("nn.AdaptiveAvgPool{n}d", "GlobalAveragePooling{n}D"),
    "global_max_pool": ("nn.AdaptiveMaxPool{n}d", "GlobalMaxPooling{n}D"),
    "dropout": ("nn.Dropout", "Dropout"),
    "flatten": ("nn.Flatten", "Flatten"),
    "pad": ("nn.ZeroPad{n}d", "ZeroPadding{n}D"),
}

# The argument of each setting in PyTorch and in Keras.
ARGUMENTS: dict[str, tuple[str, str]] = {
    "eps": ("eps", "epsilon"),
    "stride": ("stride", "strides"),
    "dilation": ("dilation", "dilation_rate"),
    "groups": ("groups", "groups"),
    "kernel_size": ("kernel_size", "pool_size"),
    "heads": ("num_heads", "num_heads"),
    "negative_slope": ("negative_slope", "negative_slope"),
    "alpha": ("alpha", "alpha"),
    "axis": ("dim", "axis"),
    "padding_mode": ("padding_mode", "padding_mode"),
    "scale": ("scale", "scale"),
    "offset": ("offset", "offset"),
    "momentum": ("momentum", "momentum"),
}

ACTIVATIONS: dict[str, tuple[str, str]] = {
    "linear": ("nn.Identity()", 'activation="linear"'),
    "relu": ("nn.ReLU()", 'activation="relu"'),
    "relu6": ("nn.ReLU6()", 'activation="relu6"'),
    "gelu": ("nn.GELU()", "keras.activations.gelu(x, approximate=False)"),
    "gelu_tanh": ('nn.GELU(approximate="tanh")', "keras.activations.gelu(x, approximate=True)"),
    "silu": ("nn.SiLU()", 'activation="silu"'),
    "leaky_relu": ("nn.LeakyReLU({slope})", "LeakyReLU(negative_slope={slope})"),
    "elu": ("nn.ELU()", 'activation="elu"'),
    "selu": ("nn.SELU()", 'activation="selu"'),
    "tanh": ("nn.Tanh()", 'activation="tanh"'),
    "sigmoid": ("nn.Sigmoid()", 'activation="sigmoid"'),
    "softplus": ("nn.Softplus()", 'activation="softplus"'),
    "softsign": ("nn.Softsign()", 'activation="softsign"'),
    "hard_sigmoid": ("nn.Hardsigmoid()", 'activation="hard_sigmoid"'),
    "hard_silu": ("nn.Hardswish()", 'activation="hard_silu"'),
    "mish": ("nn.Mish()", 'activation="mish"'),
    "exponential": ("torch.exp(x)", 'activation="exponential"'),
    "softmax": ("nn.Softmax({axis})", "Softmax(axis={axis})"),
    "log_softmax": ("nn.LogSoftmax({axis})", 'activation="log_softmax"'),
}


def choice(framework: Framework, names: tuple[str, str]) -> str:
    """Return the first name for PyTorch, and the second one for Keras."""
    return names[0] if framework == "torch" else names[1]


def dimensions(layer: Layer) -> int:
    """Return the number of axes after the batch and the channels, at least 1."""
    return max(1, len(layer.inputs[0]) - 2)


def class_of(framework: Framework, kind: str, layer: Layer) -> str:
    """Return the name of the class, such as `nn.MaxPool2d`."""
    return choice(framework, CLASSES.get(kind, (kind, kind))).format(n=dimensions(layer))


def activation(framework: Framework, config: Mapping[str, Any]) -> str:
    """Return how to write an activation function."""
    form = choice(framework, ACTIVATIONS[config["function"]])
    return form.format(slope=config.get("negative_slope", 0.01), axis=config.get("axis", -1))


def setting(framework: Framework, layer: Layer, kind: str, config: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Return how to write some settings of a layer.

    Args:
        framework: whose words to use.
        layer: the layer as it is, for its shapes and its other settings.
        kind: the kind of the layer.
        config: all settings that the layer should have.
        keys: those to write.
    """
    keys = list(keys)
    layer, before = replace(layer, config={**config, **layer.config, **{key: config[key] for key in keys}}), layer
    if _changes_padding(framework, before, layer, config, keys):
        keys.append("padding")
    if kind == "activation":
        return f"`{activation(framework, config)}`"
    if kind == "rescale":
        form = "x * {} + {}" if framework == "torch" else "Rescaling({}, {})"
        return f"`{form.format(config['scale'], config['offset'])}`"
    name, own = class_of(framework, kind, layer), ["..."]
    own += [argument(framework, key, config[key]) for key in keys if key not in ("padding", "count_padding")]
    front = ""
    if kind == "avg_pool" and not {"padding", "count_padding"}.isdisjoint(keys):
        front, more = average_padding(framework, layer, config)
        own += more
    elif "padding" in keys:
        front, last = padding(framework, layer, kind, config["padding"])
        own.append(last)
    return f"{front}`{name}({', '.join(own)})`"


def argument(framework: Framework, key: str, value: Any) -> str:
    """Return a setting as an argument of the layer's class."""
    if key == "momentum" and framework == "keras":
        value = round(1 - value, 12)
    value = tuple(value) if isinstance(value, list) else value
    return f"{choice(framework, ARGUMENTS.get(key, (key, key)))}={value!r}"


def average_padding(framework: Framework, layer: Layer, config: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return what to put in front of average pooling, and its own arguments; only PyTorch can count the padding."""
    pairs, counted = paddings(config.get("padding"), dimensions(layer)), bool(config.get("count_padding"))
    front, own = padding(framework, layer, "avg_pool", pairs)
    is_same = framework == "keras" and own == 'padding="same"'
    if framework == "torch" and not front:
        return "", [own, f"count_include_pad={counted}"]
    if is_same and counted:
        return f"`{zero_padding(pairs)}` in front of ", ['padding="valid"']
    if front and not counted:
        return f"the same pooling of padded ones as a divisor, and {front}", [own]
    return front, [own]


def padding(framework: Framework, layer: Layer, kind: str, value: Any) -> tuple[str, str]:
    """Return the layer to put in front, if one is needed, and the layer's own argument.

    Args:
        framework: whose words to use.
        layer: with the windows that it should have, on which the amount of "same" depends.
        kind: the kind of the layer.
        value: the padding that it should have.
    """
    pairs = paddings(value, dimensions(layer))
    n, symmetric = len(pairs), all(before == after for before, after in pairs)
    if framework == "torch" and symmetric:
        return "", f"padding={tuple(before for before, _ in pairs) if n > 1 else pairs[0][0]}"
    if framework == "keras" and pairs == same(layer):
        return "", 'padding="same"'
    if framework == "keras" and not any(map(any, pairs)):
        return "", 'padding="valid"'
    if framework == "torch":
        widths = ", ".join(f"{before}, {after}" for before, after in reversed(pairs))
        filling = ', value=float("-inf")' if kind == "max_pool" else ""
        return f"`F.pad(x, ({widths}){filling})` in front of ", "padding=0"
    if kind == "max_pool":
        width = [(0, 0), *pairs, (0, 0)]
        return f'`keras.ops.pad(x, {width}, constant_values=-float("inf"))` in front of ', 'padding="valid"'
    return f"`{zero_padding(pairs)}` in front of ", 'padding="valid"'


def _changes_padding(
    framework: Framework, before: Layer, after: Layer, config: Mapping[str, Any], keys: Sequence[str]
) -> bool:
    """Return whether the padding must be written too, since the amount of "same" depends on the settings that change.

    Args:
        framework: whose layer it is.
        before, after: the layer without and with the change.
        config: all settings that the layer should have.
        keys: those that change.
    """
    if "padding" in keys or "padding" not in config or {"stride", "dilation", "kernel_size"}.isdisjoint(keys):
        return False
    n = dimensions(before)
    now, needed = (paddings(value, n) for value in (before.config.get("padding"), config["padding"]))
    return now != needed or (framework == "keras" and now == same(before) and same(after) != needed)


def zero_padding(pairs: Sequence[tuple[int, int]]) -> str:
    """Return the layer of Keras that pads."""
    return f"ZeroPadding{len(pairs)}D({tuple(pairs) if len(pairs) > 1 else pairs[0]})"


def same(layer: Layer) -> list[tuple[int, int]]:
    """Return the padding of "same" in TensorFlow: more after than before if it is odd."""
    return [(before, after) for before, after in same_padding(layer.inputs[0][2:], *windows(layer))]


def windows(layer: Layer) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Return the size, the stride and the dilation of the windows of a convolution or a pooling layer, per dimension.

    Raises:
        KeyError: the layer has no windows.
    """
    n = dimensions(layer)
    weight = layer.parameter("weight")
    kernel = weight.shape[2:] if weight else _each(layer.config["kernel_size"], n)
    default = 1 if weight else kernel
    stride = layer.config.get("stride")
    return kernel, _each(default if stride is None else stride, n), _each(layer.config.get("dilation", 1), n)


def _each(value: Any, n: int) -> Sequence[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * n if len(values) == 1 else values
