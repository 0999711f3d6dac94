"""Contenders take turns; disturbed rounds are repeated or give no verdict."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compare import cli
from compare.jobs.job import Job
from compare.jobs.resident import WorkerFailed
from compare.results import ratios, sweep
from compare.timing import noise, rounds
from compare.timing.noise import Noise, NoiseMeter
from minigrad.recipes import Recipe

EPOCHS = 10
RECIPE = Recipe.from_dict({"trainer": {"max_epochs": EPOCHS}})
NAMES = ("a", "b", "c")
JOBS = [Job("closed", name, 7, RECIPE, {}) for name in NAMES]


class FakeResident:
    """A process that answers at once, writes its turns to a list, and fails in the turn `fails_at`, if given."""

    def __init__(self, log: list[tuple[str, str]], fails_at: dict[str, int]) -> None:
        self.log, self.fails_at, self.turns, self.name = log, fails_at, 0, ""

    def turn(self, job: Job | None = None) -> dict[str, Any]:
        self.name = job.contender if job is not None else self.name
        if self.turns == self.fails_at.get(self.name):
            raise WorkerFailed("failed: out of memory")
        self.turns += 1
        self.log.append((self.name, job.stage if job is not None else "round"))
        return {"step_us": 1.0, "epoch": self.turns, "cpu": 0.0, "waited": 0.0}

    def kill(self) -> None:
        pass

    def close(self) -> None:
        self.log.append((self.name, "closed"))


class Run:
    """A group of fake processes, and what happens in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, disturbed: Callable[[int], bool]) -> None:
        self.log: list[tuple[str, str]] = []
        self.failed: list[tuple[str, str]] = []
        self.fails_at: dict[str, int] = {}
        self.count = iter(range(1000))
        monkeypatch.setattr(NoiseMeter, "seconds", lambda _: 1.0)
        monkeypatch.setattr(NoiseMeter, "stop", lambda *_: Noise(0.5, 0.0, disturbed(next(self.count))))
        self.group = rounds.Group(lambda: FakeResident(self.log, self.fails_at), self.on_turn, lambda _: True)  # type: ignore[arg-type,return-value]

    def on_turn(self, job: Job, message: Any, failed: str | None) -> None:
        if failed:
            self.failed.append((job.contender, failed))

    def train(self) -> None:
        self.group.train(JOBS)
        self.group.repeat(JOBS)


def test_every_round_starts_with_another_contender(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, lambda _: False)
    run.train()
    assert run.log[:3] == [("a", "closed"), ("b", "closed"), ("c", "closed")]
    assert len(run.group.rounds) == EPOCHS - 1
    assert [list(r["step_us"]) for r in run.group.rounds[:4]] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert len(run.log) == 3 * (EPOCHS + 1)  # begin, nine rounds, answer


def test_a_disturbed_round_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, lambda i: i in (2, 5, 9))  # the first repetition is disturbed too
    run.train()
    assert [r["disturbed"] for r in run.group.rounds].count(False) == EPOCHS - 1
    assert len(run.group.rounds) == EPOCHS - 1 + 3
    assert {r["stage"] for r in run.group.rounds} == {"closed"}
    assert [stage for name, stage in run.log if name == "a"].count("again") == 1


def test_repetitions_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, lambda i: i < 3 or i >= EPOCHS - 1)  # every repetition is disturbed
    run.train()
    assert len(run.group.rounds) == EPOCHS - 1 + 3
    busy = Run(monkeypatch, lambda _: True)  # no repetition would help
    busy.train()
    assert len(busy.group.rounds) == EPOCHS - 1


def test_repeated_short_rounds_are_judged_before_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, lambda i: i in (0, 1) or i >= EPOCHS - 1)
    run.group.train(JOBS)
    monkeypatch.setattr(NoiseMeter, "seconds", lambda _: 0.2)  # shorter than an interval
    monkeypatch.setattr(noise, "SHORTEST", 0.2)
    run.group.repeat(JOBS)
    assert len(run.group.rounds) == EPOCHS - 1 + 3  # as many as are allowed, since all of them are disturbed


def test_a_training_without_contenders_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, lambda _: False)
    run.fails_at = dict.fromkeys(NAMES, 2)
    run.train()
    assert len(run.failed) == 3
    assert len(run.group.rounds) == 1


def test_contenders_without_a_common_round_are_not_paired() -> None:
    def run(name: str) -> Any:
        return {"epoch_us": [9.0, 2.0, 2.0] if name == "a" else [9.0, 1.0, 1.0, 1.0], "steady_step_us": 1.0}

    alone = [{"seed": 1, "step_us": {"a": 2.0}}, {"seed": 2, "step_us": {"b": 1.0}}]
    (ratio,) = ratios.compare("default", alone, {"a": [run("a")], "b": [run("b"), run("b")]}, True)  # type: ignore[arg-type]
    assert (ratio["median"], ratio["paired"], ratio["verdict"]) == (2.0, False, "undecided")


def test_the_others_go_on_if_a_contender_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, lambda _: False)
    run.fails_at = {"b": 4}
    run.train()
    assert run.failed == [("b", "failed: out of memory")]
    assert [set(r["step_us"]) for r in run.group.rounds] == [{*"abc"}] * 3 + [{*"ac"}] * (EPOCHS - 4)
    times = ratios.times(run.group.rounds, {}, ["a", "b"])
    assert times == {"a": [[1.0] * 3], "b": [[1.0] * 3]}


def test_short_rounds_share_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, lambda _: True)
    monkeypatch.setattr(NoiseMeter, "seconds", lambda _: 0.0)
    run.group.train(JOBS)
    assert [r["disturbed"] for r in run.group.rounds] == [True] * (EPOCHS - 1)
    assert {r["others"] for r in run.group.rounds} == {0.5}


def test_a_sweep_measures_every_point_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, lambda _: False)
    jobs = [replace(job, stage="sweep", options={"points": [[8, 32, 4], [1, 1, 2]]}) for job in JOBS]
    run.group.sweep(jobs)
    assert [r["point"] for r in run.group.rounds] == [[8, 32]] * 4 + [[1, 1]] * 2
    assert len(run.log) == 3 * (1 + 4 + 1 + 2 + 1)


def test_rounds_are_measured_if_two_thirds_of_them_are_undisturbed() -> None:
    def some(disturbed: int, of: int = 9) -> list[Any]:
        return [{"disturbed": i < disturbed, "others": 0.6, "steal": 0.0} for i in range(of)]

    assert not ratios.disturbed_too_often(some(3), 9)
    assert ratios.disturbed_too_often(some(4), 9)
    assert not ratios.disturbed_too_often(some(4, of=13), 9)  # repeated
    assert not ratios.disturbed_too_often([], 0)
    assert ratios.reason(some(4)) == (
        "Other processes disturbed 4 of 9 rounds: in these, they used 60 % of the processors' time."
    )


def test_a_crossover_needs_the_verdict_at_all_larger_widths() -> None:
    def row(verdicts: dict[int, str]) -> Any:
        points = [{"width": w, "batch_size": 32, "ratio": {"verdict": verdict}} for w, verdict in verdicts.items()]
        return {"contender": "torch", "points": points}

    def crossover(*verdicts: str) -> int | None:
        return sweep.crossovers([row(dict(zip((10, 100, 1000), verdicts, strict=True)))], 32, "by_hand")["torch"]

    assert crossover("slower", "faster", "faster") == 100
    assert crossover("faster", "slower", "faster") == 1000
    assert crossover("faster", "faster", "undecided") is None
    assert crossover("faster", "faster", "equivalent") is None


def _work(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.fixture
def busy() -> Iterator[None]:
    """Every processor runs a loop."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(200,), daemon=True) for _ in range(os.cpu_count() or 1)]
    for process in processes:
        process.start()
    time.sleep(1)
    yield
    for process in processes:
        process.kill()
        process.join()


@pytest.fixture
def real_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "OTHERS", 0.1)
    monkeypatch.setattr(noise, "STEAL", 0.05)


@pytest.mark.slow
@pytest.mark.usefixtures("busy", "real_limits")
def test_a_busy_machine_gives_no_verdict_and_status_3(
    base_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [flag for flag in base_flags if flag != "--allow_noisy"]
    more = ["--contenders", "minigrad", "by_hand", "--trainer.max_epochs", "60", "--out", "o"]
    with pytest.raises(SystemExit) as end:
        cli.main([*flags, *more])
    assert end.value.code == 3
    results = json.loads(Path("o/results.json").read_text())
    assert results["status"] == "not measured"
    assert {ratio["verdict"] for ratio in results["ratios"]} == {"undecided"}
    assert len(results["rounds"]) >= 15  # enough, but disturbed
    out = capsys.readouterr().out
    assert "NOT MEASURED" in out
    assert "Other processes disturbed" in " ".join(out.split())
    assert Path("o/report.html").exists()
    cli.main([*flags, *more, "--resume", "--allow_noisy"])  # status 0
    assert json.loads(Path("o/results.json").read_text())["status"] == "not measured"
