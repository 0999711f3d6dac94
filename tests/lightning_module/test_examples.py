"""The scripts in examples/ that use Ray: one machine, real processes."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import numpy as np
import psutil
import pytest
from lightning_helpers import ROOT, call, complaints, epochs, flags, kept, network, process, same_weights

from minigrad.runs import history

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs pip install '.[ray]'"),
    pytest.mark.timeout(1200),  # Ray starts a process per trial
]

OVERALL = 600  # seconds that no healthy process comes near
SWEEP, TRAIN = "sweep.py", "ray_train.py"
GRID = ("--rates", "0.01", "0.1", "--widths", "4", "7", "--out", "sweep")


@pytest.fixture(autouse=True)
def _ray_ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give Ray a folder for its files; afterwards wait for its processes to end, and remove the folder."""
    session = tempfile.mkdtemp(prefix="ray-")  # a short path, since sockets lie in it
    monkeypatch.setenv("RAY_TMPDIR", session)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield
    patience = time.monotonic() + 20
    while left := [p for p in psutil.process_iter(["cmdline"]) if session in " ".join(p.info["cmdline"] or [])]:
        assert time.monotonic() < patience, left
        time.sleep(0.1)
    shutil.rmtree(session)


def start(script: str, data: str, *more: str) -> Popen[str]:
    small = ("--data.path", data, "--data.batch_size", "16", "--data.validation_size", "32")
    return process("-u", str(ROOT / "examples" / script), *small, "--trainer.max_epochs", "3", *more, module=False)


def ends(script: str, data: str, *more: str) -> str:
    """Run a script that must succeed; return what it prints."""
    ended = start(script, data, *more)
    out, err = ended.communicate(timeout=OVERALL)
    assert ended.returncode == 0, err
    assert complaints(err) == []
    return out


def table(out: str) -> list[dict[str, float]]:
    with Path(out, "sweep.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def alone(data: str, row: dict[str, float]) -> float:
    """Return the validation loss of the command with the settings of a trial."""
    rate, width = str(row["learning_rate"]), str(int(row["width"]))
    words = ("--model.learning_rate", rate, "--model.hidden", f"[{width}]", "--data.validation_size", "32")
    assert call(*flags(data, f"alone-{rate}-{width}", *words)) == 0
    return epochs(f"alone-{rate}-{width}")[-1][3]


@pytest.mark.slow
def test_a_sweep_has_the_results_of_single_runs(easy: str) -> None:
    printed = ends(SWEEP, easy, "--rates", "0.01", "0.1", "--widths", "7", "--out", "sweep")
    rows = table("sweep")
    assert {(row["learning_rate"], row["width"]) for row in rows} == {(0.01, 7), (0.1, 7)}
    losses = [row["val_loss"] for row in rows]
    assert losses == sorted(losses)
    assert losses == [alone(easy, row) for row in rows]
    shown = re.findall(r"^ +([\d.]+) +(\d+) +([\d.]+) +[\d.]+%", printed, re.MULTILINE)
    assert shown == [(f"{r['learning_rate']:g}", f"{r['width']:g}", f"{r['val_loss']:.4f}") for r in rows]
    # The recipe of the best trial.
    assert "fit --config" in printed
    cpu = ("--trainer.accelerator", "cpu", "--trainer.default_root_dir", "best")
    assert call("fit", "--config", "sweep/best.yaml", *cpu) == 0
    assert epochs("best")[-1][3] == min(losses)


@pytest.mark.slow
def test_a_stopped_sweep_is_resumed(easy: str) -> None:
    words = (*GRID, "--trainer.max_epochs", "150")
    running = start(SWEEP, easy, *words)
    assert running.stdout is not None
    assert "validation loss" in running.stdout.readline()  # of the first trial that ended
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=OVERALL)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert "--resume continues" in err
    before = table("sweep")
    assert 1 <= len(before) < 4
    ends(SWEEP, easy, *words, "--resume")
    after = table("sweep")
    assert {(row["learning_rate"], row["width"]) for row in after} == {(0.01, 4), (0.01, 7), (0.1, 4), (0.1, 7)}
    assert len(after) == 4
    assert all(row in after for row in before)  # to the second that they took
    for row in after:
        words = ("--trainer.max_epochs", "150", "--data.validation_size", "32", "--model.hidden", f"[{row['width']:g}]")
        assert (
            call(*flags(easy, "alone", *words, "--model.learning_rate", str(row["learning_rate"]), "--overwrite")) == 0
        )
        assert epochs("alone")[-1][3] == row["val_loss"]


@pytest.mark.slow
def test_a_trial_that_diverges_comes_last(easy: str) -> None:
    ends(SWEEP, easy, "--rates", "1e30", "0.1", "--widths", "4", "--out", "sweep")
    assert [row["learning_rate"] for row in table("sweep")] == [0.1, 1e30]
    assert np.isnan(table("sweep")[-1]["val_loss"])


@pytest.mark.slow
def test_two_workers_equal_one_process_with_batches_twice_as_large(easy: str) -> None:
    printed = ends(TRAIN, easy, "--model.hidden", "[7]", "--workers", "2", "--out", "two")
    words = ("--data.batch_size", "32", "--data.validation_size", "32", "--model.hidden", "[7]")
    assert call(*flags(easy, "one", *words)) == 0
    for name, array in kept("one").items():
        np.testing.assert_allclose(kept("two")[name], array, rtol=0, atol=1e-6)
    a, b = history.read(Path("two/history.csv")), history.read(Path("one/history.csv"))
    assert [e.epoch for e in a] == [1, 2, 3]
    np.testing.assert_allclose([e.train_loss for e in a], [e.train_loss for e in b], rtol=1e-5)
    np.testing.assert_allclose([e.val_loss for e in a], [e.val_loss for e in b], rtol=1e-5)  # type: ignore[arg-type]
    # The printed command tests on one device.
    how = printed.split("python -m lightning_module")[1].split()
    assert call(*how, *network(easy)[6:]) == 0
    assert Path("two/metrics.json").exists()


@pytest.mark.slow
def test_two_workers_are_lightnings_own_two_processes(easy: str) -> None:
    ends(TRAIN, easy, "--model.hidden", "[7]", "--workers", "2", "--out", "ray")
    words = ("--model.hidden", "[7]", "--data.validation_size", "32", "--trainer.devices", "2")
    own = process(*flags(easy, "own", *words, "--trainer.strategy", "ddp"))
    _, err = own.communicate(timeout=OVERALL)
    assert own.returncode == 0, err
    same_weights("ray", "own")
    assert epochs("ray") == epochs("own")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        (SWEEP, ("--rates", "-1"), "model.learning_rate: -1.0; expected a number from 0"),
        (SWEEP, ("--widths", "0"), "model.hidden: 0; expected a whole number of 1 or more"),
        (SWEEP, ("--data.path", "nowhere.npz"), "nowhere.npz does not exist"),
        (SWEEP, ("--data.validation_size", "0"), "data.validation_size: 0; expected 1 or more"),
        (SWEEP, ("--cpus", "9999"), "--cpus: 9999; expected at most"),
        (SWEEP, ("--address", "localhost:1"), "--address localhost:1: no Ray cluster can be reached"),
        (TRAIN, ("--workers", "0"), "--workers: 0; expected 1 or more"),
        (TRAIN, ("--model.learning_rate", "1e30"), "the loss became nan in epoch 1; expected a smaller rate"),
    ],
)
def test_a_user_error_exits_with_2_and_one_sentence(
    easy: str, script: str, words: tuple[str, ...], message: str
) -> None:
    ended = start(script, easy, "--out", "out", *words)
    _, err = ended.communicate(timeout=OVERALL)
    assert ended.returncode == 2, err
    (line,) = complaints(err)
    assert line.startswith(f"python examples/{script}: error: ")
    assert message in line


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_too(easy: str) -> None:
    running = start(TRAIN, easy, "--out", "out", "--trainer.max_epochs", "1000000")
    patience = time.monotonic() + OVERALL
    while not Path("out/weights.safetensors").exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < patience
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=OVERALL)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert "stopped; the weights of the last completed epoch are kept" in err
    assert kept("out")
