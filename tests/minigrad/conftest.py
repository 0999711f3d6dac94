"""What the tests share: a data set that is learnt in a blink, and the command called in process."""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from minigrad import train
from minigrad.runs import calibration, curves, run_command
from minigrad.study import __main__ as study
from minigrad.study.exercises.catalog import DATA, EXERCISES

# Found here however pytest was told to import tests.
sys.path.insert(0, str(Path(__file__).parent))

from minigrad_helpers import Command, Result, complaints


@pytest.fixture
def drawn() -> None:
    """For a test in a module that uses `undrawn`, if the test needs the pictures."""


@pytest.fixture
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not draw curves.png and reliability.png, because that takes longer than a small training run."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(calibration, "draw", lambda *_: None)
        monkeypatch.setattr(curves, "draw", lambda *_: None)


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
        lines = complaints(result.err)
        assert len(lines) == 1, result.err
        return lines[0].removeprefix(f"{train.PROG}: error: ")

    return call


@pytest.fixture
def run_study(capsys: pytest.CaptureFixture[str]) -> Command:
    """Call `python -m minigrad.study` in process; the checks still have processes of their own."""

    def call(*argv: str) -> Result:
        capsys.readouterr()
        try:
            status = run_command("study", study.main, argv)
        except SystemExit as end:
            status = int(end.code or 0)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def solved(tmp_path: Path) -> Path:
    """A folder with the solutions of all exercises."""
    path = tmp_path / "solutions"
    path.mkdir()
    for exercise in EXERCISES:
        shutil.copy(DATA / "solutions" / exercise.file, path)
    return path
