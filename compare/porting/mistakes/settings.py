"""Settings of a layer that differ: those that both sides report, and the usual values if they report none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from ..case import Case
from ..model import Layer
from .candidate import Candidate, left, right
from .forward import FUNCTIONS, Weights, forward, paddings
from .words import class_of, dimensions, same, setting, windows

# What a layer does with a setting.
PHRASES = {
    "eps": "adds {} to the variance",
    "padding": "pads {}",
    "stride": "has stride {}",
    "dilation": "has dilation {}",
    "groups": "has {} groups",
    "kernel_size": "has windows of {}",
    "heads": "has {} heads",
    "negative_slope": "has the negative slope {}",
    "alpha": "has alpha {}",
    "axis": "works along axis {}",
    "padding_mode": "pads with {}",
    "function": "computes {}",
    "scale": "multiplies by {}",
    "offset": "adds {}",
}
NORMS = {"batch_norm": "batch norm", "layer_norm": "layer norm"}
PADDING_COUNTED = {True: "counts the padding in the average", False: "does not count the padding in the average"}
EPSILONS = (1e-5, 1e-3, 1e-6, 1e-7, 1e-12, 1e-4, 1e-2, 1e-8, 2e-5, 0.0)
SCALES = (1.0, 1 / 255, 255.0, 1 / 127.5, 1 / 256, 1 / 128)
MODES = ("reflect", "replicate", "circular")


def settings(case: Case) -> Iterator[Candidate]:
    """The settings that the right layer reports: each one alone, then two of them, then all."""
    first, second = _layers(case)
    if first.kind != second.kind:
        return
    keys = [key for key in second.config if key in first.config and second.config[key] != first.config[key]]
    for count in sorted({n for n in (1, 2, len(keys)) if 0 < n <= len(keys)}):
        for some in combinations(keys, count):
            yield changed(case, {key: second.config[key] for key in some})


def usual_settings(case: Case) -> Iterator[Candidate]:
    """The usual values of the settings."""
    for changes in _usual(_layers(case)[0], case.inputs[0]):
        yield changed(case, changes)


def other_kind(case: Case) -> Iterator[Candidate]:
    """A layer of another kind: average instead of maximum, batch norm instead of layer norm."""
    first, second = _layers(case)
    kinds = [second.kind] if second.kind != first.kind else []
    pools = {"max_pool": "avg_pool", "global_avg_pool": "global_max_pool"}
    kinds += [b for a, b in (*pools.items(), *((b, a) for a, b in pools.items())) if a == first.kind]
    for kind in dict.fromkeys(kinds):
        layer = replace(second, kind=kind, config={**first.config, **second.config})
        yield Candidate(
            f"{_words(kind)} instead of {_words(first.kind)}",
            f"{right(case)} is {_words(kind)} where {left(case)} is {_words(first.kind)}",
            f"Use `{class_of(case.right_framework, first.kind, second)}` on the right.",
            partial(forward, layer, case.right_weights, case.inputs, case.mode),
        )


def changed(case: Case, changes: Mapping[str, Any]) -> Candidate:
    """Return the mistake of other settings: the right layer is the left one with these changes."""
    first, second = _layers(case)
    before = {key: first.config[key] for key in changes if key in first.config}
    if "function" in changes:
        before |= {key: first.config[key] for key in ("negative_slope", "alpha", "axis") if key in first.config}
    layer = replace(second, kind=first.kind, config={**first.config, **changes})
    return Candidate(
        _name(first, before, changes),
        f"{right(case)} {_phrase(replace(second, config=layer.config), changes)} where {left(case)} {_phrase(first, before)}",
        f"Write {setting(case.right_framework, second, first.kind, first.config, before)} on the right.",
        partial(forward, layer, case.right_weights, case.inputs, case.mode),
    )


def as_left(case: Case, weights: Weights | None = None) -> np.ndarray:
    """Return the output of the right layer with the left layer's kind and settings, by default with its own weights."""
    first, second = _layers(case)
    layer = replace(second, kind=first.kind, config=first.config)
    return forward(layer, case.right_weights if weights is None else weights, case.inputs, case.mode)


def _layers(case: Case) -> tuple[Layer, Layer]:
    if case.left is None or case.right is None:
        raise KeyError("layer")
    return case.left, case.right


def _usual(layer: Layer, x: np.ndarray) -> Iterator[dict[str, Any]]:
    if "eps" in layer.config:
        yield from ({"eps": eps} for eps in EPSILONS)
    if layer.kind == "activation":
        yield from ({"function": name} for name in FUNCTIONS)
        yield from ({"function": "leaky_relu", "negative_slope": slope} for slope in (0.01, 0.2, 0.3))
        yield from ({"function": "softmax", "axis": axis} for axis in range(1, x.ndim))
    if layer.kind in ("conv1d", "conv2d", "max_pool", "avg_pool"):
        yield from _usual_windows(layer)
    if layer.kind == "attention":
        yield from ({"heads": heads} for heads in range(1, x.shape[-1] + 1) if x.shape[-1] % heads == 0)
    if layer.kind == "rescale":
        yield from ({"scale": scale} for scale in SCALES)
        yield from ({"offset": offset} for offset in (0.0, -1.0, -0.5))


def _usual_windows(layer: Layer) -> Iterator[dict[str, Any]]:
    n, choices = dimensions(layer), _usual_padding(layer)
    if layer.kind == "avg_pool":
        counted = layer.config.get("count_padding", False)
        yield {"count_padding": not counted}
        yield from ({"padding": p, "count_padding": not counted} for p in choices)
    yield from ({"padding": padding} for padding in choices)
    for s in (1, 2):
        yield {"stride": [s] * n}
        strided = replace(layer, config={**layer.config, "stride": [s] * n})
        yield from ({"padding": padding, "stride": [s] * n} for padding in _usual_padding(strided))
    if layer.kind.startswith("conv"):
        yield from ({"dilation": [d] * n} for d in (1, 2))
        yield from ({"padding_mode": mode} for mode in MODES)


def _usual_padding(layer: Layer) -> list[list[tuple[int, int]]]:
    """Return the usual amounts of padding for the windows of a layer."""
    kernel, _, dilation = windows(layer)
    whole = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    choices = [same(layer), [after_before[::-1] for after_before in same(layer)]]
    return [*choices, [(w // 2, w // 2) for w in whole], [(0, 0)] * len(whole), [(w // 2, w - w // 2) for w in whole]]


def _name(layer: Layer, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the short name of the mistake."""
    if "function" in after:
        functions = {before["function"], after["function"]}
        return "gelu approximation" if functions == {"gelu", "gelu_tanh"} else "activation"
    if "count_padding" in after:
        return "padding counted in the average"
    if "padding" in after:
        n = dimensions(layer)
        symmetric = [all(b == a for b, a in paddings(config["padding"], n)) for config in (before, after)]
        return "padding" if symmetric[0] == symmetric[1] else "asymmetric padding"
    key = next(iter(after))
    return f"{_words(layer.kind)} {'epsilon' if key == 'eps' else key.replace('_', ' ')}"


def _phrase(layer: Layer, config: Mapping[str, Any]) -> str:
    """Return what a layer does with these settings."""
    phrases = []
    for key, value in config.items():
        if key == "count_padding":
            phrases.append(PADDING_COUNTED[bool(value)])
            continue
        if key == "padding":
            n = dimensions(layer)
            pairs = paddings(value, n)
            is_same = any(map(any, pairs)) and pairs == same(layer)
            value = " x ".join(map(str, pairs)) + (' (padding="same" of Keras)' if is_same else "")
        value = tuple(value) if isinstance(value, list) else value
        phrases.append(PHRASES.get(key, f"has {key.replace('_', ' ')} {{}}").format(_function(value)))
    return " and ".join(phrases)


def _function(value: Any) -> Any:
    return {"gelu": "the exact gelu", "gelu_tanh": "gelu with the tanh approximation", "linear": "nothing"}.get(
        value if isinstance(value, str) else "", value
    )


def _words(kind: str) -> str:
    pools = {"avg_pool": "average pooling", "max_pool": "max pooling"}
    pools |= {f"global_{kind}": f"global {words}" for kind, words in pools.items()}
    return (NORMS | pools).get(kind, kind.replace("_", " "))
