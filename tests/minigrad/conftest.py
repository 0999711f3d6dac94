"""What the tests share: a data set that is learnt in a blink, and the command called in process."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from minigrad import train
from minigrad.runs import run_command

# Found here however pytest was told to import tests.
sys.path.insert(0, str(Path(__file__).parent))

from minigrad_helpers import Command, Result, clouds

# Timings vary between machines and say nothing about correctness.
settings.register_profile("minigrad", deadline=None, derandomize=True)
settings.load_profile("minigrad")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to the user's cache or into the repository."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def easy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clouds far apart: 160 vectors to train, 40 to test."""
    path = tmp_path_factory.mktemp("easy") / "easy.npz"
    np.savez(path, **clouds(0, 200, 0.5))
    return str(path)


@pytest.fixture(scope="session")
def hard(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clouds on top of each other, which a large network soon learns by heart."""
    path = tmp_path_factory.mktemp("hard") / "hard.npz"
    np.savez(path, **clouds(1, 150, 4.0))
    return str(path)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Call `python -m minigrad.train` in process."""

    def call(*argv: str) -> Result:
        capsys.readouterr()
        status = run_command(train.PROG, train.main, argv)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """Call the command, which must say no in one line and nothing else; returns that line."""

    def call(*argv: str) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning would be a second line
            result = command(*argv)
        assert result.status == 2
        lines = result.err.splitlines()
        assert len(lines) == 1, result.err
        return lines[0].removeprefix(f"{train.PROG}: error: ")

    return call
