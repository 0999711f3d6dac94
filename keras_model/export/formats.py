"""The formats of deployment: which backend can write them, and how."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad.runs import NetworkSpec, UserError, weights

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
ON_REQUEST = {"h5"}  # contains less than .safetensors, and only Keras reads it
# The backends that can write a kind, and the modules that each needs; the other kinds need no module.
# ONNX on JAX would need jax2onnx, SavedModel and LiteRT on torch would need torch_xla and litert_torch: large packages.
NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "savedmodel": {"tensorflow": (), "jax": ("tensorflow",)},
    "onnx": {"tensorflow": ("onnx", "onnxruntime", "tf2onnx"), "torch": ("onnx", "onnxruntime")},
    "litert": {"tensorflow": ("ai_edge_litert",)},
    "int8": {"tensorflow": ("ai_edge_litert",)},
}
EXTRAS = {"tensorflow": "keras", "ai_edge_litert": "litert"}  # the extra of a module, if not `onnx`
CALIBRATION_IMAGES = 300


def writable_kinds(kinds: Sequence[str] | None) -> list[str]:
    """Return the kinds to write, in the order of `SUFFIXES`.

    Args:
        kinds: the requested kinds. None requests all except h5, and prints why a kind can't be written.

    Raises:
        UserError: a requested kind is unknown or can't be written on this backend.
    """
    if kinds is None:
        obstacles = {kind: obstacle(kind) for kind in SUFFIXES if kind not in ON_REQUEST}
        for text in filter(None, obstacles.values()):
            print(text)
        return [kind for kind in obstacles if obstacles[kind] is None]
    for kind in kinds:
        if kind not in SUFFIXES:
            raise UserError(f"kinds: {kind}; expected some of {', '.join(SUFFIXES)}")
        if reason := obstacle(kind):
            raise UserError(reason)
    return [kind for kind in SUFFIXES if kind in kinds]


def obstacle(kind: str) -> str | None:
    """Return why a kind can't be written on this backend, in one sentence; None if it can."""
    backend, needs = keras.backend.backend(), NEEDS.get(kind)
    if needs is None:
        return None
    if backend not in needs:
        return f"{kind}: can't be written on the {backend} backend; expected KERAS_BACKEND={' or '.join(needs)}"
    for module in needs[backend]:
        if sys.modules.get(module, sys) is None or find_spec(module) is None:
            return f"{kind}: needs {module}; expected pip install '.[{EXTRAS.get(module, 'onnx')}]' first"
    return None


def write_saved_model(path: Path, net: keras.Model, spec: NetworkSpec, calibration: np.ndarray) -> None:
    """Write a SavedModel, a folder for `tf.saved_model.load`, whose `serve` maps images to logits."""
    if keras.backend.backend() != "jax":
        net.export(str(path), format="tf_saved_model", verbose=False)
        return
    import jax

    # For CPU and GPU, not only for the kind of device that this process uses.
    options = {"native_serialization": True, "native_serialization_platforms": ["cpu", "cuda"]}
    limit = jax.config.jax_traceback_in_locations_limit  # type: ignore[attr-defined]
    jax.config.update("jax_traceback_in_locations_limit", 0)  # otherwise the file would contain paths of this machine
    try:
        net.export(str(path), format="tf_saved_model", verbose=False, jax2tf_kwargs=options)
    finally:
        jax.config.update("jax_traceback_in_locations_limit", limit)


def write_onnx(path: Path, net: keras.Model, spec: NetworkSpec, calibration: np.ndarray) -> None:
    """Write ONNX as minigrad and lightning_module do: from `images` to `logits`, with the metadata of a weights file."""
    import onnx

    net.export(str(path), format="onnx", verbose=False)
    exported = onnx.load(path)
    graph = exported.graph
    (images,), (logits,) = graph.input, graph.output
    names = {images.name: "images", logits.name: "logits"}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (images, logits):
        value.name = names[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    del graph.value_info[:]  # it contains other names of the dimension n
    onnx.helper.set_model_props(exported, spec.metadata())
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def write_litert(path: Path, net: keras.Model, spec: NetworkSpec, calibration: np.ndarray) -> None:
    """Write LiteRT in float32."""
    net.export(str(path), format="litert", verbose=False)


def write_int8(path: Path, net: keras.Model, spec: NetworkSpec, calibration: np.ndarray) -> None:
    """Write LiteRT with weights and activations in 8-bit integers, from raw pixels or float32 to float32 logits."""
    import tensorflow as tf

    examples = calibration[:CALIBRATION_IMAGES].astype(np.float32)
    options: dict[str, Any] = {}
    if net.input.dtype == "uint8":
        # The same layers with a float input, because the converter itself changes the input to uint8, whereas a cast in
        # the network would remain a float operation. One example contains 0 and 255, so that the scale of the input is
        # 1 and raw pixels are accepted.
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


def write_keras(path: Path, net: keras.Model, spec: NetworkSpec, calibration: np.ndarray) -> None:
    """Write Keras's format in Keras's own classes, which load without this package, compiled with the recipe's optimizer.

    If the network was read from a model.keras, which contains no recipe, the optimizer is the default of a recipe.
    """
    stock_copy(net, build_optimizer(spec.recipe.model, 1)).save(path)


def write_weights(path: Path, net: keras.Model, spec: NetworkSpec, calibration: np.ndarray) -> None:
    """Write the weights file that all three packages read."""
    weights.write(path, get_weights(net), spec.metadata())


def write_h5(path: Path, net: keras.Model, spec: NetworkSpec, calibration: np.ndarray) -> None:
    """Write only the weights, in Keras's layout."""
    net.save_weights(path)


WRITERS: dict[str, Callable[[Path, keras.Model, NetworkSpec, np.ndarray], None]] = {
    "savedmodel": write_saved_model,
    "onnx": write_onnx,
    "litert": write_litert,
    "int8": write_int8,
    "keras": write_keras,
    "safetensors": write_weights,
    "h5": write_h5,
}
