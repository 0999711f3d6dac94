"""Translates names and arrays between the two sides: the map, and the columns that a flattening has permuted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .mapping import layers_of, matching_parameters
from .model import Layer, Parameter, Structure
from .padding import merge_padding
from .result import LayerPair

Arrays = Mapping[str, np.ndarray]


def column_order(rows: tuple[int, int, int], from_last: bool) -> np.ndarray:
    """Return the right column of each left column of the weight behind a flattening.

    Args:
        rows: the shape (c, h, w) of the images.
        from_last: whether the left side is the one that flattens channels last.
    """
    c, h, w = rows
    columns = np.arange(c * h * w)
    if from_last:
        return columns.reshape(c, h, w).transpose(1, 2, 0).ravel()
    return columns.reshape(h, w, c).transpose(2, 0, 1).ravel()


@dataclass(frozen=True)
class Subject:
    """The parameter that belongs to both sides.

    Attributes:
        left, right: the layers.
        mine, theirs: the parameter of the left and of the right layer.
    """

    left: Layer
    right: Layer
    mine: Parameter
    theirs: Parameter


class Translation:
    """The map of two models, applied to arrays.

    Args:
        left, right: the models.
        pairs: the map.

    Attributes:
        models: the models by side.
        layers: the pairs of layers that have a partner, in the order of the left model.
        pads: the name of the padding layer that is part of a layer in `layers`, by side and the name of the layer.
        subjects: the parameters that have a partner, by the left name, in the order of the layers.
    """

    def __init__(self, left: Structure, right: Structure, pairs: Sequence[LayerPair]) -> None:
        self.models = {"left": left, "right": right}
        lefts = {layer.name: layer for layer in layers_of(left)}
        rights = {layer.name: layer for layer in layers_of(right)}
        matched = [p for p in pairs if p.left is not None and p.right is not None]
        padded = [
            merge_padding(model.layers, [str(pair.left if model is left else pair.right) for pair in matched])
            for model in (left, right)
        ]
        lefts |= {name: layer for name, (layer, _) in padded[0].items()}
        rights |= {name: layer for name, (layer, _) in padded[1].items()}
        self.pads = {
            side: {name: pad for name, (_, pad) in merged.items()}
            for side, merged in zip(self.models, padded, strict=True)
        }
        self.layers = [(lefts[str(p.left)], rights[str(p.right)]) for p in matched]
        self.subjects = {p.name: Subject(x, y, p, q) for x, y in self.layers for p, q in matching_parameters(x, y)}
        self._orders: dict[str, np.ndarray] = {}  # of the columns of a weight, by the name of the left layer
        self._inputs: dict[str, np.ndarray] = {}  # of the features of the input
        self._outputs: dict[str, np.ndarray] = {}
        for i, pair in enumerate(matched):
            if pair.rows is not None:
                self._permute(i, column_order(pair.rows, _flattens_last(left)))

    def _permute(self, position: int, order: np.ndarray) -> None:
        """Permute the weight of a linear layer, its input, and the layers back to the flattening."""
        linear = self.layers[position][0].name
        self._orders[linear] = self._inputs[linear] = order
        for layer, _ in reversed(self.layers[:position]):
            if len(layer.output) != 2 or layer.output[1] != len(order):
                break
            self._outputs[layer.name] = order
            if not any(len(shape) == 2 for shape in layer.inputs):
                break
            self._inputs[layer.name] = order

    def parameters_to_left(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Return right weights or gradients under the left names, with the left columns. Those without a partner are left out."""
        translated = {}
        for name, subject in self.subjects.items():
            if subject.theirs.name in arrays:
                array, order = arrays[subject.theirs.name], self._order(subject)
                translated[name] = array if order is None else array[:, order]
        return translated

    def parameters_to_right(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Return left weights under the right names, with the right columns."""
        translated = {}
        for name, subject in self.subjects.items():
            if name in arrays:
                array, order = arrays[name], self._order(subject)
                translated[subject.theirs.name] = array if order is None else array[:, np.argsort(order)]
        return translated

    def _order(self, subject: Subject) -> np.ndarray | None:
        return self._orders.get(subject.left.name) if subject.mine.role == "weight" else None

    def input_to_right(self, left: Layer, array: np.ndarray) -> np.ndarray:
        """Return an input of a left layer as its right partner expects it."""
        order = self._inputs.get(left.name)
        return array if order is None or array.ndim != 2 else array[:, np.argsort(order)]

    def input_to_left(self, left: Layer, array: np.ndarray) -> np.ndarray:
        """Return an input of the right partner of a left layer as the left layer expects it."""
        order = self._inputs.get(left.name)
        return array if order is None or array.shape[1:] != order.shape else array[:, order]

    def output_to_left(self, left: Layer, array: np.ndarray) -> np.ndarray:
        """Return an output of the right partner of a left layer with the left order of the features."""
        order = self._outputs.get(left.name)
        return array if order is None or array.shape[1:] != order.shape else array[:, order]


def _flattens_last(model: Structure) -> bool:
    """Return whether the model flattens images channels last."""
    layout = model.layout or ("channels_first" if model.framework == "torch" else "channels_last")
    return layout == "channels_last"
