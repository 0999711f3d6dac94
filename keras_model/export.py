"""`export`: a trained network in the formats of deployment, each read in a fresh process before it is there."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import keras
import numpy as np

from minigrad.runs import UserError, exports, folder, manifest, weights

from .exported import predicting
from .formats import SUFFIXES, WRITERS, possible
from .quiet import one_framework, quiet_start

# Of 1: so much accuracy int8 may cost, and so many images it may answer otherwise where labels can't say which of two
# close answers is right.
LOST, UNLIKE = 0.01, 0.05


def export(
    net: keras.Model,
    described: dict[str, str],
    images: np.ndarray,
    labels: np.ndarray | None,
    out: Path,
    stem: str,
    kinds: Sequence[str] | None,
    *,
    calibration: np.ndarray,
    source: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write a trained network to `out`/`stem`.onnx and so on, all of them or none, and print a line for each.

    Each takes raw images, any number of them, and gives logits. Before it is
    there, a fresh process has read it and answered images.

    Args:
        net: what is exported, of `build_model` in float32.
        described: the metadata of a weights file, as `weights.describe` makes them.
        images: (n, ...), as the network takes them, for the check: the first `exports.IMAGES`, and all for int8.
        labels: theirs, (n,), for the accuracy of int8; without them it is held against the model's own answers.
        out: the folder.
        stem: what the files' names begin with.
        kinds: of `formats.SUFFIXES`; None takes all that this backend can write, but h5, and `source`.
        calibration: training images, of which some show int8 what values there are. Images of the test would make its
            accuracy look better than it is.
        source: the file that the network was read from.
        overwrite: replace what is there.

    Raises:
        UserError: a kind can't be written here, a file is there already, or
            what was written can't be read or answers otherwise.
    """
    paths = {kind: Path(out, stem + SUFFIXES[kind]) for kind in possible(kinds)}
    if kinds is None:
        paths = {kind: path for kind, path in paths.items() if source is None or path.resolve() != source.resolve()}
    one_framework()  # Keras looks for TensorFlow when it saves a model
    claim = folder.claim_files(out, "keras", [path.name for path in paths.values()], overwrite=overwrite)
    with claim, tempfile.TemporaryDirectory(prefix=f".{stem}-", dir=out) as place:
        drafts = {kind: Path(place, path.name) for kind, path in paths.items()}
        with quiet():
            expected = predicting(net)(images)
            for kind, draft in drafts.items():
                WRITERS[kind](draft, net, described, calibration)

        def judged(kind: str) -> str:
            if kind == "int8":
                found = answers(kind, drafts[kind], images, described)
                return accuracy(paths[kind], found[:-1], expected, labels)
            found = answers(kind, drafts[kind], images[: exports.IMAGES], described)
            return difference(paths[kind], found, expected[: exports.IMAGES])

        # Two at a time, since each takes seconds to start, on one core.
        with ThreadPoolExecutor(2) as pool:
            said = dict(zip(paths, pool.map(judged, paths), strict=True))
        sizes = {kind: f"{size(draft) / 1000:,.1f} kB" for kind, draft in drafts.items()}
        if "int8" in sizes and "litert" in sizes:
            sizes["int8"] += f" where {paths['litert'].name} has {sizes['litert']}"
        manifest.add(out, [f.relative_to(place).as_posix() for f in Path(place).rglob("*") if f.is_file()])
        for kind, path in paths.items():
            if path.is_dir():  # which can't be replaced in one step, as a file is
                path.rename(Path(place, f"earlier-{path.name}"))
            drafts[kind].replace(path)
    for kind, path in paths.items():
        print(f"{path}: {said[kind]}{';' if kind == 'int8' else ','} {sizes[kind]}")


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what the frameworks report of their work; standard error's is shown if they fail."""
    with quiet_start(), redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def answers(kind: str, path: Path, images: np.ndarray, described: dict[str, str]) -> np.ndarray:
    """What a fresh process answers from `path`, (n + 1, classes): the images together, and the first one alone.

    Raises:
        UserError: it can't read the file.
    """
    with tempfile.TemporaryDirectory() as place:
        network = Path(place, "network.safetensors")
        if kind == "h5":
            weights.write(network, {}, described)
        # On the processor: an accelerator's memory may be this process's alone.
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        more = [network] if kind == "h5" else []
        return exports.outputs_in_fresh_process("keras_model.exported", path, images, *more, environment=environment)


def difference(path: Path, found: np.ndarray, expected: np.ndarray) -> str:
    """How far a file's answers are from the model's, in words; the first image is answered once more at the end.

    Raises:
        UserError: further than `LIMIT`.
    """
    far = exports.check_outputs(path, found, expected)
    return f"differs from the model by at most {far:.1e} over {len(expected):,} images"


def accuracy(path: Path, found: np.ndarray, expected: np.ndarray, labels: np.ndarray | None) -> str:
    """How many of a file's answers are right, and of the model's, in words; without labels, how many are as the model's.

    Raises:
        UserError: the file loses more than `LOST` or `UNLIKE`, and more than one image.
    """
    right, count = expected.argmax(-1) if labels is None else labels, len(expected)
    theirs, ours = (int((logits.argmax(-1) == right).sum()) for logits in (found, expected))
    said, limit = f"{percent(theirs / count)} right of {count:,} where the model has {percent(ours / count)}", LOST
    if labels is None:
        said, limit = f"{percent(theirs / count)} of {count:,} answered as by the model", UNLIKE
    if ours - theirs > max(1, limit * count):
        raise UserError(f"{path}: {said}; expected at most {100 * limit:g} % less, so nothing was written")
    return said


def percent(part: float) -> str:
    """0.9258 as 92.58 %."""
    return f"{100 * part:.2f} %"


def size(path: Path) -> int:
    """Bytes, of a file or of all in a folder."""
    return sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
