"""What must not disturb the check of an exercise: programs that go wrong, files that change, and other checks."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from minigrad_helpers import Command

from minigrad.runs.errors import UserError
from minigrad.study.exercises import commands, folder, runner, worker
from minigrad.study.exercises.catalog import EXERCISES, find
from minigrad.study.exercises.checks import CHECKS
from minigrad.study.exercises.folder import Folder
from minigrad.study.exercises.outcome import Outcome


def examine(path: Path, text: str) -> Outcome:
    path.write_text(text)
    return worker.examine(path, CHECKS[path.stem])


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check without a process of its own, which is faster."""
    monkeypatch.setattr(runner, "run", lambda exercise, file, show: (worker.examine(file, CHECKS[file.stem]), 0.1))


# The program.


@pytest.mark.slow
def test_constant_output_does_not_extend_the_time_limit(solved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = solved / "03_square.py"
    path.write_text(
        "import os\nwhile True:\n    try:\n        while True:\n            os.write(1, b'again\\n' * 50_000)\n"
        "    except BaseException:\n        pass\n"
    )
    monkeypatch.setattr(runner, "GRACE", 1)
    lines: list[str] = []
    outcome, seconds = runner.run(find("3"), path, lines.append, seconds=1)
    assert "so the check was ended" in outcome.message
    assert seconds < 1 + runner.GRACE + 2  # the start of the process, and its end
    assert lines[-1].endswith("more lines")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only on Linux")
def test_no_process_of_the_program_survives_the_check(solved: Path) -> None:
    path = solved / "03_square.py"
    child = "import subprocess, sys\ncommand = [sys.executable, '-S', '-c', 'import time; time.sleep(60)']\n"
    child += "print(subprocess.Popen(command, start_new_session=True, stdout=-3, stderr=-3).pid)\n"
    path.write_text(child + path.read_text())
    lines: list[str] = []
    outcome, _ = runner.run(find("3"), path, lines.append)
    assert outcome.solved
    end = time.monotonic() + 5
    while is_running(int(lines[0])) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_running(int(lines[0]))


def is_running(process: int) -> bool:
    """Return whether a process exists and has not ended; one that ended may wait for its new parent."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_very_long_message_keeps_the_report(solved: Path) -> None:
    outcome = examine(solved / "03_square.py", "raise ValueError('x' * 2_000_000)\n")
    report = outcome.to_json()
    assert len(report) < runner.MOST_BYTES / 10
    received = Outcome.from_json(report)
    assert received is not None
    assert received.message.startswith("ValueError: xxx")
    assert received.trace[0][0] == "03_square.py"


def test_an_exception_that_cannot_be_described_is_named(solved: Path) -> None:
    text = "class Strange(Exception):\n    def __str__(self):\n        return 1 / 0\n\nraise Strange\n"
    assert examine(solved / "03_square.py", text).message == "Strange."


def test_a_syntax_error_without_a_line_has_none_in_its_message(solved: Path) -> None:
    outcome = examine(solved / "03_square.py", "raise SyntaxError('no line')\n")
    assert outcome.message == "03_square.py: SyntaxError: no line."


# The files.


def test_an_exercise_may_be_a_link(solved: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, target in (("03_square.py", "square.py"), ("11_xor.py", "network.py")):
        shutil.move(solved / name, elsewhere / target)
        (solved / name).symlink_to(elsewhere / target)
    outcome, _ = runner.run(find("3"), solved / "03_square.py", print)
    assert outcome.solved, outcome
    module = worker.load(solved / "11_xor.py")  # it imports exercises of its folder
    assert module.__file__ == str(solved / "11_xor.py")


def test_an_exercise_is_checked_again_if_a_module_that_it_imports_has_changed(solved: Path) -> None:
    exercises, square, slope = Folder(solved), find("3"), find("1")
    (solved / "helper.py").write_text("from deeper import factor\n")
    (solved / "deeper.py").write_text("factor = 2\n")
    (solved / "other.py").write_text("x = 1\n")
    (solved / square.file).write_text(f"import helper\n{square.solution}")
    for exercise in (square, slope):
        exercises.record(exercise, exercises.digest(exercise))
    (solved / "other.py").write_text("x = 2\n")
    assert exercises.is_solved(square)
    (solved / "deeper.py").write_text("factor = 3\n")
    assert not exercises.is_solved(square)
    assert exercises.is_solved(slope)


def test_a_file_that_cannot_be_read_is_not_solved(run_study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study("start")
    exercises, slope = folder.read(Path("exercises")), find("1")
    exercises.record(slope, exercises.digest(slope))
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == slope.file:
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert run_study("hint", "2").status == 0
    assert "Exercise 1 of 15" in run_study("hint").out
    result = run_study("check")
    assert result.status == 2
    assert "01_slope.py: can't be read (Permission denied); expected a file that you may read" in result.err


# The folder and its record.


def test_two_checks_at_once_record_both_exercises(run_study: Command) -> None:
    run_study("start")
    checks = [folder.read(Path("exercises")) for _ in range(2)]
    for exercises, name in zip(checks, ("1", "2"), strict=True):
        exercises.record(find(name), exercises.digest(find(name)))
    assert list(folder.read(Path("exercises")).solved) == ["01_slope", "02_predict"]


def test_the_outcome_is_printed_even_if_it_cannot_be_recorded(
    run_study: Command, solved: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    run_study("start")
    shutil.copy(solved / "01_slope.py", "exercises")

    def refuse(*_: object) -> None:
        raise UserError("no space left")

    monkeypatch.setattr(Folder, "record", refuse)
    result = run_study("check", "1")
    assert result.status == 2
    assert "01_slope           solved" in result.out
    assert "no space left" in result.err


def test_start_restores_a_marker_file_that_was_lost(run_study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study("start")
    Path("exercises/01_slope.py").write_text("mine")
    for current, path in ((".", "exercises"), ("exercises", ".")):
        marker = Path("exercises", folder.MARKER).absolute()
        marker.unlink()
        with monkeypatch.context() as patch:
            patch.chdir(current)
            result = run_study("check")
            assert result.status == 2
            assert f"python -m minigrad.study start {Path(path).absolute()}" in result.err
            result = run_study("start")
        assert result.status == 0
        assert "has the exercises already" in result.out
        assert json.loads(marker.read_text())["solved"] == {}
    assert Path("exercises/01_slope.py").read_text() == "mine"
    assert not Path("exercises/exercises").exists()


def test_start_below_the_folder_creates_no_other(run_study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study("start")
    Path("exercises/notes").mkdir()
    monkeypatch.chdir("exercises/notes")
    result = run_study("start")
    assert result.out.startswith("../ has the exercises already.")
    assert list(Path().iterdir()) == []


def test_start_says_how_to_go_to_the_folder(run_study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cd " not in run_study("start").out
    assert "\n  cd 'my work'\n" in run_study("start", "my work").out
    monkeypatch.chdir("my work")
    for arguments in ((), (".",)):
        result = run_study("start", *arguments)
        assert "None is missing" in result.out
        assert "cd " not in result.out


def test_control_characters_of_a_name_are_escaped(run_study: Command) -> None:
    out = run_study("start", "red\x1b[31m").out
    assert "15 exercises are in red\\x1b[31m/." in out
    assert "\x1b" not in out


def test_a_missing_library_does_not_end_a_check_of_all(
    run_study: Command, solved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands.importlib.util, "find_spec", lambda name: None)
    run_study("start")
    exercises = folder.read(Path("exercises"))
    for exercise in EXERCISES:
        shutil.copy(solved / exercise.file, "exercises")
    for exercise in EXERCISES[:13]:
        exercises.record(exercise, exercises.digest(exercise))
    result = run_study("check")
    assert result.status == 1
    assert "14_torch           not checked: needs torch, which is not installed" in result.out
    assert "15_keras           not checked: needs keras" in result.out
    assert "13 of 15 solved" in result.out
    result = run_study("next")
    assert result.status == 0
    assert "expected pip install '.[lightning]' first" in result.out
    assert "13 of 15 solved" in result.out
