"""python -m keras_model.export.reader FILE IMAGES OUTPUTS [NETWORK]: the outputs of an exported file.

Each format is read as another program would read it. Keras is imported only
for the formats that need it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.runs import exports, onnx_runtime, run_command, weights
from minigrad.runs.exports import Predict

PROG = "python -m keras_model.export.reader"


def load_saved_model(path: Path) -> Predict:
    """Load a SavedModel with TensorFlow, without Keras."""
    import tensorflow as tf

    module = tf.saved_model.load(str(path))
    return lambda images: module.serve(tf.constant(images)).numpy()


def load_litert(path: Path) -> Predict:
    """Load a .tflite file with the LiteRT interpreter.

    Raises:
        ValueError: the scale with which the file quantizes its input is not 1.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_path=str(path))
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale = inputs["quantization"]  # (scale, zero point); (0, 0) if the input is not quantized
    if inputs["dtype"] == np.uint8 and scale not in ((0.0, 0), (1.0, 0)):
        raise ValueError(f"its pixels are quantized with (scale, zero point) {scale}; expected (1, 0)")

    def predict(images: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(inputs["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(inputs["index"], images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(outputs["index"]))

    return predict


def load_program(path: Path) -> Predict:
    """Load a program of torch.export, without Keras."""
    import torch

    program: Any = torch.export.load(path).module()

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(program(torch.from_numpy(images)))

    return predict


def predictor(net: Any) -> Predict:
    """Return a function from images to the logits of a Keras network in float32."""
    from ..precision import dtype_policy

    def predict(images: np.ndarray) -> np.ndarray:
        with dtype_policy("float32"):
            return np.asarray(net.predict(images, batch_size=exports.BATCH, verbose=0))

    return predict


def load_keras(path: Path) -> Predict:
    """Load a .keras file in safe mode, which runs no code from the file, and without the classes of this package."""
    import keras

    return predictor(keras.saving.load_model(path, safe_mode=True))


def load_safetensors(path: Path) -> Predict:
    """Load a weights file into the network that its metadata describe."""
    spec, arrays = weights.load(path)
    from ..model import set_weights
    from ..restore import build_network

    net = build_network(spec)
    set_weights(net, arrays)
    return predictor(net)


def load_weights_h5(path: Path, network: Path) -> Predict:
    """Load a .weights.h5 file, which has no metadata, into the network that the metadata of `network` describe."""
    spec = weights.read_spec(network)
    from ..restore import build_network

    net = build_network(spec)
    net.load_weights(path)
    return predictor(net)


LOADERS: dict[str, Callable[..., Predict]] = {
    ".savedmodel": load_saved_model,
    ".onnx": onnx_runtime.predictor,
    ".tflite": load_litert,
    ".pt2": load_program,
    ".keras": load_keras,
    ".safetensors": load_safetensors,
    ".h5": load_weights_h5,
}


def main(argv: Sequence[str]) -> None:
    """Save the outputs of an exported file for all images in one batch, and for the first image alone."""
    exports.serve(LOADERS, argv)


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
