"""python -m keras_model.exported FILE IMAGES ANSWERS [NETWORK]: answer images (.npy) with an exported network alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.runs import exports, onnx_runtime

Answer = Callable[[np.ndarray], np.ndarray]
BATCH = 1000


def saved_model(path: Path) -> Answer:
    """By TensorFlow, without Keras."""
    import tensorflow as tf

    module = tf.saved_model.load(str(path))
    return lambda images: module.serve(tf.constant(images)).numpy()


def litert(path: Path) -> Answer:
    """By the LiteRT interpreter.

    Raises:
        ValueError: it takes pixels by another scale than their own.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_path=str(path))
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale = given["quantization"]  # (0, 0) says none
    if given["dtype"] == np.uint8 and scale not in ((0.0, 0), (1.0, 0)):
        raise ValueError(f"its pixels are quantised by {scale}; expected a scale of 1 from 0")

    def answers(images: np.ndarray) -> np.ndarray:
        found = []
        for begin in range(0, len(images), BATCH):
            batch = images[begin : begin + BATCH]
            interpreter.resize_tensor_input(given["index"], batch.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(given["index"], batch)
            interpreter.invoke()
            found.append(interpreter.get_tensor(answer["index"]))
        return np.concatenate(found)

    return answers


def predicting(net: Any) -> Answer:
    """By Keras, on this process's backend."""
    return lambda images: np.asarray(net.predict(images, batch_size=BATCH, verbose=0))


def keras_file(path: Path) -> Answer:
    """By Keras in safe mode, which runs no code from the file, and without the classes of this package."""
    import keras

    return predicting(keras.saving.load_model(path, safe_mode=True))


def safetensors(path: Path) -> Answer:
    """By the network that the file's metadata describe."""
    return predicting(_described(path, weights=str(path)))


def weights_h5(path: Path, network: Path) -> Answer:
    """By the network that the metadata of another file describe, since this one has none."""
    net = _described(network, weights=None)
    net.load_weights(path)
    return predicting(net)


def _described(path: Path, weights: str | None) -> Any:
    from minigrad.runs.weights import read_spec

    spec = read_spec(path)
    from .model import build_model

    model = replace(spec.recipe.model, weights=weights)
    return build_model(model, spec.input_shape, spec.classes, spec.input_scale)


READERS: dict[str, Callable[..., Answer]] = {
    ".savedmodel": saved_model,
    ".onnx": onnx_runtime.predictor,
    ".tflite": litert,
    ".keras": keras_file,
    ".safetensors": safetensors,
    ".h5": weights_h5,
}


def main(file: str, images: str, answers: str, *network: str) -> None:
    """Answer the images together, and the first one alone; `network` is a weights file that describes an .h5's."""
    exports.serve(READERS, [file, images, answers, *network])


if __name__ == "__main__":
    main(*sys.argv[1:])
