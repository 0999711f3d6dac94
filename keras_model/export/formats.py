"""The formats of deployment: what each backend can write, and how."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad import recipes
from minigrad.runs import UserError, weights

from ..model import get_weights
from ..optimizers import build_optimizer
from ..stock import stock_copy

SUFFIXES = {
    "savedmodel": ".savedmodel",
    "onnx": ".onnx",
    "litert": ".tflite",
    "int8": ".int8.tflite",
    "keras": ".keras",
    "safetensors": ".safetensors",
    "h5": ".weights.h5",
}
ON_REQUEST = {"h5"}  # holds less than .safetensors, and Keras alone reads it
# The backends that can write a kind, and the modules that this takes; kinds that aren't here are Keras's or our own.
# ONNX on JAX would take jax2onnx, and SavedModel and LiteRT on torch torch_xla and litert_torch, none of them small.
NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "savedmodel": {"tensorflow": (), "jax": ("tensorflow",)},
    "onnx": {"tensorflow": ("onnx", "onnxruntime", "tf2onnx"), "torch": ("onnx", "onnxruntime")},
    "litert": {"tensorflow": ("ai_edge_litert",)},
    "int8": {"tensorflow": ("ai_edge_litert",)},
}
EXTRAS = {"tensorflow": "keras", "ai_edge_litert": "litert"}  # of what isn't in `onnx`
CALIBRATED = 300  # images that show int8 what values there are


def possible(kinds: Sequence[str] | None) -> list[str]:
    """The kinds asked for, or all that can be written here; of those that can't, a line is printed.

    Raises:
        UserError: one that was asked for can't be.
    """
    if kinds is None:
        obstacles = {kind: obstacle(kind) for kind in SUFFIXES if kind not in ON_REQUEST}
        for said in filter(None, obstacles.values()):
            print(said)
        return [kind for kind, said in obstacles.items() if said is None]
    for kind in kinds:
        if kind not in SUFFIXES:
            raise UserError(f"kinds: {kind}; expected some of {', '.join(SUFFIXES)}")
        if why := obstacle(kind):
            raise UserError(why)
    return [kind for kind in SUFFIXES if kind in kinds]


def obstacle(kind: str) -> str | None:
    """Why a kind can't be written on this backend, in one sentence; None where it can."""
    backend, needs = keras.backend.backend(), NEEDS.get(kind)
    if needs is None:
        return None
    if backend not in needs:
        return f"{kind}: not on the {backend} backend; KERAS_BACKEND={' or '.join(needs)} can"
    for module in needs[backend]:
        if sys.modules.get(module, sys) is None or find_spec(module) is None:
            return f"{kind}: needs {module}; expected pip install '.[{EXTRAS.get(module, 'onnx')}]' first"
    return None


def write_saved_model(path: Path, net: keras.Model, described: dict[str, str], calibration: np.ndarray) -> None:
    """What tf.saved_model.load reads, a folder; its `serve` answers."""
    if keras.backend.backend() != "jax":
        net.export(str(path), format="tf_saved_model", verbose=False)
        return
    import jax

    # For more than the kind of device that this process is on.
    options = {"native_serialization": True, "native_serialization_platforms": ["cpu", "cuda"]}
    frames = jax.config.values["jax_traceback_in_locations_limit"]
    jax.config.update("jax_traceback_in_locations_limit", 0)  # or the file would name this machine's folders
    try:
        net.export(str(path), format="tf_saved_model", verbose=False, jax2tf_kwargs=options)
    finally:
        jax.config.update("jax_traceback_in_locations_limit", frames)


def write_onnx(path: Path, net: keras.Model, described: dict[str, str], calibration: np.ndarray) -> None:
    """ONNX as minigrad and lightning_module write it: from `images` to `logits`, with the metadata of a weights file."""
    import onnx

    net.export(str(path), format="onnx", verbose=False)
    exported = onnx.load(path)
    graph = exported.graph
    (given,), (answer,) = graph.input, graph.output
    names = {given.name: "images", answer.name: "logits"}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (given, answer):
        value.name = names[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    del graph.value_info[:]  # which call n by other names
    onnx.helper.set_model_props(exported, described)
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def write_litert(path: Path, net: keras.Model, described: dict[str, str], calibration: np.ndarray) -> None:
    """LiteRT in float32."""
    net.export(str(path), format="litert", verbose=False)


def write_int8(path: Path, net: keras.Model, described: dict[str, str], calibration: np.ndarray) -> None:
    """LiteRT in 8-bit integers, of weights and of all between; it takes raw pixels, or float32, and gives float32."""
    import tensorflow as tf

    examples = calibration[:CALIBRATED].astype(np.float32)
    options: dict[str, Any] = {}
    if net.input.dtype == "uint8":
        # The same layers, one after another, of floats: the converter makes the input uint8 by itself, where a cast
        # within the network would stay work for floats.
        # One example has both ends of the range, so that a pixel is taken by scale 1, which is raw.
        examples[0].flat[:2] = 0, 255
        options["inference_input_type"] = tf.uint8
        x = pixels = keras.Input(net.input.shape[1:], name="images")
        for layer in net.layers[1:]:
            x = layer(x)
        net = keras.Model(pixels, x)
    net.export(
        str(path),
        format="litert",
        verbose=False,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([example[None]] for example in examples),
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
        **options,
    )


def write_keras(path: Path, net: keras.Model, described: dict[str, str], calibration: np.ndarray) -> None:
    """Keras's own format and classes, which load without this package; compiled by the recipe in `described`.

    If the network was read from a model.keras, which doesn't hold a recipe, the optimizer is the recipe's default.
    """
    recipe = recipes.from_metadata(json.loads(described["minigrad"])["recipe"])
    stock_copy(net, build_optimizer(recipe.model, 1)).save(path)


def write_weights(path: Path, net: keras.Model, described: dict[str, str], calibration: np.ndarray) -> None:
    """The weights file that all three packages read."""
    weights.write(path, get_weights(net), described)


def write_h5(path: Path, net: keras.Model, described: dict[str, str], calibration: np.ndarray) -> None:
    """The weights alone, in Keras's own order."""
    net.save_weights(path)


WRITERS: dict[str, Callable[[Path, keras.Model, dict[str, str], np.ndarray], None]] = {
    "savedmodel": write_saved_model,
    "onnx": write_onnx,
    "litert": write_litert,
    "int8": write_int8,
    "keras": write_keras,
    "safetensors": write_weights,
    "h5": write_h5,
}
