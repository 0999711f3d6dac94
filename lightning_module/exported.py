"""python -m lightning_module.exported FILE IMAGES ANSWERS: answer images (.npy) with an exported network alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.runs import exports, onnx_runtime

Answer = Callable[[np.ndarray], np.ndarray]


def program(path: Path) -> Answer:
    """By torch.export, without the network's code."""
    import torch

    module: Any = torch.export.load(path).module()
    return lambda images: module(torch.from_numpy(images)).detach().numpy()


def safetensors(path: Path) -> Answer:
    """By the network that the file's metadata describe."""
    import torch

    from minigrad.runs import weights

    from .network import Network

    spec, state = weights.load(path)
    network = Network(spec.recipe.model, spec.input_shape, spec.classes, spec.input_scale).eval()
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=False)
    return lambda images: network(torch.from_numpy(images)).detach().numpy()


READERS = {".onnx": onnx_runtime.predictor, ".pt2": program, ".safetensors": safetensors}


def main(file: str, images: str, answers: str) -> None:
    """Answer the images together, and the first one alone."""
    exports.serve(READERS, [file, images, answers])


if __name__ == "__main__":
    main(*sys.argv[1:])
