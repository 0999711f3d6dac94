"""Layers of PyTorch: their kinds and settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from . import activations
from .layouts import Form, Padding, per_dimension

KINDS: dict[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Conv1d: "conv1d",
    nn.Conv2d: "conv2d",
    nn.BatchNorm1d: "batch_norm",
    nn.BatchNorm2d: "batch_norm",
    nn.BatchNorm3d: "batch_norm",
    nn.LayerNorm: "layer_norm",
    nn.Embedding: "embedding",
    nn.MultiheadAttention: "attention",
    nn.MaxPool1d: "max_pool",
    nn.MaxPool2d: "max_pool",
    nn.AvgPool1d: "avg_pool",
    nn.AvgPool2d: "avg_pool",
    nn.Dropout: "dropout",
    nn.Dropout1d: "dropout",
    nn.Dropout2d: "dropout",
    nn.Flatten: "flatten",
    nn.ZeroPad1d: "pad",
    nn.ZeroPad2d: "pad",
}
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.CELU, nn.Mish, nn.Hardswish),
    *(nn.Hardsigmoid, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Tanhshrink),
    *(nn.Softmax, nn.LogSoftmax),
)
WITH_CHANNELS = ("conv1d", "conv2d", "batch_norm", "max_pool", "avg_pool", "global_avg_pool", "global_max_pool", "pad")
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def kind(module: nn.Module) -> str:
    """Return the kind of a module: one of `model.KINDS`, or the name of its class."""
    for base in type(module).__mro__:
        if base in KINDS:
            return KINDS[base]
    if isinstance(module, ACTIVATIONS):
        return "activation"
    for pool, adaptive in (("avg", (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)), ("max", (nn.AdaptiveMaxPool2d,))):
        if isinstance(module, adaptive) and module.output_size in (1, (1,), (1, 1)):
            return f"global_{pool}_pool"
    return type(module).__name__


def config(module: Any, kind: str, inputs: Sequence[tuple[int, ...]], output: tuple[int, ...]) -> dict[str, Any]:
    """Return the settings of a module.

    Args:
        module: the module.
        kind: its kind.
        inputs: the shapes of its inputs.
        output: the shape of its output.
    """
    if kind in ("conv1d", "conv2d"):
        settings = {"bias": module.bias is not None, "stride": list(module.stride), "padding": _conv_padding(module)}
        settings |= {"dilation": list(module.dilation), "groups": module.groups}
        return settings if module.padding_mode == "zeros" else settings | {"padding_mode": module.padding_mode}
    if kind in ("max_pool", "avg_pool"):
        return _pool(module, kind, inputs[0], output)
    if kind == "activation":
        return _activation(module, len(output))
    if kind == "embedding":
        return {} if module.padding_idx is None else {"padding_idx": module.padding_idx}
    if kind == "batch_norm":
        return {"eps": module.eps, "momentum": module.momentum, "affine": module.affine, "unbiased": True}
    simple = {
        "linear": lambda: {"bias": module.bias is not None},
        "layer_norm": lambda: {"eps": module.eps},
        "attention": lambda: {"heads": module.num_heads, "bias": module.in_proj_bias is not None},
        "dropout": lambda: {"rate": float(module.p)},
        "pad": lambda: {"padding": [list(module.padding[i : i + 2]) for i in range(len(module.padding) - 2, -1, -2)]},
    }
    return simple[kind]() if kind in simple else {}


def _conv_padding(module: Any) -> Padding:
    if module.padding == "valid":
        return [[0, 0] for _ in module.kernel_size]
    if module.padding == "same":
        totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return [[total // 2, total - total // 2] for total in totals]
    return [[p, p] for p in module.padding]


def _pool(module: Any, kind: str, size: tuple[int, ...], output: tuple[int, ...]) -> dict[str, Any]:
    n = len(output) - 2
    kernel, stride, before = (per_dimension(v, n) for v in (module.kernel_size, module.stride, module.padding))
    padding = [[p, p] for p in before]
    settings: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": padding}
    if kind == "avg_pool":
        settings["count_padding"] = module.count_include_pad and any(before)
        return settings | ({"ceil_mode": True} if module.ceil_mode else {})
    dilation = per_dimension(module.dilation, n)
    if module.ceil_mode:  # a window may begin inside the input and end behind its padding
        for i, p in enumerate(padding):
            needed = (output[2 + i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 - size[2 + i] - p[0]
            p[1] = max(p[1], needed)
    return settings | ({"dilation": dilation} if any(d > 1 for d in dilation) else {})


def _activation(module: Any, dimensions: int) -> dict[str, Any]:
    if isinstance(module, (nn.Softmax, nn.LogSoftmax)) and module.dim is not None:
        function = "softmax" if isinstance(module, nn.Softmax) else "log_softmax"
        return {"function": function, "axis": Form().canonical_axis(module.dim, dimensions)}

    def values(x: Any) -> Any:
        with torch.no_grad():
            return module.forward(torch.tensor(x)).numpy()  # without the hooks

    return activations.config(values, type(module).__name__.lower())
