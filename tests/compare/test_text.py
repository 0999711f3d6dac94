"""The sentences of the reports and the terminal: measured, undecided, not measured, in disagreement, and alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compare.report import ratios, sweep_text, tables, terminal, text
from compare.results.schema import Results

sys.path.insert(0, str(Path(__file__).parent))

import sample


@pytest.fixture
def results() -> Results:
    return sample.results()


def pair(results: Results, a: str, b: str, division: str = "closed") -> Any:
    (found,) = (r for r in results["ratios"] if (r["a"], r["b"], r["division"]) == (a, b, division))
    return found


def printed(results: Results, width: int = 80) -> str:
    console = Console(width=width, highlight=False, record=True, quiet=False, file=sys.stderr)
    terminal.show(results, console)
    return console.export_text()


def test_the_answer_of_a_measurement(results: Results) -> None:
    results["answers"] = {"agree": 10000, "images": 10000}
    assert text.answer(results) == (
        "Same network, same answers (10,000 of 10,000)."
        " By hand 113 µs per step; minigrad 1.07x (undecided), torch 2.1x, Keras 2.9x, Lightning 4.9x."
    )


def test_equivalent_contenders_are_called_equivalent(results: Results) -> None:
    pair(results, "minigrad", "by_hand").update(verdict="equivalent", median=1.02)
    assert "minigrad 1.02x (equivalent), torch 2.1x" in text.answer(results)


def test_predictions_that_differ_are_counted(results: Results) -> None:
    assert text.answer(results).startswith("Same network, same answers to 9,999 of 10,000 test images. By hand 113 µs")


def test_nothing_is_concluded_from_a_comparison_that_was_not_measured(results: Results) -> None:
    results |= {"status": "not measured", "status_reason": "other processes disturbed 9 of 12 rounds."}
    assert text.answer(results) == "NOT MEASURED: other processes disturbed 9 of 12 rounds."
    shown = printed(results)
    assert "NOT MEASURED" in shown
    assert text.NOT_RELIABLE in shown
    assert "Test accuracy: 92.61 %" in shown
    for word in ("faster", "slower", "2.1x", "Default division", "validation accuracy is"):
        assert word not in shown


def test_a_disagreement_comes_first(results: Results) -> None:
    results["parity"]["passed"] = results["parity"]["float32"]["passed"] = False
    results["parity"]["contenders"]["keras"]["float32"] |= {"passed": False, "first": "step 2, loss: 3 instead of 2."}
    results |= {"status": "not measured", "status_reason": "the contenders do not agree."}
    answer = "The contenders do NOT agree: Keras in float32: step 2, loss: 3 instead of 2."
    assert text.verdict(results) == [answer]
    assert printed(results, 200).split("\n")[1] == answer


def test_one_contender_alone() -> None:
    results = sample.results(("torch",))
    assert text.answer(results) == "Torch 237 µs per step."
    assert text.verdict(results)[1:] == [
        text.NOT_COMPARED,
        "Test accuracy: 92.61 % (medians of 3 seeds). The 95 % interval of one accuracy on 10,000 images is ±0.52 points.",
    ]


def test_ratios_are_inverted(results: Results) -> None:
    first, second = (row for row in ratios.timed(results, "closed") if row["name"] in ("torch", "keras"))
    forward, backward = (
        ratios.between(results, "closed", first, second),
        ratios.between(results, "closed", second, first),
    )
    assert (forward["verdict"], backward["verdict"]) == ("faster", "slower")
    assert backward["median"] == pytest.approx(1 / forward["median"])
    assert backward["low"] == pytest.approx(1 / forward["high"])
    assert backward["low"] < backward["median"] < backward["high"]


def test_a_pair_that_was_not_compared_is_undecided(results: Results) -> None:
    results["ratios"] = []
    assert "torch 2.1x (undecided)" in text.answer(results)


def test_the_matrix_has_every_ordered_pair(results: Results) -> None:
    rows = dict(tables.matrix(results))
    assert [cell and cell.verdict for cell in rows["torch"]] == ["slower", "slower", None, "faster", "faster"]
    assert rows["Lightning"][1] == tables.Cell("4.90", "slower")


def test_variables_that_select_kernels_are_named(results: Results) -> None:
    results["environment"]["variables"] = {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "AVX2"}
    (warning, _) = text.warnings(results)
    assert warning == (
        "Warning: environment variables select kernels; without them, times differ:"
        " OPENBLAS_CORETYPE=Haswell, MKL_CBWR=AVX2."
    )
    assert f"{text.answer(results)} {warning}" in " ".join(printed(results).split())


@pytest.mark.parametrize(
    ("cores", "threads", "words"),
    [(1, 1, "1 processor, 1 thread per process"), (16, 4, "16 processors, 4 threads per process")],
)
def test_processors_and_threads_are_counted(results: Results, cores: int, threads: int, words: str) -> None:
    results["environment"] |= {"cores": cores, "threads": threads}
    assert words in text.conditions(results)


def test_crossovers_are_described(results: Results) -> None:
    sweep = results["sweep"]
    (size,) = sweep["crossovers"]
    sweep["crossovers"][size] |= {"torch": None, "keras": 1000, "lightning": 10}
    lines = " ".join(line for _, group in sweep_text.sentences(results) for line in group)
    assert "torch is not faster than hand-written NumPy: at the largest width, 1,000, a step takes 0.80 times" in lines
    assert "Keras is faster than hand-written NumPy from width 1,000 on." in lines
    assert "Lightning is faster than hand-written NumPy at every width measured." in lines
    assert "Overhead of a step: 30 µs (by hand) to 430 µs (Lightning)." in lines


def test_a_disturbed_or_undecided_sweep_says_so(results: Results) -> None:
    sweep = results["sweep"]
    (size,) = sweep["crossovers"]
    sweep["crossovers"][size]["torch"] = None
    (torch,) = (row for row in sweep["rows"] if row["contender"] == "torch")
    torch["points"][-1]["ratio"]["verdict"] = "undecided"
    lines = " ".join(line for _, group in sweep_text.sentences(results) for line in group)
    assert "Whether torch is faster than hand-written NumPy at the largest width, 1,000, is undecided." in lines
    sweep["disturbed"] = True
    assert sweep_text.sentences(results) == []


# The terminal


def test_the_table_fits_80_columns_with_one_line_of_headings(results: Results) -> None:
    shown = printed(results)
    assert "contender  accuracy  step µs  start-up s  total s  1 image µs  peak MB" in shown
    assert "torch       92.61 %      237        2.10" in shown
    assert "Open division: as each framework's documentation recommends for speed\nBy hand 113 µs per step;" in shown
    assert "contender  closed  default   open" in shown
    assert max(map(len, shown.split("\n"))) <= 80


def test_only_divisions_that_ran_are_described(results: Results) -> None:
    results |= {"default": [], "open": []}
    shown = printed(results)
    assert "Default" not in shown
    assert "Open" not in shown
    assert "contender  closed\n" in shown


@pytest.mark.parametrize(
    ("elapsed", "done", "total", "words"),
    [
        (1, 0, 100, ""),
        (1, 4, 100, ""),
        (2, 5, 100, "about 38 s left"),
        (50, 50, 100, "about 50 s left"),
        (600, 50, 100, "about 10 min left"),
        (99, 100, 100, ""),
        (0, 0, 0, ""),
    ],
)
def test_time_left(elapsed: float, done: float, total: float, words: str) -> None:
    assert terminal.time_left(elapsed, done, total) == words


def test_without_a_terminal_one_line_is_printed_per_round_and_none_per_turn(
    results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal.LiveTable(results) as live:
        live.begin("closed", 5)
        for name in sample.STEP_US:
            live.turn(name, "seed 42, epoch 1")
        live.line("  closed  seed 42  round 1 of 4")
        live.parity("torch", results["parity"]["contenders"]["torch"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == text.conditions(results)
    assert lines[1] == "  closed  seed 42  round 1 of 4"
    assert lines[2].startswith("  parity  torch          float64 ")
    assert len(lines) == 3


def test_a_terminal_shows_medians_turns_and_the_time_left(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    live = terminal.LiveTable(results)
    for row in results["contenders"]:
        row["status"] = None
    live.begin("closed", 100)
    now = 20.0
    live.step("torch", 237.4)
    live.turn("torch", "seed 42, epoch 3", units=25)
    console = Console(width=80, record=True, file=sys.stderr)
    console.print(live._table())
    shown = console.export_text()
    assert shown.startswith("timing the closed division, about 60 s left")
    assert "torch                  237  seed 42, epoch 3" in shown
