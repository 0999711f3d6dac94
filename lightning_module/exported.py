"""python -m lightning_module.exported FILE IMAGES ANSWERS: answer images (.npy) with an exported network alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.runs import onnx_runtime

Answer = Callable[[np.ndarray], np.ndarray]


def program(path: Path) -> Answer:
    """By torch.export, without the network's code."""
    import torch

    module: Any = torch.export.load(path).module()
    return lambda images: module(torch.from_numpy(images)).detach().numpy()


def safetensors(path: Path) -> Answer:
    """By the network that the file's metadata describe."""
    import torch

    from minigrad import recipes
    from minigrad.runs import weights

    from .network import Network

    found = weights.read_network(path)
    model = recipes.Recipe.from_dict(found.recipe).model
    network = Network(model, found.input_shape, found.classes, found.input_scale).eval()
    state = weights.read_for(
        path, recipes.sizes(model, found.input_shape, found.classes).shapes(model), found.input_scale
    )
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=False)
    return lambda images: network(torch.from_numpy(images)).detach().numpy()


READERS = {".onnx": onnx_runtime.answering, ".pt2": program, ".safetensors": safetensors}


def main(file: str, images: str, answers: str) -> None:
    """Answer the images together, and the first one alone."""
    answer, given = READERS[Path(file).suffix](Path(file)), np.load(images)
    np.save(answers, np.concatenate([answer(given), answer(given[:1])]))


if __name__ == "__main__":
    main(*sys.argv[1:])
