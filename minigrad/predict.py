"""python -m minigrad.predict: answer images with a trained network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import datasets, recipes
from .runs import UserError, folder, metrics, run_command
from .trained import restore

PROG = "python -m minigrad.predict"


def main(argv: Sequence[str]) -> None:
    """Write predictions.csv."""
    flag: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}
    parser = recipes.Parser(prog=PROG, description="Answer images with a trained network.")
    parser.add_argument(
        "--model.weights",
        type=str,
        required=True,
        metavar="FILE",
        help="a weights.safetensors of any of the three packages, which says how its network is built",
    )
    parser.add_argument(
        "--data.path",
        type=str,
        required=True,
        help="the images: mnist (those for testing), an .npz, a .csv, a PNG or JPEG, or a folder of them",
    )
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        metavar="FILE",
        help="the file to write; null writes predictions.csv beside the weights",
    )
    parser.add_argument("--overwrite", **flag, help="replace that file")
    options = parser.parse_args(argv)

    path = Path(options.model.weights)
    net, network, _ = restore(path)
    out = folder.choose_file(options.out, path.with_name(folder.PREDICTIONS), overwrite=options.overwrite)
    names, images = datasets.load_images(options.data.path, network.input_shape, network.scale)
    with np.errstate(over="ignore", invalid="ignore"):
        logits = net.predict(images)
    if not np.isfinite(logits).all():
        raise UserError(f"model.weights: {path}: its answers to {options.data.path} are NaN or infinite")
    folder.prepare(out.parent)
    metrics.write_predictions(out, logits, names)
    print(f"{len(logits):,} predictions in {out}")


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
