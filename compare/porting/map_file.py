"""The map of the layers as a YAML file.

    layers:
    - {left: conv1, right: conv2d}
    - {left: fc1, right: dense, rows: [16, 5, 5]}
    - {left: null, right: softmax}

A layer that the map does not name is matched automatically; one with the
partner `null` has none. `rows` is the shape (c, h, w) of the images that are
flattened before a linear layer: one side flattens them channels first, the
other channels last, so that the columns of its weight are in another order.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigrad.recipes.files import parse_yaml
from minigrad.runs import UserError, foreign
from minigrad.runs.foreign import parsing

from .mapping import layers_of
from .model import Layer, Structure
from .result import LayerPair

KEYS = ("left", "right", "rows")
EXPECTED = "a map such as `layers: [{left: conv1, right: conv2d}]`"


def dump(pairs: Sequence[LayerPair]) -> str:
    """Return the map as YAML, one line per pair."""
    import yaml

    def line(pair: LayerPair) -> str:
        entry = {"left": pair.left, "right": pair.right} | ({"rows": list(pair.rows)} if pair.rows else {})
        return "- " + yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=math.inf)

    return "layers:\n" + "".join(map(line, pairs)) if pairs else "layers: []\n"


def read(path: Path, left: Structure, right: Structure) -> list[LayerPair]:
    """Read a map of two models.

    Raises:
        UserError: the file is no map; it names an unknown layer, or a layer twice; or the weights of a pair have different
            shapes.
    """
    with parsing(f"--map {path}", EXPECTED):
        content = parse_yaml(foreign.read_text(path, foreign.MAX_YAML))
    entries = content.get("layers") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"--map {path}: no list of layers; expected {EXPECTED}")
    known = [{layer.name: layer for layer in layers_of(model)} for model in (left, right)]
    return _without_duplicates(path, [_pair(f"--map {path}: layers[{i}]", e, *known) for i, e in enumerate(entries)])


def _pair(where: str, entry: dict[str, Any], left: dict[str, Layer], right: dict[str, Layer]) -> LayerPair:
    """Return one entry as a pair."""
    if unknown := [key for key in entry if key not in KEYS]:
        raise UserError(f"{where}: {foreign.shown(unknown[0])} is no key; expected left, right and optionally rows")
    x, y = _layer(where, "left", entry, left), _layer(where, "right", entry, right)
    rows = _rows(where, entry["rows"], x, y) if entry.get("rows") is not None else None
    if x is None and y is None:
        raise UserError(f"{where}: left and right are null; expected the name of a layer in one of them")
    if x is None or y is None:
        layer = x or y
        assert layer is not None
        return LayerPair(x.name if x else None, y.name if y else None, layer.kind)
    for p in x.parameters:
        q = y.parameter(p.role)
        if q is not None and q.shape != p.shape:
            raise UserError(
                f"{where}: the {p.role} of {x.name} has the shape {p.shape}, that of {y.name} {q.shape}; expected layers whose"
                " weights have the same shapes"
            )
    return LayerPair(x.name, y.name, x.kind, rows=rows)


def _layer(where: str, side: str, entry: dict[str, Any], known: dict[str, Layer]) -> Layer | None:
    """Return the layer that an entry names on one side; None if it is null."""
    if side not in entry:
        raise UserError(f"{where}: {side} is missing; expected the name of a layer, or null")
    name = entry[side]
    if name is None:
        return None
    name = str(name)  # YAML reads the names of layers in a Sequential as numbers
    if name not in known:
        similar = difflib.get_close_matches(name, known, 1) or list(known)[:1]
        hint = f", such as {similar[0]}" if similar else ""
        raise UserError(
            f"{where}: the {side} model has no layer {foreign.shown(name)}; expected one of its layers{hint}"
        )
    return known[name]


def _rows(where: str, rows: Any, left: Layer | None, right: Layer | None) -> tuple[int, int, int]:
    """Return the shape in `rows`."""
    weight = left.parameter("weight") if left is not None and right is not None and left.kind == "linear" else None
    if weight is None:
        raise UserError(f"{where}: rows {foreign.shown(rows)}; expected it only in a pair of linear layers")
    is_shape = isinstance(rows, list) and len(rows) == 3 and all(isinstance(n, int) and n > 0 for n in rows)
    if not is_shape or math.prod(rows) != weight.shape[1]:
        raise UserError(
            f"{where}: rows {foreign.shown(rows)}; expected the shape [c, h, w] of the images before the flattening, whose"
            f" product is {weight.shape[1]}"
        )
    return rows[0], rows[1], rows[2]


def _without_duplicates(path: Path, pairs: list[LayerPair]) -> list[LayerPair]:
    """Return the pairs if none names a layer of an earlier one."""
    for side in ("left", "right"):
        names = [name for pair in pairs if (name := getattr(pair, side)) is not None]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"--map {path}: the {side} layer {twice[0]} occurs twice; expected each layer at most once")
    return pairs
