"""As processes: quiet, killed, interrupted, refused."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from keras_helpers import Command, Result, ended, epochs, flags, same_run, started, weights_of

from keras_model import cli

DEADLINE = 120  # seconds; only a hang comes near it


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


def from_minigrad(pixels: str, run: Path, out: Path) -> list[str]:
    """Two epochs from weights that backends would draw differently."""
    start = ("--model.weights", str(run / "weights.safetensors"), "--trainer.max_epochs", "2")
    adam = ("--model.optimizer", "adam", "--model.learning_rate", "0.001", "--model.schedule", "one_cycle")
    return flags(pixels, out, *start, *adam)


@pytest.fixture(scope="module")
def outcome(folder: Path, easy: str, pixels: str, minigrad_run: Path) -> Iterator[Callable[[str], Result]]:
    """How each of these ended; begun together, since each spends its time starting up."""
    processes = {
        "fit": started("fit", *flags(easy, folder / "fit", "--trainer.max_epochs", "1")),
        "hidden": started("fit", *flags(easy, folder / "hidden", "--model.hidden", "[0]")),
        "path": started("test", "--data.path", "nowhere.npz", "--out", str(folder / "path")),
        "jax": started("fit", *from_minigrad(pixels, minigrad_run, folder / "jax"), KERAS_BACKEND="jax"),
    }

    @cache
    def ask(name: str) -> Result:
        out, err = processes[name].communicate(timeout=DEADLINE)
        return Result(processes[name].returncode, out, err)

    yield ask
    ended(processes.values())


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until the process has written `path`."""
    end = time.monotonic() + DEADLINE
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert path.exists(), process.communicate()


@pytest.mark.parametrize("name", ["fit", "jax"])
def test_fit_is_quiet(name: str, outcome: Callable[[str], Result], folder: Path) -> None:
    """TensorFlow's remarks on the machine are no news, on any backend; the run's lines are on stdout."""
    result = outcome(name)
    assert (result.status, result.err) == (0, "")
    assert result.out.strip().splitlines()[-1].startswith("test accuracy")
    assert (folder / name / "metrics.json").exists()


@pytest.mark.parametrize(("name", "said"), [("hidden", "model.hidden: 0; expected"), ("path", "data.path: nowhere")])
def test_a_mistake_ends_with_2_and_one_line(
    name: str, said: str, outcome: Callable[[str], Result], folder: Path
) -> None:
    """No traceback, and nothing of TensorFlow's."""
    result = outcome(name)
    assert (result.status, result.out, len(result.err.splitlines())) == (2, "", 1)
    assert result.err.startswith(f"{cli.PROG}: error: {said}")
    assert not (folder / name).exists()


def test_on_jax_it_is_the_same_training(
    outcome: Callable[[str], Result], folder: Path, pixels: str, minigrad_run: Path, command: Command
) -> None:
    """Batches come by the PyDataset there; from the same weights, the same losses in the same order."""
    assert command("fit", *from_minigrad(pixels, minigrad_run, folder / "tensorflow")).status == 0
    assert outcome("jax").status == 0
    np.testing.assert_allclose(epochs(folder / "jax"), epochs(folder / "tensorflow"), rtol=1e-4)
    for name, array in weights_of(folder / "tensorflow").items():
        np.testing.assert_allclose(weights_of(folder / "jax")[name], array, atol=1e-4, err_msg=name)


def test_killed_it_goes_on_to_the_same_end(pixels: str) -> None:
    """SIGKILL in the middle of `advanced`, with its dropout and Adam; both runs end byte for byte alike."""
    words = ["fit", "--config", "advanced", "--data.path", pixels, "--data.validation_size", "100"]
    words += ["--data.batch_size", "4", "--trainer.max_epochs", "6"]
    killed = started(*words, "--out", "parts")
    try:
        wait_for(Path("parts/checkpoint.safetensors"), killed)
        time.sleep(0.3)  # somewhere in a later epoch
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=DEADLINE)
        assert not Path("parts/metrics.json").exists(), "it must have been killed for this test to say anything"
        again = started(*words, "--out", "parts", "--resume")
        cli.main([*words, "--out", "whole"])
        _, err = again.communicate(timeout=DEADLINE)
    finally:
        ended([killed])
    assert (again.returncode, err) == (0, "")
    same_run("parts", "whole")


def test_ctrl_c_ends_with_130_and_keeps_whole_epochs(easy: str, command: Command) -> None:
    """One line says how to go on, and that goes on."""
    process = started("fit", *flags(easy, "out", "--trainer.max_epochs", "100000"))
    try:
        wait_for(Path("out/checkpoint.safetensors"), process)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
    finally:
        ended([process])
    assert process.returncode == 130
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == 1, err
    done = epochs("out")
    kept = int(lines[0].split(" whole epochs are kept in out")[0].split()[-1])
    assert len(done) - kept in (0, 1)  # the history is written just before the checkpoint
    assert "--out out --resume goes on" in lines[0]
    longer = str(kept + 1)
    assert command("fit", *flags(easy, "out", "--trainer.max_epochs", longer), "--resume").status == 0
    assert epochs("out")[:-1] == done[:kept]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc for what a process has loaded")
def test_ctrl_c_while_it_starts_is_one_line(easy: str) -> None:
    """Importing TensorFlow takes seconds, in which a user may well change their mind."""
    process = started("fit", *flags(easy, "out"))
    try:
        end = time.monotonic() + DEADLINE
        while "tensorflow" not in Path(f"/proc/{process.pid}/maps").read_text() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.5)  # let it make its remarks
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
    finally:
        ended([process])
    # Where it comes while some library executes a string, Python ends by the signal itself; a shell says 130 of both.
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line] == [f"{cli.PROG}: stopped"]
