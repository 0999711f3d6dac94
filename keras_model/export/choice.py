"""The files that a backend of Keras can write. Keras is not imported, so that a refusal takes no time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from minigrad.runs import formats
from minigrad.runs.formats import Cell, Kind

from ..startup import backend

# The backends that can write a kind, and the modules that each needs; the other kinds need no module.
# ONNX on JAX would need jax2onnx, SavedModel and LiteRT on torch would need torch_xla and litert_torch: large packages.
NEEDS: dict[Kind, dict[str, tuple[str, ...]]] = {
    "savedmodel": {"tensorflow": (), "jax": ("tensorflow",)},
    "onnx": {"tensorflow": ("onnx", "onnxruntime", "tf2onnx"), "torch": ("onnx", "onnxruntime")},
    "litert": {"tensorflow": ("ai_edge_litert",)},
    "pt2": {"torch": ()},
}
EXTRAS = {"tensorflow": "keras", "ai_edge_litert": "litert"}  # the extra of a module, if not `onnx`


def choose(kinds: Sequence[str] | None, precisions: Sequence[str] = ("float32",)) -> list[Cell]:
    """Return the files to write, as `formats.choose` does for the backend of KERAS_BACKEND.

    Args:
        kinds: as in `formats.choose`. The kind `int8` is an earlier name of LiteRT in int8.
        precisions: as in `formats.choose`.

    Raises:
        UserError: a file can't be written on this backend.
    """
    elsewhere = "" if backend() in NEEDS["onnx"] else f" and KERAS_BACKEND={_backends('onnx')}"
    if kinds is None or "int8" not in kinds:
        return formats.choose(kinds, precisions, formats.OF_KERAS, obstacle, elsewhere)
    others = [kind for kind in kinds if kind != "int8"]
    cells = choose(others, precisions) if others else []
    return list(dict.fromkeys([*cells, *choose(["litert"], ["int8"])]))


def obstacle(kind: Kind) -> str | None:
    """Return why a kind can't be written on this backend, in one sentence; None if it can."""
    name, needs = backend(), NEEDS.get(kind)
    if needs is None:
        return None
    if name not in needs:
        return f"{kind}: can't be written on the {name} backend; expected KERAS_BACKEND={_backends(kind)}"
    for module in needs[name]:
        if sys.modules.get(module, sys) is None or find_spec(module) is None:
            return f"{kind}: needs {module}; expected pip install '.[{EXTRAS.get(module, 'onnx')}]' first"
    return None


def _backends(kind: Kind) -> str:
    return " or ".join(NEEDS[kind])
