"""The command: contenders, invalid arguments, and exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compare import cli, contenders
from compare.parity import tolerances
from minigrad.runs import UserError


def test_unavailable_contenders_are_reported_and_the_others_run(
    base_flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contenders.find("torch"), "needs", ("surely_not_installed",))
    cli.main(
        [
            *base_flags,
            "--config",
            "advanced",
            *base_flags,
            "--contenders",
            "torch",
            "by_hand",
            "minigrad",
            "--out",
            str(tmp_path / "o"),
        ]
    )
    results = json.loads((tmp_path / "o/results.json").read_text())
    status = {row["name"]: row["status"] for row in results["contenders"]}
    assert status["minigrad"] == "ok"
    assert "one hidden layer" in status["by_hand"]
    assert "pip install" in status["torch"]
    assert results["parity"]["passed"] is None  # nobody was left to agree with
    shown = capsys.readouterr().out
    assert status["by_hand"] in " ".join(shown.split())
    assert "There is no other contender to compare with minigrad" in shown


def test_nothing_is_timed_without_agreement(
    base_flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tolerances, "FLOAT64", 1e-30)
    with pytest.raises(SystemExit) as end:
        cli.main([*base_flags, "--contenders", "minigrad", "by_hand", "--out", str(tmp_path / "o")])
    assert end.value.code == 1
    results = json.loads((tmp_path / "o/results.json").read_text())
    assert results["parity"]["passed"] is False
    assert all("step_us" not in row for row in results["contenders"])
    assert all(row["status"] == "not timed, since the contenders do not agree" for row in results["contenders"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "The contenders do NOT agree: by hand in float64: step " in shown
    assert "Fastest" not in shown
    assert (tmp_path / "o/report.html").exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--contenders", "caffe"], ["--contenders", "caffe", "minigrad"]),
        (["--contenders", "by_hand", "--model.dropout", "0.1"], ["--contenders", "by_hand", "no dropout"]),
        (["--batch_sizes", "[1]", "--model.batch_norm", "true"], ["--batch_sizes", "1", "batch norm"]),
        (["--divisions", "[closed, fast]"], ["divisions", "fast", "default", "open"]),
        (["--threads", "0"], ["--threads", "0", "1 to"]),
        (["--seeds", "0"], ["--seeds", "0", "1 or more"]),
        (["--target", "97"], ["--target", "97", "up to 1"]),
        (["--target", "0.9", "--data.validation_size", "0"], ["--target", "0.9", "data.validation_size"]),
        (["--widths", "[]"], ["--widths", "[]", "from 1"]),
        (["--batch_sizes", "[8, -1]"], ["--batch_sizes", "-1", "from 1"]),
        (["--engine", "slurm"], ["engine", "slurm", "local", "ray"]),
        (["--sweep", "depth"], ["sweep", "depth", "width"]),
        (["--trainer.max_epochs", "0"], ["trainer.max_epochs", "0", "1 or more"]),
        (["--trainer.max_epochs", "-1"], ["trainer.max_epochs", "-1"]),
        (["--model.hidden", "[0]"], ["model.hidden", "0"]),
        (["--model.learning_rate", "fast"], ["model.learning_rate", "fast", "number"]),
        (["--model.optimizer", "lion"], ["model.optimizer", "lion", "sgd"]),
        (["--model.width", "3"], ["--model.width"]),
        (["--config", "nowhere"], ["--config", "nowhere", "simple"]),
        (["--data.path", "nowhere.npz"], ["data.path", "nowhere.npz"]),
        (["--data.batch_size", "0"], ["data.batch_size", "0"]),
        (["--data.batch_size", "251"], ["data.batch_size", "251", "250"]),
        (["--data.validation_size", "300"], ["data.validation_size", "300"]),
        (["--model.weights", "nowhere"], ["model.weights", "nowhere"]),
    ],
)
def test_an_invalid_argument_is_refused_in_one_sentence(
    base_flags: list[str], tmp_path: Path, flags: list[str], expected: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        cli.main([*base_flags, "--out", str(tmp_path / "o"), *flags])
    for part in expected:
        assert part in str(error.value)
    assert not (tmp_path / "o").exists()


def test_an_earlier_run_is_not_replaced_and_survives_an_error(base_flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "recipe.yaml").write_text("{}")  # a comparison of an earlier version
    with pytest.raises(UserError, match="already holds a run"):
        cli.main([*base_flags, "--out", str(tmp_path)])
    with pytest.raises(UserError, match=r"data\.path"):
        cli.main([*base_flags, "--out", str(tmp_path), "--overwrite", "--data.path", "nowhere"])
    assert (tmp_path / "results.json").read_text() == "{}"


def test_the_command_ends_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "compare", "--contenders", "caffe"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("python -m compare: error: --contenders: caffe")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_keeps_finished_jobs_and_leaves_no_process_or_data(
    number: signal.Signals, base_flags: list[str], tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [
        sys.executable,
        "-u",
        "-m",
        "compare",
        *base_flags,
        "--contenders",
        "minigrad",
        "torch",
        "by_hand",
        "--out",
        "o",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as running:
        assert running.stdout is not None
        while "parity  torch" not in (line := running.stdout.readline()):
            assert line, running.stderr
        time.sleep(0.5)
        children = _children(running.pid)
        assert list(temporary.iterdir())
        running.send_signal(number)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert not list(temporary.iterdir())
    assert "Traceback" not in err
    assert "continue with --out o --resume" in err
    results = json.loads((tmp_path / "o/results.json").read_text())
    assert {row["status"] for row in results["contenders"]} == {"stopped"}
    assert children
    assert not any(_is_alive(child) for child in children)


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_plateau_schedule_is_replaced_by_a_constant_rate(base_flags: list[str], tmp_path: Path) -> None:
    schedule = ["--model.schedule", "reduce_on_plateau"]
    cli.main([*base_flags, *schedule, "--contenders", "minigrad", "by_hand", "--out", str(tmp_path / "o")])
    results = json.loads((tmp_path / "o/results.json").read_text())
    assert results["parity"]["passed"] is True
    assert [row["status"] for row in results["contenders"]] == ["ok"] * 2
    assert len({row["runs"][0]["test_correct"] for row in results["contenders"]}) == 1
