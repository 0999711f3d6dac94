"""python -m minigrad.predict: answer images with a trained network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import datasets, recipes
from .runs import UserError, folder, metrics, run_command
from .trained import file_options, restore

PROG = "python -m minigrad.predict"


def main(argv: Sequence[str]) -> None:
    """Write predictions.csv."""
    parser = recipes.Parser(prog=PROG, description="Answer images with a trained network.")
    file_options(parser, folder.PREDICTIONS)
    parser.add_argument(
        "--data.path",
        type=str,
        required=True,
        help="the images: mnist (those for testing), an .npz, a .csv, a PNG or JPEG, or a folder of them",
    )
    options = parser.parse_args(argv)

    path = Path(options.model.weights)
    net, network, _ = restore(path)
    out = folder.choose_file(options.out, path.with_name(folder.PREDICTIONS), overwrite=options.overwrite)
    names, images = datasets.load_images(options.data.path, network.input_shape, network.input_scale)
    with np.errstate(over="ignore", invalid="ignore"):
        logits = net.predict(images)
    if not np.isfinite(logits).all():
        raise UserError(f"model.weights: {path}: its answers to {options.data.path} are NaN or infinite")
    folder.prepare(out.parent)
    metrics.write_predictions(out, logits, names)
    print(f"{len(logits):,} predictions in {out}")


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
