"""Export of a trained network: write drafts, check each in a fresh process, and rename all of them into place."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import keras
import numpy as np

from minigrad.runs import NetworkSpec, UserError, exports, folder, manifest, weights, writing
from minigrad.runs.errors import SYSTEM_ERRORS
from minigrad.runs.files import abandoned_drafts, draft_of

from ..startup import stderr_held_back, use_one_framework
from .formats import SUFFIXES, WRITERS, writable_kinds
from .reader import predictor

READER = "keras_model.export.reader"
# The accuracy that int8 may lose; without labels, the fraction of images that it may classify differently. The latter is
# larger, because a different class is not always a wrong one.
MAX_LOSS, MAX_CHANGED = 0.01, 0.05


def export(
    net: keras.Model,
    spec: NetworkSpec,
    images: np.ndarray,
    labels: np.ndarray | None,
    out: Path,
    stem: str,
    kinds: Sequence[str] | None = None,
    *,
    calibration: np.ndarray,
    source: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write a trained network to `out`/`stem`.onnx and so on, all files or none, and print one line per file.

    An exported file maps any number of raw images to logits. Before it is
    renamed into place, its logits in a fresh process are compared with those of
    the network.

    Args:
        net: a network that `build_model` built, in float32.
        spec: the specification of the network.
        images: raw images for the check, (n, *input_shape): all of them for int8, else the first `exports.IMAGES`.
        labels: the labels of the images, (n,), for the accuracy of int8; with None it is compared with the network.
        out: the folder.
        stem: the beginning of the file names.
        kinds: keys of `formats.SUFFIXES`; None (default) writes all that this backend can write, except h5 and `source`.
        calibration: training images, (m, *input_shape), from which the int8 converter determines the range of values.
            With test images, the measured accuracy would be too high.
        source: the file from which the network was read.
        overwrite: replace existing files. Default False.

    Raises:
        UserError: a kind can't be written on this backend, a file exists, or an exported file can't be read or
            its outputs differ.
    """
    paths = {kind: Path(out, stem + SUFFIXES[kind]) for kind in writable_kinds(kinds)}
    if kinds is None and source is not None:
        paths = {kind: path for kind, path in paths.items() if path.resolve() != source.resolve()}
    use_one_framework()  # Keras tries to import TensorFlow when it saves a model
    claim = folder.claim_files(out, "keras", [path.name for path in paths.values()], overwrite=overwrite)
    with claim, _folder_for_drafts(out, stem) as temporary:
        drafts = {kind: temporary / path.name for kind, path in paths.items()}
        with quiet():
            expected = predictor(net)(images)
            for kind, draft in drafts.items():
                with writing(paths[kind]), tensorflow_errors():
                    WRITERS[kind](draft, net, spec, calibration)

        def check(kind: str) -> str:
            if kind == "int8":
                return check_accuracy(paths[kind], outputs(drafts[kind], images, spec)[:-1], expected, labels)
            return check_logits(paths[kind], outputs(drafts[kind], images[: exports.IMAGES], spec), expected)

        # Two at a time, because each process needs one core for several seconds to start.
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(check, paths))
        lines = [f"{paths[kind]}: {result}{sizes(kind, drafts)}" for kind, result in zip(paths, results, strict=True)]
        move(drafts, paths, temporary, out)
    print("\n".join(lines))


@contextmanager
def tensorflow_errors() -> Iterator[None]:
    """A context in which TensorFlow's error for a full disk becomes the OSError that Python would raise."""
    try:
        yield
    except Exception as error:
        for code in SYSTEM_ERRORS:
            if os.strerror(code) in str(error) and not isinstance(error, OSError):
                raise OSError(code, os.strerror(code)) from error
        raise


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


@contextmanager
def quiet() -> Iterator[None]:
    """A context in which the frameworks print nothing; standard error is shown if they raise an exception that is
    a bug."""
    with stderr_held_back(), redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def outputs(path: Path, images: np.ndarray, spec: NetworkSpec) -> np.ndarray:
    """Return the logits of an exported file in a fresh process, (n + 1, classes): of all images, then of the first alone.

    Raises:
        UserError: the process can't load the file.
    """
    # On the CPU, because this process may have reserved the memory of the accelerator.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    if path.suffix != ".h5":
        return exports.outputs_in_fresh_process(READER, path, images, environment=environment)
    with tempfile.TemporaryDirectory() as temporary:
        network = Path(temporary, "network.safetensors")
        placeholders = {name: np.zeros(shape, np.float32) for name, shape in spec.shapes().items()}
        weights.write(network, placeholders, spec.metadata())
        return exports.outputs_in_fresh_process(READER, path, images, network, environment=environment)


def check_logits(path: Path, outputs: np.ndarray, expected: np.ndarray) -> str:
    """Compare the logits of an exported file, (n + 1, classes), with those of the network, and describe the difference.

    Raises:
        UserError: they differ by more than `exports.LIMIT`.
    """
    count = len(outputs) - 1
    difference = exports.check_outputs(path, outputs, expected[:count])
    return f"outputs differ from the network's by at most {difference:.1e} over {count:,} images"


def check_accuracy(path: Path, outputs: np.ndarray, expected: np.ndarray, labels: np.ndarray | None) -> str:
    """Compare the accuracy of an exported file with that of the network, and describe it.

    Args:
        path: the exported file, for the message.
        outputs: its logits, (n, classes).
        expected: the logits of the network, (n, classes).
        labels: the labels, (n,); None compares the predictions with those of the network.

    Raises:
        UserError: the file loses more than `MAX_LOSS` (or, without labels, `MAX_CHANGED`), and more than one image.
    """
    targets, count = expected.argmax(-1) if labels is None else labels, len(expected)
    correct, network = (int((logits.argmax(-1) == targets).sum()) for logits in (outputs, expected))
    if labels is None:
        result, limit = f"{correct / count:.2%} of {count:,} images classified as by the network", MAX_CHANGED
    else:
        result, limit = f"accuracy {correct / count:.2%} on {count:,} images (network: {network / count:.2%})", MAX_LOSS
    result = result.replace("%", " %")
    if network - correct > max(1, limit * count):
        raise UserError(f"{path}: {result}; expected at most {100 * limit:g} % less, so nothing was written")
    return result


def sizes(kind: str, drafts: dict[str, Path]) -> str:
    """Return the end of the line about a file: its size, and for int8 also the size of the float32 file."""

    def kilobytes(path: Path) -> str:
        return f"{sum(p.stat().st_size for p in (path, *path.rglob('*')) if p.is_file()) / 1000:,.1f} kB"

    size = f", {kilobytes(drafts[kind])}"
    if kind == "int8" and "litert" in drafts:
        return f"{size} (float32: {kilobytes(drafts['litert'])})"
    return size


def move(drafts: dict[str, Path], paths: dict[str, Path], temporary: Path, out: Path) -> None:
    """Rename the drafts, which are in the folder `temporary`, into place, and add them to the manifest of `out`."""
    manifest.add(out, [f.relative_to(temporary).as_posix() for f in temporary.rglob("*") if f.is_file()])
    for kind, path in paths.items():
        if path.is_dir():  # a folder can't be replaced in one step, as a file can
            path.rename(temporary / f"earlier-{path.name}")
        drafts[kind].replace(path)
