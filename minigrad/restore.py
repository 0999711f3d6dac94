"""A trained network, built from its weights file alone; and the check of exported files in a fresh process.

    python -m minigrad.restore FILE IMAGES OUTPUTS

loads an exported network and saves its outputs for the images (.npy).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .classifier import Classifier
from .recipes import Parser
from .runs import UserError, expand, exports, onnx_runtime, weights
from .runs.weights import NetworkSpec


def weights_option(parser: Parser) -> None:
    """Add --model.weights."""
    parser.add_argument(
        "--model.weights",
        type=str,
        required=True,
        metavar="FILE",
        help="a weights.safetensors that any of the three packages wrote; it also describes the network",
    )


def weights_path(options: Any) -> Path:
    """Return the file of --model.weights.

    Raises:
        UserError: the option is the empty text.
    """
    if not options.model.weights:
        raise UserError("model.weights: ''; expected a weights.safetensors")
    return expand(options.model.weights)


def restore(path: str | Path) -> tuple[Classifier, NetworkSpec]:
    """Build the network of a weights file, in evaluation mode.

    Args:
        path: a `weights.safetensors` of any of the three packages.

    Returns:
        The network, and its specification.

    Raises:
        UserError: the file is missing or damaged, or does not describe its network.
    """
    spec, arrays = weights.load(path)
    net = Classifier(spec.recipe.model, spec.input_shape, spec.classes, spec.input_scale)
    net.load_state_dict(arrays)
    net.eval()
    return net, spec


LOADERS: dict[str, Callable[[Path], exports.Predict]] = {
    ".onnx": onnx_runtime.predictor,
    ".safetensors": lambda path: restore(path)[0].predict,
}


if __name__ == "__main__":
    exports.serve(LOADERS, sys.argv[1:])
