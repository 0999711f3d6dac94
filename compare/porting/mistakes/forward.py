"""The forward pass of one layer in float64, from its description, with the operations of minigrad."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minigrad import ops

from ..model import Layer

Weights = Mapping[str, np.ndarray]
PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def forward(layer: Layer, weights: Weights, inputs: Sequence[np.ndarray], mode: str = "eval") -> np.ndarray:
    """Return the output of a layer. Dropout is not applied.

    Args:
        layer: its kind and settings.
        weights: its parameters and buffers by role, in PyTorch's layout.
        inputs: in PyTorch's layout.
        mode: "eval" or "train".

    Raises:
        KeyError: the kind of the layer, a setting or a weight is unknown.
        ValueError: shapes do not match.
    """
    config, x = layer.config, inputs[0]
    if layer.kind == "batch_norm":
        return _batch_norm(config, weights, x, mode)
    if layer.kind == "add":
        return np.asarray(sum(inputs))
    return np.asarray(LAYERS[layer.kind](config, weights, x))


def _linear(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    return x @ weights["weight"].T + weights.get("bias", 0.0)


def _embedding(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    return weights["weight"][x.astype(np.intp)]


def sized(value: Any, dimensions: int) -> list[Any]:
    """Return one value per dimension."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * dimensions if len(values) == 1 else values


def paddings(value: Any, dimensions: int) -> list[tuple[int, int]]:
    """Return the padding before and after each dimension, for 1, (1, 2) or ((0, 1), (2, 3))."""
    pairs = [tuple(p) if isinstance(p, (list, tuple)) else (p, p) for p in sized(value or 0, dimensions)]
    if len(pairs) != dimensions or any(len(p) != 2 for p in pairs):
        raise ValueError(f"padding {value}; expected {dimensions} pairs")
    return pairs


def padded(x: np.ndarray, padding: Any, value: float = 0.0, mode: str = "zeros") -> np.ndarray:
    """Pad all axes but the first two."""
    width = [(0, 0), (0, 0), *paddings(padding, x.ndim - 2)]
    if mode == "zeros":
        return np.pad(x, width, constant_values=value)
    return np.asarray(np.pad(x, width, mode=PAD_MODES[mode]))  # type: ignore[call-overload]


def _two(value: Any, x: np.ndarray) -> tuple[int, int]:
    """Return a setting for height and width; sequences have a height of 1."""
    first, second = [1, *sized(value, 1)] if x.ndim == 3 else sized(value, 2)
    return first, second


def _image(x: np.ndarray) -> np.ndarray:
    return x[:, :, None] if x.ndim == 3 else x


def _conv(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    stride, dilation = (_two(config.get(name, 1), x) for name in ("stride", "dilation"))
    image = _image(padded(x, config.get("padding"), mode=config.get("padding_mode", "zeros")))
    w, groups = _image(weights["weight"]), config.get("groups", 1)
    output = np.asarray(ops.conv2d(image, np.ascontiguousarray(w), weights.get("bias"), stride, 0, dilation, groups))
    return output[:, :, 0] if x.ndim == 3 else output


def _pool(config: Mapping[str, Any], x: np.ndarray, padding: float, operation: Callable[..., Any]) -> np.ndarray:
    kernel, stride = config["kernel_size"], config.get("stride")
    image = _image(padded(x, config.get("padding"), padding))
    output = np.asarray(operation(image, _two(kernel, x), _two(kernel if stride is None else stride, x)))
    return output[:, :, 0] if x.ndim == 3 else output


def _max_pool(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    if "dilation" in config:
        raise KeyError("max pooling with dilation")
    return _pool(config, x, -np.inf, ops.max_pool2d)


def _avg_pool(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    mean = _pool(config, x, 0.0, ops.avg_pool2d)
    return mean if config.get("count_padding") else mean / _pool(config, np.ones_like(x), 0.0, ops.avg_pool2d)


def _batch_norm(config: Mapping[str, Any], weights: Weights, x: np.ndarray, mode: str) -> np.ndarray:
    running = weights["running_mean"], weights["running_var"]
    last = x.ndim == 3 and x.shape[1] != len(running[0])  # a sequence (n, length, channels)
    y = ops.batch_norm(
        x.swapaxes(1, 2) if last else x,
        *((None, None) if mode == "train" else running),
        weights.get("weight"),
        weights.get("bias"),
        eps=config["eps"],
    )
    return np.asarray(y).swapaxes(1, 2) if last else np.asarray(y)


def _layer_norm(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    scale, offset = weights.get("weight"), weights.get("bias")
    shape = next((w.shape for w in (scale, offset) if w is not None), tuple(config.get("shape", x.shape[-1:])))
    return np.asarray(ops.layer_norm(x, shape, scale, offset, config["eps"]))


def _attention(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    """Self-attention of a sequence (n, length, d)."""
    (n, length, d), heads = x.shape, config["heads"]
    joined = x @ weights["in_proj_weight"].T + weights.get("in_proj_bias", 0.0)
    q, k, v = joined.reshape(n, length, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)
    scores = q @ k.swapaxes(2, 3) / np.sqrt(d // heads)
    mixed = np.asarray(ops.softmax(scores, -1)) @ v
    return mixed.swapaxes(1, 2).reshape(n, length, d) @ weights["out_proj.weight"].T + weights.get("out_proj.bias", 0.0)


def _global_avg_pool(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:2], -1).mean(axis=2)


def _global_max_pool(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:2], -1).max(axis=2)


def _rescale(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    """Scale and offset are numbers, or lists with one number per channel."""
    scale, offset = (np.asarray(config[key], dtype=np.float64) for key in ("scale", "offset"))
    channels = (-1, *[1] * (x.ndim - 2))
    return x * (scale.reshape(channels) if scale.ndim else scale) + (
        offset.reshape(channels) if offset.ndim else offset
    )


def _hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(x / 6 + 0.5, 0, 1)


FUNCTIONS: dict[str, Callable[[np.ndarray, Mapping[str, Any]], Any]] = {
    "linear": lambda x, config: x,
    "relu": lambda x, config: ops.relu(x),
    "relu6": lambda x, config: np.clip(x, 0, 6),
    "gelu": lambda x, config: ops.gelu(x),
    "gelu_tanh": lambda x, config: ops.gelu(x, "tanh"),
    "silu": lambda x, config: ops.silu(x),
    "leaky_relu": lambda x, config: ops.leaky_relu(x, config.get("negative_slope", 0.01)),
    "elu": lambda x, config: ops.elu(x, config.get("alpha", 1.0)),
    "selu": lambda x, config: 1.0507009873554805 * np.asarray(ops.elu(x, 1.6732632423543772)),
    "tanh": lambda x, config: np.tanh(x),
    "sigmoid": lambda x, config: ops.sigmoid(x),
    "softplus": lambda x, config: ops.softplus(x),
    "softsign": lambda x, config: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x, config: _hard_sigmoid(x),
    "hard_silu": lambda x, config: x * _hard_sigmoid(x),
    "mish": lambda x, config: x * np.tanh(ops.softplus(x)),
    "exponential": lambda x, config: np.exp(x),
    "softmax": lambda x, config: ops.softmax(x, config.get("axis", -1)),
    "log_softmax": lambda x, config: ops.log_softmax(x, config.get("axis", -1)),
}


def _activation(config: Mapping[str, Any], weights: Weights, x: np.ndarray) -> np.ndarray:
    return np.asarray(FUNCTIONS[config["function"]](x, config))


LAYERS: dict[str, Callable[[Mapping[str, Any], Weights, np.ndarray], np.ndarray]] = {
    "linear": _linear,
    "conv1d": _conv,
    "conv2d": _conv,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "attention": _attention,
    "activation": _activation,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_avg_pool": _global_avg_pool,
    "global_max_pool": _global_max_pool,
    "dropout": lambda config, weights, x: x,
    "flatten": lambda config, weights, x: x.reshape(len(x), -1),
    "pad": lambda config, weights, x: padded(x, config["padding"]),
    "rescale": _rescale,
}
