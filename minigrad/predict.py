"""python -m minigrad predict: classify images with a trained network."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from . import recipes
from .restore import restore, weights_option, weights_path
from .runs import UserError, folder, metrics, predictions, run_command
from .runs.overview import description_of

PROG = "python -m minigrad predict"


def main(argv: Sequence[str]) -> None:
    """Write predictions.csv."""
    parser = recipes.Parser(prog=PROG, description=description_of("predict"))
    weights_option(parser)
    where = f"the folder for {folder.PREDICTIONS}; null writes it beside the weights"
    parser.add_argument("--out", type=str | None, default=None, metavar="FOLDER", help=where)
    parser.add_flag("--overwrite", recipes.HELP["overwrite files"])
    parser.add_argument(
        "--data.path",
        type=str,
        required=True,
        help="the images: mnist or digits (the test images), an .npz, .npy or .csv file, a picture, or a folder with pictures",
    )
    recipes.predict_options(parser)
    options = parser.parse_args(argv)

    path = weights_path(options)
    net, spec = restore(path)
    if options.out is not None and Path(options.out).suffix == ".csv":
        raise UserError(f"--out {options.out}: names a CSV file; expected a folder, which gets {folder.PREDICTIONS}")
    files = predictions.files(options)
    folder_name = path.parent if options.out is None else options.out
    with folder.claim_files(folder_name, "minigrad", files, overwrite=options.overwrite) as out:
        names, images = predictions.load_images(options.data.path, spec, options)
        logits = net.predict(images)
        metrics.check_outputs(logits, options.data.path, weights=path)
        predictions.write(out, logits, images, names, options, spec.class_names)


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
