"""Fixtures: small data sets, the command called in this process, and runs that many tests read."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

# So that helpers can be imported with any import mode of pytest.
sys.path.insert(0, str(Path(__file__).parent))

# First, because it sets the default backend.
import keras_model  # noqa: F401

if os.environ["KERAS_BACKEND"] == "jax":
    # Without a cache, most of the time would be spent on compiling the same networks again. JAX reads this at import.
    COMPILED = tempfile.TemporaryDirectory()
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": COMPILED.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }

# isort: split
import keras
from keras_helpers import BACKEND, OVERFIT, PATIENT, Command, Result, complaints, flags, moments
from keras_helpers import pictures as patterns

from keras_model import cli
from keras_model.startup import use_one_framework
from minigrad import train
from minigrad.runs import calibration, curves, pictures, run_command

use_one_framework()  # for tests that don't call the command


def _saved(factory: pytest.TempPathFactory, name: str, arrays: dict[str, np.ndarray]) -> str:
    path = factory.mktemp(name) / f"{name}.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture(scope="session")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images of 12 x 12 uint8 pixels, 10 classes: 1,600 training and 400 test images."""
    return _saved(tmp_path_factory, "pixels", patterns(2, 2000))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Call `python -m keras_model` in this process."""

    def call(*argv: str) -> Result:
        capsys.readouterr()
        status = run_command(cli.PROG, cli.main, argv)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without pictures, which would take most of the time of a small run."""
    monkeypatch.setattr(calibration, "draw", lambda *_: None)
    monkeypatch.setattr(curves, "draw", lambda *_: None)
    monkeypatch.setattr(pictures, "draw", lambda *_: None)


@pytest.fixture
def _float64() -> Iterator[None]:
    """Keras in double precision."""
    before, policy = keras.config.floatx(), keras.config.dtype_policy()  # the policy is fixed at the first layer
    # Only here, so that all other tests use JAX as a user does.
    _jax_enable_x64(True)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(policy)
    _jax_enable_x64(False)


def _jax_enable_x64(wanted: bool) -> None:
    if BACKEND == "jax":
        import jax

        jax.config.update("jax_enable_x64", wanted)


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """Call the command, which must print one line, an error, and exit with status 2; return the line."""

    def call(*argv: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning would be a second line
            warnings.simplefilter("ignore", DeprecationWarning)  # Python hides those; Keras raises one
            result = command(*argv)
        assert result.status == 2
        lines = complaints(result.err)
        assert len(lines) == 1, result.err
        return lines[0].removeprefix(f"{cli.PROG}: error: ")

    return call


# Runs that many tests read.


@pytest.fixture(scope="session")
def simple_run(pixels: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe simple on the images, with TensorBoard."""
    out = tmp_path_factory.mktemp("simple") / "out"
    cli.main(["fit", "--config", "simple", *flags(pixels, out, "--tensorboard", "--data.batch_size", "50")])
    return out


@pytest.fixture(scope="session")
def stopped_words(hard: str) -> list[str]:
    """Arguments of a run that overfits, lowers its rate and stops early; without --out."""
    return ["fit", *flags(hard, "")[:-2], *OVERFIT, *PATIENT]


@pytest.fixture(scope="session")
def stopped_run(stopped_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, never interrupted, beside copies of its folder at many moments."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    with moments(out):
        cli.main([*stopped_words, "--out", str(out)])
    return out


@pytest.fixture(scope="session")
def minigrad_run(pixels: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network trained by minigrad."""
    out = tmp_path_factory.mktemp("minigrad") / "out"
    train.main(flags(pixels, out))
    return out
