"""The exercises: solutions pass, stubs and planted mistakes fail with the right hint, and no work is lost."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minigrad.study import __main__ as study
from minigrad.study.exercises import commands, folder, runner, worker
from minigrad.study.exercises.catalog import DATA, EXERCISES, Exercise, find
from minigrad.study.exercises.checks import CHECKS
from minigrad.study.exercises.outcome import Outcome

sys.path.insert(0, str(Path(__file__).parent))

from minigrad_helpers import Command
from study_mistakes import PLANTED

TRAINED = ("11_xor", "12_digits", "13_mnist")


def in_process(path: Path) -> Outcome:
    return worker.examine(path, CHECKS[path.stem])


# The exercises themselves.


def test_there_are_15_exercises_each_with_a_stub_a_solution_and_a_hint() -> None:
    assert [exercise.number for exercise in EXERCISES] == list(range(1, 16))
    for kind, suffix in (("stubs", ".py"), ("solutions", ".py"), ("hints", ".txt")):
        assert {path.stem for path in (DATA / kind).glob(f"*{suffix}")} == {exercise.name for exercise in EXERCISES}
    for exercise in EXERCISES:
        assert all(EXERCISES.index(find(name)) < EXERCISES.index(exercise) for name in exercise.needs)
        guide = Path(__file__).parents[2] / "docs/study"
        assert (guide / f"{exercise.chapter}.md").is_file()
        chapters = [page.name for page in guide.glob("*.md") if f"study check {exercise.name}\n" in page.read_text()]
        assert len(chapters) == 1, exercise.name


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_the_solution_is_the_stub_completed(exercise: Exercise) -> None:
    stub, solution = ast.parse(exercise.stub), ast.parse(exercise.solution)
    documented = (ast.FunctionDef, ast.ClassDef, ast.Module)

    def texts(tree: ast.Module) -> list[tuple[str, str | None]]:
        nodes = (node for node in ast.walk(tree) if isinstance(node, documented))
        return [(getattr(n, "name", ""), ast.get_docstring(n)) for n in nodes if ast.get_docstring(n)]

    assert texts(stub) == texts(solution)
    assert "NotImplementedError" in exercise.stub or "= ..." in exercise.stub
    assert all(len(line) <= 120 for line in exercise.stub.split("\n"))


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in TRAINED])
def test_the_solution_passes(name: str) -> None:
    outcome = in_process(DATA / "solutions" / f"{name}.py")
    assert outcome.solved, outcome


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_the_networks_are_trained_well_enough(name: str) -> None:
    outcome = in_process(DATA / "solutions" / f"{name}.py")
    assert outcome.solved, outcome
    assert outcome.message


@pytest.mark.parametrize("name", CHECKS)
def test_the_stub_fails_and_says_what_is_missing(name: str, solved: Path) -> None:
    shutil.copy(DATA / "stubs" / f"{name}.py", solved)
    outcome = in_process(solved / f"{name}.py")
    assert not outcome.solved
    assert "is not filled in yet" in outcome.message or "is not written yet" in outcome.message


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "old", "new", "hint"), PLANTED)
def test_a_mistake_gets_its_hint(name: str, old: str, new: str, hint: str, solved: Path) -> None:
    path = solved / f"{name}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    outcome = in_process(path)
    assert not outcome.solved
    assert hint in f"{outcome.message} {outcome.hint}"
    assert outcome.hint


def test_each_exercise_has_two_planted_mistakes() -> None:
    names = [name for name, *_ in PLANTED]
    assert all(names.count(name) >= 2 for name in CHECKS)


def test_a_failure_shows_position_actual_and_expected_value(solved: Path) -> None:
    path = solved / "03_square.py"
    path.write_text("def square(x):\n    return x * x, lambda g: g * 2 * abs(x)\n")
    outcome = in_process(path)
    assert outcome.message.startswith("pullback(g) is ")
    assert " at [" in outcome.message
    assert "; expected " in outcome.message
    assert [name for name, _ in outcome.values] == ["g", "x", "yours", "expected"]


# What a learner's file may do.


def test_an_exception_shows_only_lines_of_the_learner(solved: Path) -> None:
    path = solved / "03_square.py"
    path.write_text("def square(x):\n    return x * x, half\n\n\ndef half(g):\n    return g / nothing\n")
    outcome = in_process(path)
    assert outcome.message == "NameError: name 'nothing' is not defined."
    assert outcome.trace == [("03_square.py", 6, "half", "return g / nothing")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def square(x)\n    return x\n", "03_square.py, line 1: SyntaxError: expected ':'."),
        ("def square(x):\nreturn x\n", "03_square.py, line 2: IndentationError: expected an indented block"),
        ("x = 1\n", "The file does not define 'square'."),
        ("raise SystemExit(3)\n", "SystemExit: 3."),
        ("import nowhere\n", "ModuleNotFoundError: No module named 'nowhere'."),
        ("def square():\n    pass\n", "TypeError: square() takes 0 positional arguments but 1 was given."),
        ("def square(x):\n    return x * x, lambda g: None\n", "pullback(g) is None; expected an array."),
        ("def square(x):\n    return x.sum(), lambda g: g\n", "has the shape (); expected (3,)."),
        ("\0", "SyntaxError: source code"),
        ("# -*- coding: nothing -*-\n", "SyntaxError: "),
    ],
)
def test_other_errors_are_one_sentence(text: str, message: str, solved: Path) -> None:
    path = solved / "03_square.py"
    path.write_text(text)
    outcome = in_process(path)
    assert not outcome.solved
    assert message in outcome.message


def test_an_endless_loop_ends_with_its_line(solved: Path) -> None:
    path = solved / "03_square.py"
    path.write_text("def square(x):\n    print('here')\n    while True:\n        x = x + 1\n")
    lines: list[str] = []
    outcome, seconds = runner.run(find("3"), path, lines.append, seconds=1)
    assert lines == ["here"]
    assert outcome.message == "The time limit of 1 seconds is exceeded."
    assert outcome.trace[-1][0] == "03_square.py"
    assert outcome.trace[-1][2] == "square"
    assert seconds < 1 + runner.GRACE


@pytest.mark.slow
def test_a_program_that_cannot_be_interrupted_is_killed(solved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = solved / "03_square.py"
    path.write_text(
        "import time\n\ndef square(x):\n    while True:\n        try:\n            time.sleep(60)\n"
        "        except BaseException:\n            pass\n"
    )
    monkeypatch.setattr(runner, "GRACE", 1)
    outcome, seconds = runner.run(find("3"), path, print, seconds=1)
    assert "The time limit of 1 seconds is exceeded, so the check was ended." in outcome.message
    assert seconds < 1 + runner.GRACE + 2  # the start of the process, and its end


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os\nos._exit(7)\n", "with exit status 7."),
        ("import os\nos.abort()\n", "the system stopped it with SIGABRT."),
        (
            "import os\nfor i in range(3, 20):\n    try:\n        os.write(i, b'[1]')\n    except OSError: pass\nos._exit(0)\n",
            "The program ended before the check was complete",
        ),
        ("x = bytearray(10**11)\n", "MemoryError"),
    ],
)  # fmt: skip
def test_a_program_that_ends_early_is_not_solved(text: str, message: str, solved: Path) -> None:
    (solved / "03_square.py").write_text(text)
    outcome, _ = runner.run(find("3"), solved / "03_square.py", print)
    assert not outcome.solved
    assert message in outcome.message


@pytest.mark.slow
def test_much_output_is_cut(solved: Path) -> None:
    path = solved / "03_square.py"
    path.write_text("for i in range(1000):\n    print(f'\\033[31m{i}')\n" + path.read_text())
    lines: list[str] = []
    outcome, _ = runner.run(find("3"), path, lines.append)
    assert outcome.solved
    assert lines[0] == "\\x1b[31m0"
    assert lines[-1] == "... and 960 more lines"


# The commands.


def test_start_writes_the_exercises_and_says_what_to_do_next(run_study: Command) -> None:
    result = run_study("start")
    assert result.status == 0
    assert "15 exercises are in exercises/" in result.out
    assert "python -m minigrad.study check" in result.out
    assert all(len(line) <= 80 for line in result.out.split("\n"))
    assert "\x1b" not in result.out
    assert Path("exercises/01_slope.py").read_text() == EXERCISES[0].stub
    assert len(list(Path("exercises").glob("*.py"))) == 15


def test_start_again_adds_only_what_is_missing(run_study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study("start", "here")
    Path("here/01_slope.py").write_text("mine")
    Path("here/04_backward.py").unlink()
    result = run_study("start", "here")
    assert "here/ has the exercises already. Added: 04_backward." in result.out
    assert Path("here/01_slope.py").read_text() == "mine"
    assert Path("here/04_backward.py").read_text() == find("4").stub
    monkeypatch.chdir("here")
    assert "This folder has the exercises already. None is missing." in run_study("start").out


def test_start_refuses_a_folder_with_other_files(run_study: Command) -> None:
    Path("work").mkdir()
    Path("work/notes.txt").write_text("mine")
    result = run_study("start", "work")
    assert result.status == 2
    assert "work: the folder is not empty" in result.err
    assert [path.name for path in Path("work").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["next", "check", "hint", "solution", "reset"])
def test_other_commands_refuse_other_folders(name: str, run_study: Command) -> None:
    result = run_study(name, *(["1"] if name == "reset" else []))
    assert result.status == 2
    assert "no exercises here" in result.err
    assert len(result.err.strip().split("\n")) == 1


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"format": 2, "solved": {}}', '{"format": 1, "solved": {"01_slope": 7}}', "[" * 2000, "\udcff"],
)
def test_a_damaged_marker_file_is_named_and_can_be_written_anew(content: str, run_study: Command) -> None:
    run_study("start")
    Path("exercises/01_slope.py").write_text("mine")
    Path("exercises", folder.MARKER).write_bytes(content.encode(errors="surrogateescape"))
    result = run_study("check")
    assert result.status == 2
    assert f"{folder.MARKER}: not a valid record" in result.err
    assert run_study("start").status == 0
    assert run_study("hint").status == 0
    assert Path("exercises/01_slope.py").read_text() == "mine"


def test_the_commands_work_in_the_folder_and_below_it(run_study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study("start")
    Path("exercises/notes").mkdir()
    monkeypatch.chdir("exercises/notes")
    result = run_study("next")
    assert result.status == 0
    assert "Exercise 1 of 15: 01_slope" in result.out
    assert "../01_slope.py" in result.out


def test_check_goes_on_to_the_first_that_fails(
    run_study: Command, solved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def examine(exercise: Exercise, path: Path, show: object) -> tuple[Outcome, float]:
        calls.append(exercise.name)
        return in_process(path), 0.1

    monkeypatch.setattr(runner, "run", examine)
    run_study("start")
    for name in ("01_slope.py", "02_predict.py"):
        shutil.copy(solved / name, "exercises")
    result = run_study("check")
    assert result.status == 1
    assert calls == ["01_slope", "02_predict", "03_square"]
    assert "2 of 15 solved" in result.out
    assert "square, in 03_square.py, line 19, is not written yet." in result.out

    calls.clear()
    shutil.copy(solved / "03_square.py", "exercises")
    result = run_study("next")  # checks what has changed, and shows the next task
    assert calls == ["03_square"]
    assert "Exercise 4 of 15: 04_backward" in result.out
    assert run_study("check", "2").status == 0

    Path("exercises/01_slope.py").write_text("x = 1\n")
    result = run_study("check")  # a solution that was changed is checked again
    assert result.status == 1
    assert "01_slope" in result.out
    assert "2 of 15 solved" in result.out


def test_an_exercise_that_needs_an_unsolved_one_says_so(run_study: Command) -> None:
    run_study("start")
    result = run_study("check", "11")
    assert result.status == 1
    assert "11_xor imports your solution of 03_square, which is not solved" in " ".join(result.out.split())


def test_a_missing_library_names_the_extra(run_study: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.importlib.util, "find_spec", lambda name: None)
    run_study("start")
    for name, extra in (("14", "lightning"), ("15", "keras")):
        result = run_study("check", name)
        assert result.status == 2
        assert f"expected pip install '.[{extra}]' first" in result.err


def test_reset_keeps_every_version(run_study: Command) -> None:
    run_study("start")
    path = Path("exercises/03_square.py")
    assert "as at the start already" in run_study("reset", "3").out
    for version in ("one", "two"):
        path.write_text(version)
        result = run_study("reset", "square")
        assert result.status == 0
        assert "03_square.backup-" in result.out
        assert path.read_text() == find("3").stub
    assert Path("exercises/03_square.backup-1.py").read_text() == "one"
    assert Path("exercises/03_square.backup-2.py").read_text() == "two"
    path.unlink()
    assert "is restored" in run_study("reset", "3").out


def test_hint_and_solution_print_texts_and_change_nothing(run_study: Command) -> None:
    run_study("start")
    for exercise in EXERCISES:
        hint = run_study("hint", exercise.name)
        assert hint.status == 0
        assert all(len(line) <= 80 for line in hint.out.split("\n"))
        assert run_study("solution", exercise.name).out == exercise.solution
        assert Path("exercises", exercise.file).read_text() == exercise.stub
    assert "Exercise 1 of 15" in run_study("hint").out


@pytest.mark.parametrize("argv", [["check", "17"], ["check", "1", "2"], ["next", "1"], ["reset"], ["check", "--all"]])
def test_usage_errors_are_one_sentence(argv: list[str], run_study: Command) -> None:
    run_study("start")
    result = run_study(*argv)
    assert result.status == 2
    assert "; expected " in result.err
    assert "recipe" not in result.err
    assert len(result.err.strip().split("\n")) == 1


def test_a_similar_name_is_suggested(run_study: Command) -> None:
    run_study("start")
    assert "did you mean 07_softmax?" in run_study("hint", "07_sofmax").err


def test_one_real_check(run_study: Command, solved: Path) -> None:
    run_study("start")
    result = run_study("check")
    assert result.status == 1
    assert "slope, in 01_slope.py, line 19, is not written yet." in result.out
    shutil.copy(solved / "01_slope.py", "exercises")
    result = run_study("check", "01_slope.py")
    assert result.status == 0
    assert "1 of 15 solved" in result.out
    record = json.loads(Path("exercises", folder.MARKER).read_text())
    assert list(record["solved"]) == ["01_slope"]


@pytest.mark.slow
def test_sigterm_ends_the_check_and_its_process(run_study: Command) -> None:
    run_study("start")
    Path("exercises/01_slope.py").write_text("import os\nprint('pid', os.getpid())\nwhile True:\n    pass\n")
    command = [sys.executable, "-m", "minigrad.study", "check"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert process.stdout
    line = next(line for line in process.stdout if "pid" in line)
    child = int(line.split()[-1])
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert err.strip() == "python -m minigrad.study check: stopped"
    time.sleep(0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def environment() -> dict[str, str]:
    root = str(Path(study.__file__).parents[2])
    return os.environ | {"PYTHONPATH": root, "PYTHONUNBUFFERED": "1"}


@pytest.mark.slow
def test_a_tour_through_all_exercises_without_frameworks(run_study: Command, solved: Path) -> None:
    run_study("start")
    for exercise in EXERCISES[:13]:
        assert run_study("check").status == 1
        shutil.copy(solved / exercise.file, "exercises")
        result = run_study("check", exercise.name)
        assert result.status == 0, result.out
        assert f"{exercise.number} of 15 solved" in result.out
    assert "14_torch" in run_study("next").out
