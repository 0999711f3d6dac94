"""python -m minigrad predict: classify images with a trained network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from . import datasets, recipes
from .restore import restore, weights_option
from .runs import UserError, expand, folder, metrics, run_command

PROG = "python -m minigrad predict"


def main(argv: Sequence[str]) -> None:
    """Write predictions.csv."""
    parser = recipes.Parser(prog=PROG, description="Classify images with a trained network.")
    weights_option(parser)
    where = f"the folder for {folder.PREDICTIONS}; null writes it beside the weights"
    parser.add_argument("--out", type=str | None, default=None, metavar="FOLDER", help=where)
    parser.add_flag("--overwrite", "replace an existing file")
    parser.add_argument(
        "--data.path",
        type=str,
        required=True,
        help="the images: mnist or digits (the test images), an .npz, .npy or .csv file, a PNG or JPEG file, or a folder with images",
    )
    options = parser.parse_args(argv)

    path, files = expand(options.model.weights), [folder.PREDICTIONS]
    net, spec = restore(path)
    if options.out is not None and Path(options.out).suffix == ".csv":
        raise UserError(f"--out {options.out}: names a CSV file; expected a folder, which gets {folder.PREDICTIONS}")
    with folder.claim_files(options.out or path.parent, "minigrad", files, overwrite=options.overwrite) as out:
        names, images = datasets.load_images(options.data.path, spec.input_shape, spec.input_scale)
        logits = net.predict(images)
        metrics.check_outputs(logits, options.data.path, weights=path)
        folder.prepare(out, files)
        metrics.write_predictions(out / folder.PREDICTIONS, logits, names, spec.class_names)
        print(f"{len(logits):,} predictions in {out / folder.PREDICTIONS}")


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
