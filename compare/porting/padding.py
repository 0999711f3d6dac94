"""Padding layers without a partner: one side pads in a layer of its own, the other one in the convolution that follows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise

from .model import Layer


def merge_padding(layers: Sequence[Layer], partnered: Collection[str]) -> dict[str, tuple[Layer, str]]:
    """Find layers that directly follow a padding layer without a partner.

    Args:
        layers: of one model, in the order in which they run.
        partnered: the names of those with a partner.

    Returns:
        By the name of the layer that follows: this layer with the input and the padding of both, and the name of the padding
        layer.
    """
    merged = {}
    for pad, layer in pairwise(layers):
        if pad.kind != "pad" or pad.name in partnered or layer.inputs != (pad.output,):
            continue
        own = layer.config.get("padding", [[0, 0]] * len(pad.config["padding"]))
        total = [[a + c, b + d] for (a, b), (c, d) in zip(own, pad.config["padding"], strict=True)]
        config = {**layer.config, "padding": total}
        merged[layer.name] = replace(layer, inputs=pad.inputs, config=config), pad.name
    return merged
