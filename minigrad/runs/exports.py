"""Exported files: drafts are written, each is checked in a fresh process, and all of them are renamed into place."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import folder, manifest
from .errors import UserError
from .files import abandoned_drafts, draft_of, writing
from .formats import Cell
from .weights import NetworkSpec

Predict = Callable[[np.ndarray], np.ndarray]

IMAGES = 10_000  # the largest number of images that are compared
BATCH = 1000  # the number of images per prediction
LIMIT = 1e-4  # the largest difference between logits in float32
# The accuracy that float16 and int8 may lose; without labels, the fraction of images that they may classify differently.
# The latter is larger, because a different class is not always a wrong one.
MAX_LOSS, MAX_CHANGED = 0.01, 0.05


class Examples(NamedTuple):
    """The images for the check of an export.

    Attributes:
        images: raw test images, (n, *input_shape).
        labels: their labels, (n,); None compares the predictions with those of the network.
        calibration: training images, (m, *input_shape), from which int8 determines the ranges of values; None if there are
            none. With test images, the measured accuracy would be too high.
    """

    images: np.ndarray
    labels: np.ndarray | None
    calibration: np.ndarray | None


def examples_for(
    path: str, spec: NetworkSpec, cells: Sequence[Cell], source: object, load: Callable[[], Any] | None = None
) -> Examples:
    """Load the first `IMAGES` test images, with their labels if there are any.

    Args:
        path: a data set, or images without labels.
        spec: the specification of the network.
        cells: the files to write; int8 needs training images.
        source: the file of the network, for messages.
        load: returns the data set; None (default) loads the one at `path`.

    Raises:
        UserError: the images do not fit the network; or int8 is requested, and there are no training images.
    """
    from .. import datasets  # here, since `datasets` imports this package

    reason = f"data.path: {path} is of another kind than the data that the network was trained on"
    try:
        data = datasets.align_classes(load() if load else datasets.load(path), spec.class_names, source)
        actual = (data.input_shape, data.input_scale, data.classes)
        if actual == (spec.input_shape, spec.input_scale, spec.classes):
            return Examples(data.test.images[:IMAGES], data.test.labels[:IMAGES], data.train.images)
    except UserError as error:
        reason = str(error)
    _, images = datasets.load_images(path, spec.input_shape, spec.input_scale, mnist_like=spec.mnist_like)
    if any(cell.precision == "int8" for cell in cells):
        raise UserError(
            f"{reason}; int8 needs training images of that data, expected another --data.path or --precision"
        )
    return Examples(images[:IMAGES], None, None)


def write(
    out: Path,
    stem: str,
    cells: Sequence[Cell],
    examples: Examples,
    *,
    package: str,
    predict: Predict,
    writer: Callable[[Cell, Path], None],
    outputs: Callable[[Path, np.ndarray], np.ndarray],
    overwrite: bool = False,
) -> None:
    """Write a network to `out`/`stem`.onnx and so on, all files or none, and print one line per file.

    Args:
        out: the folder.
        stem: the beginning of the file names.
        cells: the files.
        examples: the images for the check.
        package: the kind of the folder, as in `folder.claim_files`.
        predict: returns the logits of the network itself.
        writer: writes a file; those in `precision.CONVERTERS` in float32, from which they are converted.
        outputs: returns the logits of a file in a fresh process, as `outputs_in_fresh_process` does.
        overwrite: replace existing files. Default False.

    Raises:
        UserError: a file exists, can't be read by a fresh process, or its outputs differ.
    """
    from . import precision  # here, since it needs onnx only for some files

    paths = {cell: Path(out, cell.file(stem)) for cell in cells}
    claim = folder.claim_files(out, package, [path.name for path in paths.values()], overwrite=overwrite)
    with claim, _folder_for_drafts(out, stem) as temporary:
        drafts = {cell: temporary / path.name for cell, path in paths.items()}
        expected = predict(examples.images)
        for cell, draft in drafts.items():
            with writing(paths[cell]):
                writer(cell, draft)
                if cell in precision.CONVERTERS:
                    precision.CONVERTERS[cell](draft, examples.calibration)

        def check(cell: Cell) -> str:
            logits = outputs(drafts[cell], examples.images)
            result = check_file(paths[cell], cell, logits, expected, examples.labels)
            return f"{paths[cell]}: {result}, {size(drafts[cell]) / 1000:,.1f} kB"

        # Two at a time, because each process needs one core for several seconds to start.
        with ThreadPoolExecutor(2) as pool:
            lines = list(pool.map(check, paths))
        _move(drafts, paths, temporary, out)
    print("\n".join(lines))


def size(path: Path) -> int:
    """Return the number of bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())


@contextmanager
def _folder_for_drafts(out: Path, stem: str) -> Iterator[Path]:
    """Create a folder in the claimed folder `out`, and remove it at the end, with those that killed processes left."""
    name = f"{stem}.export"
    for path in abandoned_drafts(out, [name]):
        shutil.rmtree(path, ignore_errors=True)
    path = draft_of(out / name)
    try:
        path.mkdir()
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _move(drafts: Mapping[Cell, Path], paths: Mapping[Cell, Path], temporary: Path, out: Path) -> None:
    """Rename the drafts, which are in the folder `temporary`, into place, and add them to the manifest of `out`."""
    manifest.add(out, [f.relative_to(temporary).as_posix() for f in temporary.rglob("*") if f.is_file()])
    for cell, path in paths.items():
        if path.is_dir():  # a folder can't be replaced in one step, as a file can
            path.rename(temporary / f"earlier-{path.name}")
        drafts[cell].replace(path)


# The fresh process.


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
        Logits, (n + 1, classes): of all images in batches, then of the first image alone.

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
    """Return the logits of all images in batches of `BATCH`, then of the first image alone.

    The last batch shows whether an exported file accepts only one batch size.
    """
    batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    return np.concatenate([predict(batch) for batch in (*batches, images[:1])])


# The check.


def differences(outputs: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Return the largest and the mean difference between logits, relative to the largest expected logit if it is above 1.

    Args:
        outputs: (n, classes).
        expected: (n, classes).

    Returns:
        The differences; NaN if an output is NaN.
    """
    distance = np.abs(outputs - expected) / max(1.0, np.abs(expected).max())
    return float(distance.max()), float(distance.mean())


def check_file(path: Path, cell: Cell, outputs: np.ndarray, expected: np.ndarray, labels: np.ndarray | None) -> str:
    """Compare an exported file with the trained network, and describe the differences.

    Args:
        path: the exported file, for the message.
        cell: its format and precision.
        outputs: the logits of the file, (n + 1, classes), as `outputs_in_fresh_process` returns them.
        expected: the logits of the trained network, (n, classes).
        labels: the labels, (n,), or None.

    Raises:
        UserError: float32 differs by more than `LIMIT`, another precision loses more than `MAX_LOSS` (`MAX_CHANGED` without
            labels) and more than one image, or outputs are not finite.
    """
    if not np.isfinite(expected).all():
        raise UserError(
            f"{path}: the network's outputs are NaN or infinite; expected weights and images that give finite outputs, so"
            " nothing was written"
        )
    largest, mean = differences(outputs, np.concatenate([expected, expected[:1]]))
    if cell.precision == "float32" and not largest <= LIMIT:
        raise UserError(
            f"{path}: its outputs differ from the network's by {largest:.1e}; expected at most {LIMIT:.0e}, so nothing was"
            " written"
        )
    if not np.isfinite(outputs).all():
        raise UserError(
            f"{path}: its outputs are NaN or infinite; expected --precision float32 for a network with such large values, so"
            " nothing was written"
        )
    accuracy = check_accuracy(path, cell, outputs[:-1], expected, labels)
    return f"largest difference {largest:.1e}, mean difference {mean:.1e}, {accuracy}"


def check_accuracy(path: Path, cell: Cell, outputs: np.ndarray, expected: np.ndarray, labels: np.ndarray | None) -> str:
    """Compare the accuracy of an exported file with that of the network, and describe it; `outputs` is (n, classes)."""
    targets, count = expected.argmax(-1) if labels is None else labels, len(expected)
    correct, network = (int((logits.argmax(-1) == targets).sum()) for logits in (outputs, expected))
    if labels is None:
        result, limit = f"{correct / count:.2%} of {count:,} images classified as by the network", MAX_CHANGED
    else:
        result, limit = f"accuracy {correct / count:.2%} on {count:,} images (network: {network / count:.2%})", MAX_LOSS
    result = result.replace("%", " %")
    if cell.precision != "float32" and network - correct > max(1, limit * count):
        raise UserError(f"{path}: {result}; expected at most {100 * limit:g} % less, so nothing was written")
    return result
