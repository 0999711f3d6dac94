"""What the tests share: small data sets, the command called in process, and runs made once and looked at often."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

# Found here however pytest was told to import tests.
sys.path.insert(0, str(Path(__file__).parent))

# First of all, since it names the backend.
import keras_model  # noqa: F401

if os.environ["KERAS_BACKEND"] == "jax":
    # Most of the time would go into compiling the same few networks again; read when JAX is imported.
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
from keras_model.startup import one_framework
from minigrad import train
from minigrad.runs import curves, pictures, run_command

one_framework()  # for the tests that don't go through the command


def _saved(factory: pytest.TempPathFactory, name: str, arrays: dict[str, np.ndarray]) -> str:
    path = factory.mktemp(name) / f"{name}.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture(scope="session")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pictures of 12 x 12 uint8 pixels, 10 classes: 1,600 to train, 400 to test."""
    return _saved(tmp_path_factory, "pixels", patterns(2, 2000))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Call `python -m keras_model` in process."""

    def call(*argv: str) -> Result:
        capsys.readouterr()
        status = run_command(cli.PROG, cli.main, argv)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without their pictures, which take most of the time of one so small."""
    monkeypatch.setattr(curves, "draw", lambda *_: None)
    monkeypatch.setattr(pictures, "draw", lambda *_: None)


@pytest.fixture
def _float64() -> Iterator[None]:
    """Keras in double precision, and back."""
    before, policy = keras.config.floatx(), keras.config.dtype_policy()  # the layers' own, fixed at the first layer
    # Here alone, so that all other tests see JAX as a user does.
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
    """Call the command, which must say no in one line and nothing else; returns that line."""

    def call(*argv: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning would be a second line
            warnings.simplefilter("ignore", DeprecationWarning)  # which Python shows to no user; Keras has one
            result = command(*argv)
        assert result.status == 2
        lines = complaints(result.err)
        assert len(lines) == 1, result.err
        return lines[0].removeprefix(f"{cli.PROG}: error: ")

    return call


# Runs made once.


@pytest.fixture(scope="session")
def simple_run(pixels: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe simple on the pictures, with TensorBoard."""
    out = tmp_path_factory.mktemp("simple") / "out"
    cli.main(["fit", "--config", "simple", *flags(pixels, out, "--tensorboard", "--data.batch_size", "50")])
    return out


@pytest.fixture(scope="session")
def stopped_words(hard: str) -> list[str]:
    """A run that overfits, lowers its rate and stops early; the folder is added by who uses it."""
    return ["fit", *flags(hard, "")[:-2], *OVERFIT, *PATIENT]


@pytest.fixture(scope="session")
def stopped_run(stopped_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, never interrupted; beside it what SIGKILL would have left at many a moment."""
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
