"""Resuming: each job runs once, however the command is interrupted, locally or on Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from compare import cli
from minigrad.runs import UserError

TWO = ["--contenders", "minigrad", "by_hand", "--seeds", "2", "--sweep", "width", "--widths", "[4]"]


def answers(out: Path) -> dict[str, tuple[int, bytes]]:
    """Return time of writing and content of each answer."""
    found = sorted(out.glob("jobs/*/*/*/answer.json"))
    return {str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def mark_rounds(out: Path, disturbed: bool) -> None:
    """Change whether the finished rounds count as disturbed."""
    for path in out.glob("jobs/*/rounds-*.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"rounds": [r | {"disturbed": disturbed} for r in content["rounds"]]}))


def figures(out: Path) -> list[Any]:
    """Return what does not depend on the clock in results.json."""
    results = json.loads((out / "results.json").read_text())
    assert results["parity"]["passed"] is True
    return [
        [row["status"], [(run["seed"], run["test_loss"], run["updates"]) for run in row["runs"]]]
        for row in results["contenders"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_resumes_and_repeats_no_finished_job(
    base_flags: list[str], tmp_path: Path, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)  # which caches TMPDIR
    command = [sys.executable, "-m", "compare", *base_flags, *TWO, "--out", "o"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while not list(Path("o").glob("jobs/closed/rounds-42.json")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.send_signal(kind)
    _, err = running.communicate(timeout=60)
    assert running.returncode == (130 if kind == signal.SIGINT else -kind), err
    if kind == signal.SIGINT:
        assert "continue with --out o --resume" in err
    assert bool(list(temporary.iterdir())) == (kind == signal.SIGKILL)
    time.sleep(0.5)  # a worker ends with the command that started it
    before = answers(Path("o"))
    before = {name: answer for name, answer in before.items() if "/42/" in name}  # the seed that is complete
    assert len(before) == 2
    mark_rounds(Path("o"), disturbed=False)
    cli.main([*base_flags, *TWO, "--out", "o", "--resume"])
    assert not list(temporary.iterdir())
    after = answers(Path("o"))
    assert {name: after[name] for name in before} == before
    assert len(after) == 6  # two contenders: two seeds and a sweep each
    cli.main([*base_flags, *TWO, "--out", "whole"])
    assert figures(Path("o")) == figures(Path("whole"))


@pytest.mark.slow
def test_a_finished_run_accepts_more_seeds_and_repeats_no_finished_job(base_flags: list[str], tmp_path: Path) -> None:
    one = ["--contenders", "minigrad", "by_hand", "--out", "o"]
    cli.main([*base_flags, *one])
    before = answers(Path("o"))
    cli.main([*base_flags, *one, "--resume", "--seeds", "2"])
    after = answers(Path("o"))
    assert {name: after[name] for name in before} == before
    assert [len(runs) for _, runs in figures(Path("o"))] == [2, 2]
    cli.main([*base_flags, "--contenders", "minigrad", "--out", "o", "--resume", "--seeds", "2"])  # fewer contenders
    assert answers(Path("o")) == after
    swept = [*one, "--resume", "--sweep", "width", "--widths"]
    for widths in ([4], [4, 8]):  # another question is asked anew
        cli.main([*base_flags, *swept, str(widths)])
        rows = json.loads(Path("o/results.json").read_text())["sweep"]["rows"]
        assert [[point["width"] for point in row["points"]] for row in rows] == [widths, widths]
    after = answers(Path("o"))
    with pytest.raises(UserError, match=r"--resume: model\.hidden is \[12\], but the run in o has \[10\]"):
        cli.main([*base_flags, *one, "--resume", "--model.hidden", "[12]"])
    with pytest.raises(UserError, match="already holds a run"):
        cli.main([*base_flags, *one])
    assert answers(Path("o")) == after


@pytest.mark.slow
def test_seeds_with_disturbed_rounds_are_measured_again(base_flags: list[str], tmp_path: Path) -> None:
    one = ["--contenders", "minigrad", "by_hand", "--seeds", "2", "--out", "o"]
    cli.main([*base_flags, *one])
    before = answers(Path("o"))
    content = json.loads(Path("o/jobs/closed/rounds-43.json").read_text())
    content["rounds"][0]["disturbed"] = True  # one of two
    Path("o/jobs/closed/rounds-43.json").write_text(json.dumps(content))
    cli.main([*base_flags, *one, "--resume"])
    after = answers(Path("o"))
    assert {name for name in before if before[name] == after[name]} == {
        f"jobs/closed/{name}/42/answer.json" for name in ("minigrad", "by_hand")
    }
    assert not any(r["disturbed"] for r in json.loads(Path("o/results.json").read_text())["rounds"])


def test_a_contender_that_fails_is_named_and_the_results_are_written(
    base_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diverging = ["--model.learning_rate", "1e30", "--sweep", "width", "--widths", "[4]"]
    with pytest.raises(SystemExit) as end:
        cli.main([*base_flags, *diverging, "--contenders", "minigrad", "--out", "o"])
    assert end.value.code == 1
    results = json.loads(Path("o/results.json").read_text())
    assert results["status_reason"] == "No contender has finished."
    assert results["contenders"][0]["status"].startswith("failed: ")
    assert results["sweep"] is None
    assert "NOT MEASURED: No contender has finished." in capsys.readouterr().out


def test_overwrite_starts_again(base_flags: list[str], tmp_path: Path) -> None:
    one = ["--contenders", "minigrad", "--out", "o"]
    cli.main([*base_flags, *one, "--seeds", "2"])
    cli.main([*base_flags, *one, "--overwrite", "--model.hidden", "[12]"])
    assert list(answers(Path("o"))) == ["jobs/closed/minigrad/42/answer.json"]


def test_a_killed_command_leaves_no_worker(base_flags: list[str], tmp_path: Path) -> None:
    import psutil

    long = ["--contenders", "minigrad", "--trainer.max_epochs", "100000", "--out", "o"]
    running = subprocess.Popen([sys.executable, "-m", "compare", *base_flags, *long], stdout=subprocess.DEVNULL)
    while not list(Path("o").glob("jobs/closed/*/42/job.json")):
        assert running.poll() is None
        time.sleep(0.01)
    while not (workers := psutil.Process(running.pid).children(recursive=True)):
        time.sleep(0.01)
    running.kill()
    running.wait()
    assert workers
    psutil.wait_procs(workers, timeout=20)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


@pytest.mark.slow
def test_ray_gives_the_same_answers_and_resumes(base_flags: list[str], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "compare", *base_flags, *TWO, "--engine", "ray", "--out", "o"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path, start_new_session=True)
    while not list(Path("o").glob("jobs/closed/*/*/answer.json")):
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    before = answers(Path("o"))
    assert len(before) < 6
    done = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    after = answers(Path("o"))
    assert {name: after[name] for name in before} == before
    assert len(after) == 6
    cli.main([*base_flags, *TWO, "--out", "here"])
    assert figures(Path("o")) == figures(Path("here"))
