"""A disk that is full, a folder that is gone, and an output that nobody reads: one sentence, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from minigrad_helpers import Command, flags, save_network
from shared import files_of, largest_file

import minigrad
from minigrad import __main__ as program
from minigrad import checkpoint, train
from minigrad.runs import UnwritableError, UserError, errors, folder, manifest, whole_file, writing

WRITTEN = [manifest.NAME, folder.RECIPE, folder.HISTORY, folder.WEIGHTS, checkpoint.NAME, folder.CURVES]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(minigrad.__file__).parents[1])}


def brief(easy: str, out: str | Path) -> list[str]:
    """A run that only tests its network, and so needs no matplotlib."""
    return flags(easy, out, "--trainer.max_epochs", "0")


def process(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "minigrad", *argv]
    options = {
        "env": ENVIRONMENT,
        "stderr": subprocess.PIPE,
        "text": True,
        "encoding": "utf-8",
        "check": False,
    } | options
    return subprocess.run(command, **options)


@pytest.fixture(scope="module")
def whole(easy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert errors.run_command(train.PROG, train.main, flags(easy, out)) == 0
    return out


@pytest.mark.parametrize("name", WRITTEN)
def test_a_full_disk_keeps_the_run_which_resumes_exactly(
    name: str, easy: str, whole: Path, refused: Callable[..., str], command: Command
) -> None:
    with largest_file((whole / name).stat().st_size - 1):
        text = refused(*flags(easy, "run"))
    assert ": can't be written (File too large); expected a folder that can be written" in text
    assert files_of(Path("run")) < files_of(whole)  # no drafts
    started = folder.holds_run(Path("run"))
    assert ("--out run --resume continues" in text) == started
    assert command(*flags(easy, "run", *(["--resume"] if started else []))).status == 0
    assert files_of(Path("run")) == files_of(whole)
    for same in (folder.WEIGHTS, checkpoint.NAME, folder.METRICS, folder.RECIPE):
        assert (Path("run") / same).read_bytes() == (whole / same).read_bytes()


def test_a_full_disk_does_not_cost_the_run_that_is_replaced(
    easy: str, whole: Path, refused: Callable[..., str]
) -> None:
    shutil.copytree(whole, "run")
    (Path("run") / manifest.NAME).write_text('{"files": ["recipe.yaml", "weights.safetensors"]}')
    for name in files_of(Path("run")) - {manifest.NAME, folder.RECIPE, folder.WEIGHTS}:
        (Path("run") / name).unlink()
    with largest_file(60):
        text = refused(*flags(easy, "run", "--overwrite"))
    assert "can't be written" in text
    assert (Path("run") / folder.WEIGHTS).read_bytes() == (whole / folder.WEIGHTS).read_bytes()


@pytest.mark.parametrize("replacement", [None, "file"])
def test_a_folder_that_is_removed_during_training_is_named(
    replacement: str | None, easy: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(path: Path, *_: Any) -> None:
        shutil.rmtree(path.parent)
        if replacement:
            path.parent.touch()

    monkeypatch.setattr(checkpoint, "save", save)
    text = refused(*flags(easy, "run"))
    assert "run/history.csv: can't be written (" in text
    assert "--resume" not in text


def test_a_read_only_folder_in_the_middle_of_a_write_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft can't be removed either."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    with (
        pytest.raises(UnwritableError, match=r"a\.txt: can't be written"),
        whole_file(tmp_path / "a.txt"),
    ):
        pass


def test_an_error_without_a_number_is_described(tmp_path: Path) -> None:
    """NumPy raises such errors."""
    with (
        pytest.raises(UserError, match="8 requested and 0 written"),
        writing(tmp_path / "a.npy"),
    ):
        raise OSError("8 requested and 0 written")


def test_other_commands_say_the_same(capsys: pytest.CaptureFixture[str], easy: str) -> None:
    save_network(Path("w.safetensors"), (6,), 3, 1.0)
    for argv in (
        ["predict", "--model.weights", "w.safetensors", "--data.path", easy, "--out", "p"],
        ["export", "--model.weights", "w.safetensors", "--data.path", easy, "--out", "w.onnx"],
    ):
        with largest_file(100):
            assert program.command(argv) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert "can't be written (File too large)" in lines[0]
    assert files_of(Path()) == {"w.safetensors", "p/.files.json"}


@pytest.mark.parametrize("code", ["ENOSPC", "EACCES", "ENOENT"])
def test_an_error_of_the_system_that_nobody_expected_is_one_sentence(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import errno

    number = getattr(errno, code)

    def main(_: Any) -> None:
        raise OSError(number, os.strerror(number), "some/file")

    assert errors.run_command("prog", main, []) == 2
    assert capsys.readouterr().err == f"prog: error: some/file: {os.strerror(number)}\n"


# Standard output and standard error.


def test_a_reader_that_has_left_does_not_end_a_training(easy: str) -> None:
    read, write = os.pipe()
    os.close(read)
    result = process("train", *brief(easy, "run"), stdout=write)
    os.close(write)
    assert (result.returncode, "Traceback" in result.stderr, "error" in result.stderr) == (0, False, False)
    assert folder.is_finished(Path("run"))


def test_a_full_standard_output_is_reported_after_the_work(easy: str) -> None:
    with Path("/dev/full").open("w") as full:
        result = process("train", *brief(easy, "run"), stdout=full)
        assert result.returncode == 2
        (line,) = [line for line in result.stderr.splitlines() if "warning" not in line]
        assert "standard output: can't be written (No space left on device)" in line
        assert folder.is_finished(Path("run"))
        result = process("--version", stdout=full, stderr=full)
        assert result.returncode == 2


def test_a_terminal_without_unicode_does_not_end_a_training(easy: str) -> None:
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    result = process("train", *brief(easy, "日本"), env=environment, stdout=subprocess.PIPE)
    assert result.returncode == 0, result.stderr
    assert r"in \u65e5\u672c" in result.stdout


def test_closed_streams_and_a_removed_current_folder(easy: str) -> None:
    out = Path("run").absolute()
    shell = f"exec {sys.executable} -m minigrad train {' '.join(brief(easy, out))} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], env=ENVIRONMENT, check=False).returncode == 0
    assert folder.is_finished(out)
    shell = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m minigrad plot {out}"
    result = subprocess.run(["sh", "-c", shell], env=ENVIRONMENT, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr.splitlines()) == (
        2,
        ["python -m minigrad plot: error: the current folder no longer exists; expected a folder that exists, see cd"],
    )
