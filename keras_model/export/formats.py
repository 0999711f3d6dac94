"""The writers of the formats of deployment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from minigrad.runs import NetworkSpec, weights
from minigrad.runs.formats import Kind, Precision
from minigrad.runs.precision import CALIBRATION_IMAGES

from ..model import get_weights
from ..optimizers import build_optimizer
from ..stock import copy_weights, stock_copy, with_stock_layers


class Job(NamedTuple):
    """What a writer needs.

    Attributes:
        net: the network, in float32.
        spec: its specification.
        precision: the precision of the numbers in the file.
        calibration: training images for int8, (m, *input_shape).
    """

    net: keras.Model
    spec: NetworkSpec
    precision: Precision
    calibration: np.ndarray | None


def in_half(net: keras.Model) -> keras.Model:
    """Copy a network into one of Keras's own layers that computes in float16, from the same input to float32 logits."""
    half = with_stock_layers(net, "float16")
    copy_weights(net, half)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(half.output)
    return keras.Model(half.input, logits, name=net.name)


def network_of(job: Job) -> keras.Model:
    """Return the network of a job in its precision, float32 or float16."""
    return in_half(job.net) if job.precision == "float16" else job.net


def write_saved_model(path: Path, job: Job) -> None:
    """Write a SavedModel, a folder for `tf.saved_model.load`, whose `serve` maps images to logits."""
    net = network_of(job)
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


def write_onnx(path: Path, job: Job) -> None:
    """Write ONNX as minigrad and lightning_module do: from `images` to `logits`, with the metadata of a weights file."""
    import onnx

    job.net.export(str(path), format="onnx", verbose=False)
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
    onnx.helper.set_model_props(exported, job.spec.metadata())
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def write_litert(path: Path, job: Job) -> None:
    """Write LiteRT; in float16, the weights are float16 and the runtime computes as it prefers."""
    if job.precision == "int8":
        write_int8(path, job)
        return
    options: dict[str, Any] = {}
    if job.precision == "float16":
        import tensorflow as tf

        options = {"optimizations": [tf.lite.Optimize.DEFAULT], "target_spec": {"supported_types": [tf.float16]}}
    job.net.export(str(path), format="litert", verbose=False, **options)


def write_program(path: Path, job: Job) -> None:
    """Write a program that torch.export.load reads, without this package."""
    import torch

    shapes = {0: torch.export.Dim.DYNAMIC}
    network_of(job).export(str(path), format="torch", verbose=False, dynamic_shapes=shapes)


def write_int8(path: Path, job: Job) -> None:
    """Write LiteRT with weights and activations in 8-bit integers, from raw pixels or float32 to float32 logits."""
    import tensorflow as tf

    assert job.calibration is not None
    net, examples = job.net, job.calibration[:CALIBRATION_IMAGES].astype(np.float32)
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


def write_keras(path: Path, job: Job) -> None:
    """Write Keras's format in Keras's own classes, which load without this package, compiled with the recipe's optimizer.

    If the network was read from a model.keras, which contains no recipe, the optimizer is the default of a recipe. A
    network in float16 is not compiled, since it is not suited to training.
    """
    half = job.precision == "float16"
    (in_half(job.net) if half else stock_copy(job.net, build_optimizer(job.spec.recipe.model, 1))).save(path)


def write_weights(path: Path, job: Job) -> None:
    """Write the weights file that all three packages read."""
    weights.write(path, get_weights(job.net), job.spec.metadata())


def write_h5(path: Path, job: Job) -> None:
    """Write only the weights, in Keras's layout."""
    job.net.save_weights(path)


WRITERS: dict[Kind, Callable[[Path, Job], None]] = {
    "savedmodel": write_saved_model,
    "onnx": write_onnx,
    "litert": write_litert,
    "pt2": write_program,
    "keras": write_keras,
    "safetensors": write_weights,
    "h5": write_h5,
}
