"""Export of a trained network in the formats of deployment, each checked in a fresh process."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import keras
import numpy as np

from minigrad.runs import NetworkSpec, exports, weights
from minigrad.runs.errors import SYSTEM_ERRORS
from minigrad.runs.exports import Examples
from minigrad.runs.formats import Cell

from ..precision import dtype_policy
from ..startup import stderr_held_back, use_one_framework
from .formats import WRITERS, Job
from .reader import predictor

READER = "keras_model.export.reader"


def export(
    net: keras.Model,
    spec: NetworkSpec,
    examples: Examples,
    out: Path,
    stem: str,
    files: Sequence[Cell],
    *,
    overwrite: bool = False,
) -> None:
    """Write a trained network to `out`/`stem`.onnx and so on, all files or none, and print one line per file.

    An exported file maps any number of raw images to logits. Before it is
    renamed into place, its logits in a fresh process are compared with those of
    the network.

    Args:
        net: a network that `build_model` built, in float32.
        spec: the specification of the network.
        examples: the images for the check.
        out: the folder.
        stem: the beginning of the file names.
        files: the files, as `choice.choose` returns them.
        overwrite: replace existing files. Default False.

    Raises:
        UserError: a file exists, or an exported file can't be read or its outputs differ.
    """
    use_one_framework()  # Keras tries to import TensorFlow when it saves a model

    def writer(cell: Cell, draft: Path) -> None:
        with quiet(), tensorflow_errors(), dtype_policy("float32"):
            WRITERS[cell.kind](draft, Job(net, spec, cell.precision, examples.calibration))

    exports.write(
        out,
        stem,
        files,
        examples,
        package="keras",
        predict=predictor(net),
        writer=writer,
        outputs=lambda path, images: outputs(path, images, spec),
        overwrite=overwrite,
    )


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
