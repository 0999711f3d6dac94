"""What the tests share: small data sets, the command called in process, and runs made once and looked at often."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# Found here however pytest was told to import tests.
sys.path.insert(0, str(Path(__file__).parent))

# First of all, since it names the backend.
import keras_model  # noqa: F401

# isort: split
from keras_helpers import Command, Result, flags, pictures

from keras_model import cli
from minigrad import train
from minigrad.runs import run_command


def _saved(factory: pytest.TempPathFactory, name: str, arrays: dict[str, np.ndarray]) -> str:
    path = factory.mktemp(name) / f"{name}.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture(scope="session")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pictures of 12 x 12 uint8 pixels, 10 classes: 1,600 to train, 400 to test."""
    return _saved(tmp_path_factory, "pixels", pictures(2, 2000))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Call `python -m keras_model` in process."""

    def call(*argv: str) -> Result:
        capsys.readouterr()
        status = run_command(cli.PROG, cli.main, argv)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """Call the command, which must say no in one line and nothing else; returns that line."""

    def call(*argv: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning would be a second line
            warnings.simplefilter("ignore", DeprecationWarning)  # which Python shows to no user; Keras has one
            result = command(*argv)
        assert result.status == 2
        lines = result.err.splitlines()
        assert len(lines) == 1, result.err
        return lines[0].removeprefix(f"{cli.PROG}: error: ")

    return call


# Runs made once.

OVERFIT = ("--model.hidden", "[64]", "--model.learning_rate", "0.3", "--trainer.max_epochs", "40")
PATIENT = ("--early_stopping.patience", "5", "--model.schedule", "reduce_on_plateau")


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
    """That run, never interrupted."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    cli.main([*stopped_words, "--out", str(out)])
    return out


@pytest.fixture(scope="session")
def minigrad_run(pixels: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network trained by minigrad."""
    out = tmp_path_factory.mktemp("minigrad") / "out"
    train.main(flags(pixels, out))
    return out
