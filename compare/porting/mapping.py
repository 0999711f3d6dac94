"""Matches the layers of two models by kind, shape, order and name.

Layers with weights come first. Those of one kind whose weights have the same
shape form a group; within a group, the i-th left layer belongs to the i-th
right one, unless both sides use the same names. The order differs between
frameworks only across groups: PyTorch runs the shortcut of a residual block
last, Keras often first. If a group has more layers on one side, the pairs of
most similar names are chosen that keep the order. Layers without weights are
matched in the same way between the layers with weights around them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from .model import KINDS, Layer, Parameter, Structure
from .result import LayerPair

MAIN_ROLES = ("weight", "in_proj_weight", "depthwise_weight", "running_mean")
PARAMETER = "parameter"  # kind of the layer that stands for a parameter outside of all layers

Matches = list[tuple[Layer, Layer]]
Key = Callable[[Layer], Hashable]


def layers_of(model: Structure) -> tuple[Layer, ...]:
    """Return the layers of a model, and one for each parameter that belongs to none of them."""
    others = (Layer(p.name, PARAMETER, {}, (p,), (), ()) for p in model.others)
    return (*model.layers, *others)


def match(left: Structure, right: Structure, fixed: Sequence[LayerPair] = ()) -> list[LayerPair]:
    """Match the layers of two models.

    Args:
        left, right: the models.
        fixed: pairs that are not changed, such as those of a map. One name may be None: the layer has no partner.

    Returns:
        All layers, in the order of the left model. A right layer without a partner follows the one that runs before it.
    """
    lefts, rights = layers_of(left), layers_of(right)
    by_name = {layer.name: layer for layer in lefts}, {layer.name: layer for layer in rights}
    matches = [(by_name[0][p.left], by_name[1][p.right]) for p in fixed if p.left is not None and p.right is not None]
    settled = {p.left for p in fixed}, {p.right for p in fixed}
    matcher = _Matcher(
        [layer for layer in lefts if layer.name not in settled[0]],
        [layer for layer in rights if layer.name not in settled[1]],
        matches,
    )
    matcher.match_weights()
    matcher.match_others(lefts, rights)
    rows = {p.left: p.rows for p in fixed if p.rows is not None}
    return _ordered(lefts, rights, matcher.matches, rows)


def matching_parameters(left: Layer, right: Layer) -> list[tuple[Parameter, Parameter]]:
    """Return the parameters of two layers that belong together: of the same role.

    In a layer of another kind than `KINDS`, whose roles have other names, those of the same shape belong together too.
    """
    pairs = [(p, q) for p in left.parameters if (q := right.parameter(p.role)) is not None]
    if left.kind in KINDS and right.kind in KINDS:
        return pairs
    rest = [q for q in right.parameters if left.parameter(q.role) is None]
    for p in left.parameters:
        partner = next((q for q in rest if q.shape == p.shape), None)
        if partner is not None and right.parameter(p.role) is None:
            rest.remove(partner)
            pairs.append((p, partner))
    return pairs


class _Matcher:
    """Removes layers from the two lists as it matches them.

    Args:
        left, right: layers without a partner, in the order in which they run.
        matches: the pairs that exist already; others are added.
    """

    def __init__(self, left: list[Layer], right: list[Layer], matches: Matches) -> None:
        self.left, self.right, self.matches = left, right, matches

    def match_weights(self) -> None:
        """Match layers with weights: by kind and shape, then by the shapes of all parameters alone."""
        for key in (_signature, _shapes):
            self._match(key, lambda layer: bool(layer.parameters), uneven=True)

    def match_others(self, lefts: Sequence[Layer], rights: Sequence[Layer]) -> None:
        """Match layers without weights, between the pairs of layers with weights."""
        anchor = _anchors(lefts, rights, [(x, y) for x, y in self.matches if x.parameters])
        for key in (
            lambda layer: (layer.kind, layer.output[1:], anchor[id(layer)]),
            lambda layer: (layer.kind, anchor[id(layer)]),
            lambda layer: (layer.kind, layer.output[1:]),
        ):
            self._match(key, lambda layer: not layer.parameters, uneven=False)
        self._match(lambda layer: layer.kind, lambda layer: not layer.parameters, uneven=False)

    def _match(self, key: Key, wanted: Callable[[Layer], bool], uneven: bool) -> None:
        """Match the layers of each group; a group with more layers on one side only if `uneven`."""
        groups = [_grouped(filter(wanted, side), key) for side in (self.left, self.right)]
        for signature, left in groups[0].items():
            right = groups[1].get(signature, [])
            if len(left) == len(right) or (uneven and right):
                pairs = _pair(left, right)
                self.matches += pairs
                names = [{pair[side].name for pair in pairs} for side in (0, 1)]
                self.left = [layer for layer in self.left if layer.name not in names[0]]
                self.right = [layer for layer in self.right if layer.name not in names[1]]


def _signature(layer: Layer) -> Hashable:
    """Return the kind of a layer with weights, and the shape of its main weight, so that a missing bias is no obstacle."""
    main = next((p for role in MAIN_ROLES if (p := layer.parameter(role)) is not None), layer.parameters[0])
    return layer.kind, main.shape


def _shapes(layer: Layer) -> Hashable:
    return tuple(sorted(p.shape for p in layer.parameters))


def _grouped(layers: Iterable[Layer], key: Key) -> dict[Hashable, list[Layer]]:
    groups: dict[Hashable, list[Layer]] = {}
    for layer in layers:
        groups.setdefault(key(layer), []).append(layer)
    return groups


def _pair(left: list[Layer], right: list[Layer]) -> Matches:
    """Pair the layers of a group."""
    named = {_plain(layer.name): layer for layer in right}
    if len(named) == len(right) == len(left) and all(_plain(layer.name) in named for layer in left):
        return [(layer, named[_plain(layer.name)]) for layer in left]
    if len(left) == len(right):
        return list(zip(left, right, strict=True))
    return _aligned(left, right)


def _aligned(left: list[Layer], right: list[Layer]) -> Matches:
    """Return as many pairs as possible in the order of both lists, with the largest sum of similarities of the names."""
    best: list[list[tuple[float, Matches]]] = [[(0.0, [])] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, x in enumerate(left):
        for j, y in enumerate(right):
            score, pairs = best[i][j]
            together = (score + 1 + _similarity(x, y), [*pairs, (x, y)])
            best[i + 1][j + 1] = max(together, best[i][j + 1], best[i + 1][j], key=lambda option: option[0])
    return best[-1][-1][1]


def _similarity(x: Layer, y: Layer) -> float:
    """Return a number from 0 to 1: the similarity of the names, and whether the outputs have the same shape."""
    names = SequenceMatcher(None, _plain(x.name), _plain(y.name)).ratio()
    return (names + (x.output == y.output)) / 2


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _anchors(lefts: Sequence[Layer], rights: Sequence[Layer], matches: Matches) -> dict[int, int]:
    """Return, for each layer by its `id`, the number of the last pair that runs before it; -1 if there is none."""
    anchors: dict[int, int] = {}
    for side, layers in enumerate((lefts, rights)):
        numbers, last = {id(pair[side]): i for i, pair in enumerate(matches)}, -1
        for layer in layers:
            last = numbers.get(id(layer), last)
            anchors[id(layer)] = last
    return anchors


def _ordered(
    lefts: Sequence[Layer],
    rights: Sequence[Layer],
    matches: Matches,
    rows: Mapping[str | None, tuple[int, int, int]],
) -> list[LayerPair]:
    """Return all layers as pairs, in the order of the left model."""
    partners = {x.name: y.name for x, y in matches}
    taken = set(partners.values())
    lonely_left = [layer for layer in lefts if layer.name not in partners]
    lonely_right = [layer for layer in rights if layer.name not in taken]
    pairs = []
    for layer in lefts:
        partner = partners.get(layer.name)
        hint = "" if partner else _likely_partner(layer, lonely_right)
        pairs.append(LayerPair(layer.name, partner, layer.kind, hint, rows.get(layer.name)))
    position = 0
    for layer in rights:
        place = next((i + 1 for i, pair in enumerate(pairs) if pair.right == layer.name), None)
        if place is None:
            while position < len(pairs) and pairs[position].right is None:
                position += 1
            pairs.insert(position, LayerPair(None, layer.name, layer.kind, _likely_partner(layer, lonely_left)))
            place = position + 1
        position = place
    return pairs


def _likely_partner(layer: Layer, others: Sequence[Layer]) -> str:
    """Return the unmatched layer of the same kind with the most similar name, and how they differ, in words."""
    candidates = [
        other for other in others if other.kind == layer.kind and bool(other.parameters) == bool(layer.parameters)
    ]
    if not candidates:
        return ""
    partner = max(candidates, key=lambda other: _similarity(layer, other))
    if not layer.parameters:
        return f"{partner.name}: its output has the shape {partner.output}, not {layer.output}"
    for p in layer.parameters:
        q = partner.parameter(p.role)
        if q is not None and q.shape != p.shape:
            return f"{partner.name}: its {p.role} has the shape {q.shape}, not {p.shape}"
    return f"{partner.name}: another number of layers of this kind"
