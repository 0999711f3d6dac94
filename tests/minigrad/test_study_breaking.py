"""`python -m minigrad.study break`: each broken training shows its symptom, the correct one does not, and the texts."""

from __future__ import annotations

import builtins
import functools
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from minigrad_helpers import sentence_of

from minigrad.runs import run_command
from minigrad.study import __main__ as program
from minigrad.study import breaking
from minigrad.study.breaks import BREAKS
from minigrad.study.breaks.experiment import Run, Training, run

LN_10 = math.log(10)
ANSWERS = {
    "learning_rate": "rises first",
    "zero_init": "stays at ln 10",
    "softmax_twice": "more slowly",
    "dead_units": "0 for every image",
    "no_shuffling": "accuracy on the test images stays low",
    "sign_error": "rises faster and faster",
    "no_zero_grad": "at first, then gets worse",
    "broadcasting": "nearly the same",
}
# Whether a run shows the symptom.
SYMPTOMS: dict[str, Callable[[Run], bool]] = {
    "learning_rate": lambda r: r.last.loss > LN_10 and max(r.steps[i].ratios["hidden"] for i in range(10)) > 0.5,
    "zero_init": lambda r: all(g == 0 for step in r.steps for g in step.gradients.values()),
    "softmax_twice": lambda r: min(step.loss for step in r.steps) > math.log(1 + 9 / math.e) and r.last.score > 0.3,
    "dead_units": lambda r: r.last.dead == r.units == 32,
    "no_shuffling": lambda r: r.last.loss < 1 and r.last.score < 0.5,
    "sign_error": lambda r: r.largest_loss == math.inf,
    "no_zero_grad": lambda r: min(e.loss for e in r.epochs) < 1.6 and r.last.loss > LN_10,
    "broadcasting": lambda r: r.last.score < 0.2 and float(r.outputs.std()) < 0.3 * float(r.labels.std()),
}


@functools.cache
def trained(training: Training, seed: int = 0) -> Run:
    return run(training, seed)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Calls the command, which trains only once per break and seed."""
    monkeypatch.setattr(breaking, "run", trained)

    def call(*argv: str) -> str:
        capsys.readouterr()
        breaking.main(argv)
        return capsys.readouterr().out

    return call


def one_line(text: str) -> str:
    return " ".join(text.split())


# The trainings.


def test_every_break_is_tested() -> None:
    assert list(ANSWERS) == list(SYMPTOMS) == list(BREAKS)


@pytest.mark.parametrize("name", BREAKS)
def test_only_the_broken_training_shows_the_symptom(name: str) -> None:
    subject = BREAKS[name]()
    correct, broken = trained(subject.correct), trained(subject.broken)
    assert SYMPTOMS[name](broken)
    assert not SYMPTOMS[name](correct)
    assert correct.last.score > 0.8
    assert correct.last.loss < 0.3
    assert correct.last.dead < 4


def check_texts(name: str, seed: int) -> None:
    subject = BREAKS[name]()
    correct, broken = trained(subject.correct, seed), trained(subject.broken, seed)
    answer = subject.answer(correct, broken)
    assert answer is not None
    assert ANSWERS[name] in subject.choices[answer][0]
    assert [text for holds, text in subject.statements(correct, broken) if not holds] == []


@pytest.mark.parametrize("name", BREAKS)
def test_all_statements_hold_and_the_answer_is_what_happened(name: str) -> None:
    check_texts(name, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", BREAKS)
def test_all_statements_hold_for_other_seeds(name: str, seed: int) -> None:
    check_texts(name, seed)


@pytest.mark.parametrize("name", BREAKS)
def test_statements_about_a_training_without_the_mistake_do_not_hold(name: str) -> None:
    subject = BREAKS[name]()
    correct = trained(subject.correct)
    held = [text for holds, text in subject.statements(correct, correct) if holds]
    assert [text for text in held if "has shape (32, 32)" not in text] == []


def test_a_run_depends_on_the_seed_only() -> None:
    training = BREAKS["learning_rate"]().broken
    again = run(training, 0)
    assert again.outputs.tobytes() == trained(training).outputs.tobytes()
    assert again.steps == trained(training).steps
    assert not np.array_equal(run(training, 1).outputs, again.outputs)


@pytest.mark.parametrize(
    ("name", "correct", "broken"),
    [
        ("learning_rate", ["lr = 0.2"], ["lr = 5.0"]),
        ("sign_error", ["p.data -= lr * p.grad"], ["p.data += lr * p.grad"]),
        ("no_zero_grad", ["for p in parameters:", "    p.grad = None"], []),
        (
            "softmax_twice",
            ["return ops.cross_entropy(logits, labels)"],
            ["return ops.cross_entropy(ops.softmax(logits), labels)"],
        ),
    ],
)
def test_the_code_is_the_lines_that_differ(name: str, correct: list[str], broken: list[str]) -> None:
    assert BREAKS[name]().code() == {"correct": correct, "broken": broken}


# The command.


def test_without_a_name_the_mistakes_are_listed(printed: Callable[..., str]) -> None:
    lines = printed().splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert listed == list(BREAKS)
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_explained_in_80_columns(name: str, printed: Callable[..., str]) -> None:
    text = printed(name, "--yes")
    subject = BREAKS[name]()
    titles = ("What do you expect?", "The run", "The answer", "What happened", "Why", "The lines that differ")
    positions = [text.index(f"\n{title}\n") for title in (*titles, "How to recognize it", "How to fix it")]
    assert positions == sorted(positions)
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())
    assert "\x1b" not in text
    for paragraph in (subject.question, subject.why, subject.recognize, subject.fix, *(c for c, _ in subject.choices)):
        assert one_line(paragraph) in one_line(text)
    for _, statement in subject.statements(trained(subject.correct), trained(subject.broken)):
        assert one_line(statement) in one_line(text)
    rows = re.findall(r"^ +([1-8] )?(correct|broken) +[\d.enai+]+ ", text, re.MULTILINE)
    assert [row[1] for row in rows] == 4 * ["correct", "broken"]
    assert f" {trained(subject.broken).last.loss:.4g} " in text


def test_a_statement_that_does_not_hold_is_not_printed(
    printed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaking, "run", lambda training, seed: trained(BREAKS["zero_init"]().correct))
    text = printed("zero_init")
    assert "exactly 0 in every step" not in text
    assert "Observed: a The network learns as usual" in one_line(text)


def test_the_learner_predicts_in_a_terminal(printed: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    typed = {"b": "Expected: b The loss stays where it is.", "It will grow": "Expected: It will grow"}
    for line, expected in typed.items():
        monkeypatch.setattr(builtins, "input", lambda prompt, line=line: line)
        text = one_line(printed("sign_error"))
        assert expected in text
        assert "Observed: c The loss rises faster and faster." in text
        assert "\x1b[31m" in text
    monkeypatch.setattr(builtins, "input", lambda prompt: pytest.fail("asked"))
    assert "Expected:" not in printed("sign_error", "--yes")


def test_the_end_of_the_input_is_no_prediction(printed: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def end(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(builtins, "input", end)
    text = printed("sign_error")
    assert "Observed:" in text
    assert "Expected:" not in text


def test_a_picture_is_drawn_and_replaces_only_what_it_may(printed: Callable[..., str]) -> None:
    Path("mine.svg").write_text("mine")
    assert "mine.svg: already exists" in sentence_of(lambda: breaking.main(["sign_error", "--out", "mine.svg"]))
    assert Path("mine.svg").read_text() == "mine"
    assert "drawn in mine.svg" in printed("sign_error", "--out", "mine.svg", "--overwrite")
    assert "<svg" in Path("mine.svg").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_every_picture_is_drawn(name: str, printed: Callable[..., str]) -> None:
    printed(name, "--out", "new/break.png")
    assert Path("new/break.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["lerning_rate"], "NAME: 'lerning_rate'; expected one of learning_rate, zero_init, .* mean learning_rate\\?"),
        (["zero_init", "--seed", "-1"], "--seed: -1; expected a whole number of 0 or more"),
        (["zero_init", "--seed", "x"], "seed: x; expected a whole number"),
        (["--out", "a.png"], "--out a.png: .* expected a NAME"),
        (["zero_init", "--out", "a.gif"], "--out a.gif: has the suffix '.gif'; expected one of .png, .svg, .pdf"),
        (["zero_init", "--out", "."], "--out \\.: .*"),
        (["zero_init", "--colour"], "unknown option --colour; expected an option, see --help$"),
        (["learning_rate", "a", "b"], "unexpected argument a; expected only those that --help lists$"),
    ],
)
def test_a_mistake_of_the_user_is_one_sentence(argv: list[str], expected: str) -> None:
    assert re.match(expected, sentence_of(lambda: breaking.main(argv)))
    assert list(Path().iterdir()) == []


def test_the_command_belongs_to_the_study_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(program.PROG, program.main, ["break"]) == 0
    assert "no_shuffling" in capsys.readouterr().out
    assert run_command(program.PROG, program.main, ["break", "nothing"]) == 2
    assert "NAME: 'nothing'" in capsys.readouterr().err
