"""The command as a process: its output, the frameworks that it imports, and its end by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from keras_helpers import (
    BACKEND,
    CNN,
    Command,
    Result,
    at,
    complaints,
    contents,
    ended,
    epochs,
    flags,
    moments,
    once,
    same_model,
    same_run,
    slow_except,
    started,
)

import minigrad
from keras_model import cli

pytestmark = [pytest.mark.usefixtures("_undrawn"), slow_except("torch")]

ROOT = Path(minigrad.__file__).parents[1]
DEADLINE = 120  # seconds, far more than a run takes

# Code that a process runs before the command: write the list of its modules at exit ...
TELL = """
import atexit, json, sys

def tell():
    with open({path!r}, "w") as file:
        json.dump(sorted({{name.split(".")[0] for name in sys.modules}}), file)

atexit.register(tell)
"""
# ... or kill itself at the n-th call of a function ...
DIE = """
import os, signal
from keras_model import callbacks

def dying(real, calls=[]):
    def call(*args, **options):
        calls.append(1)
        if len(calls) == {number}:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    return call

callbacks.RunFolder.on_train_batch_end = dying(callbacks.RunFolder.on_train_batch_end)
"""
# ... or kill itself before a file is renamed into place for the second time.
DIE_BEFORE = """
import os, signal
real, seen = os.replace, []

def replace(source, target):
    seen.append(os.path.basename(target))
    if seen.count({name!r}) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)

os.replace = replace
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def advanced(pixels: str) -> list[str]:
    """Arguments of the recipe with dropout and Adam, with several calls of steps per epoch; the folder is missing."""
    words = ["fit", "--config", "advanced", "--data.path", pixels, "--data.validation_size", "1000"]
    return [*words, "--data.batch_size", "4", "--trainer.max_epochs", "3", "--out"]


@pytest.fixture(scope="module")
def processes(folder: Path, easy: str, advanced: list[str]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Started together, since most of the time is the start."""
    begun = {
        "fit": started(
            *("fit", *flags(easy, folder / "fit", "--trainer.max_epochs", "1", "--tensorboard")),
            first=TELL.format(path=str(folder / "loaded.json")),
            JAX_ENABLE_COMPILATION_CACHE="false",  # the default
            TF_CPP_MIN_LOG_LEVEL="2",  # a user's setting: TensorFlow's errors
        ),
        "endless": started("fit", *flags(easy, folder / "endless", "--trainer.max_epochs", "100000")),
    }
    if BACKEND == "torch":
        words = [*advanced, str(folder / "killed")]
        begun["killed"] = started(*words, first=DIE.format(number=150 + 75))
    yield begun
    ended(begun.values())


@pytest.fixture(scope="module")
def outcome(processes: dict[str, subprocess.Popen[str]]) -> Callable[[str], Result]:
    """The result of one of them."""

    @cache
    def ask(name: str) -> Result:
        out, err = processes[name].communicate(timeout=DEADLINE)
        return Result(processes[name].returncode, out, err)

    return ask


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until the process has written `path`."""
    end = time.monotonic() + DEADLINE
    while not path.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert path.exists(), process.communicate()


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_keeps_completed_epochs(
    processes: dict[str, subprocess.Popen[str]],
    outcome: Callable[[str], Result],
    folder: Path,
    easy: str,
    command: Command,
) -> None:
    """The message says how to resume the run, which works."""
    out = str(folder / "endless")
    wait_for(Path(out, "checkpoint.safetensors"), processes["endless"])
    time.sleep(0.2)
    processes["endless"].send_signal(signal.SIGINT)
    result = outcome("endless")
    assert result.status == 130
    lines = complaints(result.err)
    assert len(lines) == 1, result.err
    done = epochs(out)
    kept = int(lines[0].split(f" completed epochs are kept in {out}")[0].split()[-1])
    assert len(done) - kept in (0, 1)  # the history is written just before the checkpoint
    assert f"--out {out} --resume continues" in lines[0]
    longer = str(kept + 1)
    assert command("fit", *flags(easy, out, "--trainer.max_epochs", longer), "--resume").status == 0
    assert epochs(out)[:-1] == done[:kept]


def test_fit_is_quiet(outcome: Callable[[str], Result], folder: Path) -> None:
    """Messages of the framework are hidden, also that there is no GPU; the lines about the run are on stdout."""
    result = outcome("fit")
    assert (result.status, complaints(result.err)) == (0, [])
    assert result.out.strip().splitlines()[-1].startswith("test accuracy")
    assert (folder / "fit" / "metrics.json").exists()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the level is TensorFlow's")
def test_a_message_of_tensorflow_after_its_start_is_shown() -> None:
    """At the level that the user has set."""
    code = (
        "import keras_model; keras_model.fit\n"
        "import tensorflow as tf\n"
        "tf.function(lambda: tf.io.read_file('missing'))()"
    )
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "op_kernel" in done.stderr.splitlines()[0], done.stderr
    assert "cuInit" not in done.stderr
    assert "NotFoundError" in done.stderr


def test_fit_loads_one_framework_alone(outcome: Callable[[str], Result], folder: Path) -> None:
    """Also with TensorBoard. Torch and TensorFlow in one process can hang. Keras itself imports JAX."""
    assert outcome("fit").status == 0
    loaded = set(json.loads((folder / "loaded.json").read_text()))
    assert {"keras", BACKEND} <= loaded
    assert loaded & {"tensorflow", "torch"} == {BACKEND} - {"jax"}


@once
def test_killed_within_an_epoch_it_can_be_resumed(
    outcome: Callable[[str], Result], folder: Path, advanced: list[str], command: Command
) -> None:
    """SIGKILL in the second epoch of `advanced`, which has 150 steps; the resumed run equals one that was never killed."""
    out = str(folder / "killed")
    assert outcome("killed").status == -signal.SIGKILL
    assert len(epochs(out)) == 1
    assert command(*advanced, out, "--resume").status == 0
    assert command(*advanced, "whole").status == 0
    same_run(out, "whole")
    same_model(out, "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weights.safetensors", "model.keras", "checkpoint.safetensors"])
def test_a_copy_of_the_folder_is_what_sigkill_leaves(name: str, pixels: str, command: Command) -> None:
    """test_resume.py resumes from copies. The draft differs: here it is complete, and named after its process."""
    words = ("fit", *flags(pixels, "", *CNN, "--data.validation_size", "1500"))
    process = started(*words, "--out", "killed", first=DIE_BEFORE.format(name=name))
    try:
        process.communicate(timeout=DEADLINE)
    finally:
        ended([process])
    assert process.returncode == -signal.SIGKILL
    whole = Path("whole/out")
    with moments(whole):
        assert command(*words, "--out", str(whole)).status == 0
    killed, copy = contents("killed"), contents(at(whole, name, 2, "before"))
    assert len(killed) == len(copy)
    for file in ("checkpoint.safetensors", "metrics.csv", "recipe.yaml", "weights.safetensors"):
        assert killed[file] == copy[file], file
    assert epochs("killed") == epochs(at(whole, name, 2, "before"))
    assert command(*words, "--out", "killed", "--resume").status == 0
    same_run("killed", whole)
    same_model("killed", whole)


@once
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads the libraries of a process from /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_while_it_starts_is_one_line(number: signal.Signals, easy: str) -> None:
    """Importing a framework takes seconds, in which a user may press Ctrl-C."""
    process = started("fit", *flags(easy, "out"))
    try:
        end = time.monotonic() + DEADLINE
        while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.1)
        process.send_signal(number)
        _, err = process.communicate(timeout=DEADLINE)
    finally:
        ended([process])
    assert process.returncode == 128 + number
    assert [line for line in err.splitlines() if line] == [f"{cli.PROG}: stopped"]
    assert not Path("out").exists()
