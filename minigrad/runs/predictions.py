"""The inputs of `predict`, and its files: predictions.csv and, if the user asks for them, the inputs of the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import folder, metrics
from .files import whole_file
from .manifest import INPUT_ARRAYS, INPUTS, PREDICTIONS
from .weights import NetworkSpec

if TYPE_CHECKING:
    from ..datasets import Unlabelled

COLUMNS, MAX_SHOWN = 10, 200  # of inputs.png
CELL, CAPTION = 112, 30  # pixels
MAX_LETTERS = 17  # of the name of a file or a class


def files(options: Any) -> list[str]:
    """Return the names of the files that `write` writes.

    Args:
        options: a namespace with the options of `recipes.predict_options`.
    """
    return [PREDICTIONS, *([INPUTS, INPUT_ARRAYS] if options.get("save_inputs") else [])]


def load_images(path: str, spec: NetworkSpec, options: Any) -> Unlabelled:
    """Load the images of `predict` as the input of a network.

    Args:
        path: the images, as for `datasets.load_images`.
        spec: the network.
        options: a namespace with the options of `recipes.predict_options`.

    Raises:
        UserError: as for `datasets.load_images`.
    """
    from .. import datasets  # here, since it imports this package

    return datasets.load_images(
        path, spec.input_shape, spec.input_scale, mnist_like=spec.mnist_like, preprocess=options.preprocess
    )


def write(
    out: Path,
    logits: np.ndarray,
    images: np.ndarray,
    names: Sequence[str] | None,
    options: Any,
    class_names: Sequence[str] = (),
) -> None:
    """Write the files into the folder `out`, and print where they are.

    Args:
        out: the folder, which the caller has claimed.
        logits: the network's outputs, (n, classes).
        images: the inputs, (n, *input_shape).
        names: the file of each image; None if the images are from one file.
        options: a namespace with the options of `recipes.predict_options`.
        class_names: the name of each class; empty if the classes only have numbers.
    """
    folder.prepare(out, files(options))
    if options.get("save_inputs"):
        labels = [class_names[k] if class_names else str(k) for k in logits.argmax(axis=1)]
        write_inputs(out, images, labels, names)
    if options.get("format") == "kaggle":
        metrics.write_kaggle(out / PREDICTIONS, logits, class_names)
    else:
        metrics.write_predictions(out / PREDICTIONS, logits, names, class_names)
    print(f"{len(logits):,} predictions in {out / PREDICTIONS}")


def write_inputs(out: Path, images: np.ndarray, labels: Sequence[str], names: Sequence[str] | None) -> None:
    """Write inputs.npz, which `predict` can read again, and inputs.png if the inputs are images.

    Args:
        out: the folder.
        images: the inputs, (n, *input_shape) uint8 or float32.
        labels: the number or name of the predicted class of each image.
        names: the file of each image; None if the images are from one file.
    """
    arrays: dict[str, Any] = {"images": images} if names is None else {"images": images, "names": np.array(names)}
    with whole_file(out / INPUT_ARRAYS) as draft:
        np.savez(draft, **arrays)
    if images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3, 4)):
        with whole_file(out / INPUTS) as draft:
            draw_inputs(images, labels, names).save(draft)
    else:
        (out / INPUTS).unlink(missing_ok=True)  # from an earlier prediction


def draw_inputs(images: np.ndarray, labels: Sequence[str], names: Sequence[str] | None) -> Any:
    """Return a Pillow image of the first inputs, each with its file or index and the predicted class."""
    from PIL import Image, ImageDraw

    count = min(len(images), MAX_SHOWN)
    rows, columns = -(-count // COLUMNS), min(COLUMNS, count)
    sheet = Image.new("RGBA", (columns * (CELL + 8), rows * (CELL + CAPTION)), "white")
    text = ImageDraw.Draw(sheet)
    for i in range(count):
        x, y = i % COLUMNS * (CELL + 8) + 4, i // COLUMNS * (CELL + CAPTION)
        image = images[i] if images.ndim == 3 or images.shape[3] > 1 else images[i, ..., 0]
        picture = Image.fromarray(_as_pixels(image))
        scale = CELL / max(picture.size)
        size = [max(1, round(side * scale)) for side in picture.size]
        sheet.paste(picture.resize((size[0], size[1]), Image.Resampling.NEAREST), (x, y + CAPTION))
        text.text((x, y + 3), _caption(str(i) if names is None else names[i]), fill="black")
        text.text((x, y + 15), _caption(f"-> {labels[i]}"), fill="black")
    return sheet


def _caption(text: str) -> str:
    """Return a text that fits into a cell, in the characters of Pillow's built-in font."""
    plain = text.encode("ascii", "replace").decode()
    return plain if len(plain) <= MAX_LETTERS else f"{plain[: MAX_LETTERS - 2]}.."


def _as_pixels(image: np.ndarray) -> np.ndarray:
    """Return an image as uint8; floats are scaled from their smallest and largest values."""
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return np.rint((image - low) / ((high - low) or 1) * 255).astype(np.uint8)
