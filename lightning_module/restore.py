"""Trained networks from files, in plain torch: `restore`, and the check of exported files in a fresh process.

    python -m lightning_module.restore FILE IMAGES OUTPUTS

loads an exported network and saves its outputs for the images (.npy). It does not import Lightning.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minigrad.runs import NetworkSpec, exports, onnx_runtime, weights
from minigrad.runs.weights import Weights

from .network import Network


def restore(path: str | Path) -> tuple[Network, NetworkSpec]:
    """Build the network that a weights file describes.

    Args:
        path: a weights.safetensors of minigrad, lightning_module or keras_model.

    Returns:
        The network with its weights, in evaluation mode, on the CPU; and its specification.

    Raises:
        UserError: the file cannot be read, or does not describe a network that fits its arrays.

    Example:
        network, spec = restore("runs/lightning-1/weights.safetensors")
        logits = network(torch.from_numpy(images))
    """
    spec, arrays = weights.load(path)
    network = Network(spec.recipe.model, spec.input_shape, spec.classes, spec.input_scale)
    set_weights(network, arrays)
    return network.eval(), spec


def set_weights(network: nn.Module, arrays: Weights) -> None:
    """Set the network's parameters and running statistics to `arrays`, as `weights.load` returns them."""
    network.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, strict=False)


def to_arrays(state: Mapping[str, Tensor]) -> Weights:
    """Return a network's state as NumPy arrays, with the names and the layout of weights.safetensors.

    Args:
        state: from `Network.state_dict`.

    Returns:
        Parameters and running statistics, in their own dtype; bfloat16 and float16 become float32.
    """
    # torch also counts the batches of each batch norm, which is not needed.
    kept = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    # NumPy has no bfloat16.
    return {name: (t if t.dtype.itemsize > 2 else t.float()).cpu().numpy() for name, t in kept.items()}


def _predictor(module: nn.Module) -> exports.Predict:
    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(images)))

    return predict


def _load_program(path: Path) -> exports.Predict:
    program: Any = torch.export.load(path)
    return _predictor(program.module())


LOADERS: dict[str, Callable[[Path], exports.Predict]] = {
    ".onnx": onnx_runtime.predictor,
    ".pt2": _load_program,
    ".safetensors": lambda path: _predictor(restore(path)[0]),
}


if __name__ == "__main__":
    exports.serve(LOADERS, sys.argv[1:])
