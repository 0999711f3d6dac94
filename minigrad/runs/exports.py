"""The check of an exported file: a fresh process loads it, and its outputs are compared with the trained network's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from .errors import UserError
from .files import writing

Predict = Callable[[np.ndarray], np.ndarray]

IMAGES = 1000  # the number of images that are compared
LIMIT = 1e-4  # the largest difference between logits


def outputs_in_fresh_process(
    module: str, path: Path, images: np.ndarray, *more: Path, environment: Mapping[str, str] | None = None
) -> np.ndarray:
    """Run `python -m MODULE FILE IMAGES OUTPUTS`, whose main is `serve`, and return the outputs.

    Args:
        module: the module to run.
        path: the exported file, or a draft of it with the same suffix.
        images: (n, ...), as the network accepts them.
        more: further files for the module.
        environment: the environment variables of the process; None passes on those of this one.

    Returns:
        Logits, (n + 1, classes): of all images in one batch, then of the first image alone.

    Raises:
        UserError: the process cannot load the file.
    """
    with tempfile.TemporaryDirectory() as temporary:
        images_file, outputs_file = Path(temporary, "images.npy"), Path(temporary, "outputs.npy")
        with writing(images_file):
            np.save(images_file, images)
        command = [sys.executable, "-m", module, *map(str, (path, images_file, outputs_file, *more))]
        process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if process.returncode:
            reason = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"{path.name}: a fresh process cannot load it ({reason}), so nothing was written")
        return np.asarray(np.load(outputs_file))


def serve(loaders: Mapping[str, Callable[..., Predict]], arguments: Sequence[str]) -> None:
    """Load an exported file and save its outputs: the main of the module that `outputs_in_fresh_process` runs.

    Args:
        loaders: per suffix, a function from the file (and further files) to a function from images to logits.
        arguments: those of the command: the file, the images (.npy), the file for the outputs (.npy), and further files.
    """
    path, images_file, outputs_file, *more = map(Path, arguments)
    predict, images = loaders[path.suffix](path, *more), np.load(images_file)
    np.save(outputs_file, predict_all_and_first(predict, images))


def predict_all_and_first(predict: Predict, images: np.ndarray) -> np.ndarray:
    """Return the logits of all images in one batch, then of the first image alone.

    The second batch shows whether an exported file accepts only one batch size.
    """
    return np.concatenate([predict(images), predict(images[:1])])


def difference(outputs: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference between logits, relative to the largest expected logit if that is above 1.

    Args:
        outputs: (n, classes).
        expected: (n, classes).

    Returns:
        The difference; NaN if an output is NaN.
    """
    return float(np.abs(outputs - expected).max() / max(1.0, np.abs(expected).max()))


def check_outputs(path: Path, outputs: np.ndarray, expected: np.ndarray) -> float:
    """Compare an exported file's outputs with the trained network's, and return the difference.

    Args:
        path: the exported file, for the message.
        outputs: the logits of the file, (n + 1, classes), as `outputs_in_fresh_process` returns them.
        expected: the logits of the trained network, (n, classes).

    Raises:
        UserError: the difference is above `LIMIT`, or the network's own outputs are not finite.
    """
    if not np.isfinite(expected).all():
        raise UserError(
            f"{path}: the network's outputs are NaN or infinite; expected weights and images that give finite outputs, so"
            " nothing was written"
        )
    measured = difference(outputs, np.concatenate([expected, expected[:1]]))
    if not measured <= LIMIT:
        raise UserError(
            f"{path}: its outputs differ from the network's by {measured:.1e}; expected at most {LIMIT:.0e}, so nothing was"
            " written"
        )
    return measured
