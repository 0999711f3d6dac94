"""Two processes on one machine: each image once per epoch, one network, one run folder, no process left running."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from lightning_helpers import CNN, PROG, call, contents, epochs, flags, kept, measured, network, process, same_weights

import minigrad.runs.history as history

OVERALL = 200  # seconds that no healthy process comes near
DDP = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")

# The command, with a log of the indices that each rank draws, and of the weights at its end.
LOGGING = """
import os, sys
import numpy as np
from lightning_module.cli import main
from lightning_module.data import InMemory
from lightning_module.model import LitClassifier

rank, real = os.environ.get("LOCAL_RANK", "0"), InMemory.__getitems__

def draw(self, indices):
    with open(f"drawn-{rank}", "a") as file:
        print(len(self), *indices, file=file)
    return real(self, indices)

def on_train_end(self):
    np.savez(f"rank-{rank}.npz", **self.weights())

InMemory.__getitems__, LitClassifier.on_train_end = draw, on_train_end
main(sys.argv[1:])
"""


def ended(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit status, stdout and stderr of a process; fail if it does not end."""
    try:
        out, err = running.communicate(timeout=OVERALL)
    except subprocess.TimeoutExpired:
        running.terminate()  # a launcher passes it on
        running.wait(60)
        raise
    return running.returncode, out, err


def logged(*words: str, launcher: Sequence[str] = ()) -> str:
    """Run the command with the log; return what it printed."""
    Path("logging_fit.py").write_text(LOGGING)
    status, out, err = ended(process(*launcher, "logging_fit.py", *words, module=False))
    assert status == 0, err
    return out


def drawn(rank: int, size: int, share: int) -> list[list[int]]:
    """Return the indices that a rank drew from `size` training images, one list of `share` indices per epoch."""
    rows = [[int(word) for word in line.split()] for line in Path(f"drawn-{rank}").read_text().splitlines()]
    flat = [index for row in rows if row[0] == size for index in row[1:]]
    assert len(flat) % share == 0
    return [flat[at : at + share] for at in range(0, len(flat), share)]


def same_on_both_ranks() -> None:
    first, second = np.load("rank-0.npz"), np.load("rank-1.npz")
    for name, array in kept("out").items():
        assert array.tobytes() == first[name].tobytes() == second[name].tobytes(), name


def close(a: str, b: str) -> None:
    """Check that two runs are equal up to rounding: their sums are computed in different orders."""
    for name, array in kept(b).items():
        np.testing.assert_allclose(kept(a)[name], array, rtol=0, atol=1e-6)
    x, y = history.read(Path(a, "history.csv")), history.read(Path(b, "history.csv"))
    assert [e.epoch for e in x] == [e.epoch for e in y]
    np.testing.assert_allclose([e.train_loss for e in x], [e.train_loss for e in y], rtol=1e-5)
    np.testing.assert_allclose([e.val_loss for e in x], [e.val_loss for e in y], rtol=1e-5)  # type: ignore[arg-type]


@pytest.mark.slow
def test_each_image_is_drawn_once_per_epoch_and_an_odd_one_is_skipped(hard: str) -> None:
    output = logged(*flags(hard, "out", "--data.validation_size", "29", *DDP))
    assert output.count("91 images on 2 devices: 1 skipped per epoch, different ones in each") == 1
    ranks = [drawn(rank, 91, 45) for rank in (0, 1)]
    assert [len(rank) for rank in ranks] == [3, 3]
    both = [first + second for first, second in zip(*ranks, strict=True)]
    assert all(len(set(epoch)) == 90 for epoch in both)
    assert len({tuple(epoch) for epoch in both}) == 3, "a new order in each epoch"
    assert len({(set(range(91)) - set(epoch)).pop() for epoch in both}) > 1, "different ones"
    same_on_both_ranks()
    # The folder has one run without test metrics; the printed command tests on one device.
    assert [row[0] for row in epochs("out")] == [1, 2, 3]
    assert {"last.ckpt", "best.ckpt", "recipe.yaml", "curves.png"} < contents("out").keys()
    assert not Path("out/metrics.json").exists()
    assert not list(Path().rglob("lightning_logs")) + list(Path().glob("runs"))
    printed = [line for line in output.splitlines() if PROG in line]
    assert len(printed) == 1, output
    before = contents("out")
    assert call(*printed[0].split(PROG)[1].split(), *network(hard)[6:]) == 0
    assert measured("out")["test_images"] == 30
    assert {name: text for name, text in contents("out").items() if name in before} == before


@pytest.mark.slow
def test_under_torchrun_two_processes_equal_one_with_batches_twice_as_large(few: str) -> None:
    words = ("--data.augment", "shift", "--model.optimizer", "adam", "--model.learning_rate", "0.003")
    both = ("--data.validation_size", "24", "--data.batch_size")
    logged(*flags(few, "out", *words, *both, "16", "--trainer.devices", "2"), launcher=TORCHRUN)
    assert call(*flags(few, "one", *words, *both, "32")) == 0
    ranks = [drawn(rank, 96, 48) for rank in (0, 1)]
    assert [sorted(first + second) for first, second in zip(*ranks, strict=True)] == [list(range(96))] * 3
    same_on_both_ranks()
    close("out", "one")


@pytest.mark.slow
def test_two_processes_equal_one_with_batches_twice_as_large(easy: str) -> None:
    words = ("--data.validation_size", "32", "--model.hidden", "[7]")
    status, out, err = ended(process(*flags(easy, "two", *words, "--data.batch_size", "16", *DDP)))
    assert status == 0, err
    assert call(*flags(easy, "one", *words, "--data.batch_size", "32")) == 0
    close("two", "one")
    # The printed command tests on one device.
    assert not Path("two/metrics.json").exists()
    printed = [line for line in out.splitlines() if PROG in line]
    assert len(printed) == 1, out
    how = printed[0].split(PROG)[1].split()
    assert how[0] == "test"
    assert call(*how, *network(easy)[6:]) == 0
    assert measured("two")["test_correct"] == measured("one")["test_correct"]


SHIFTED = ("--data.augment", "shift", "--model.optimizer", "adam", "--model.learning_rate", "0.003")
# Without batch norm, whose statistics are each device's own.
CONVOLUTIONS = (*CNN, "--model.batch_norm", "false", "--model.learning_rate", "0.003")
ACCUMULATED = ("--trainer.accumulate_grad_batches", "2", "--model.momentum", "0.9")


@pytest.mark.slow
@pytest.mark.parametrize("words", [SHIFTED, CONVOLUTIONS, ACCUMULATED], ids=["shifted", "cnn", "accumulated"])
def test_the_same_for_other_networks(words: Sequence[str], few: str) -> None:
    both = (*words, "--data.validation_size", "24", "--data.batch_size")
    status, _, err = ended(process(*flags(few, "two", *both, "16", *DDP)))
    assert status == 0, err
    assert call(*flags(few, "one", *both, "32")) == 0
    close("two", "one")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), TORCHRUN], ids=["ddp", "torchrun"])
def test_two_processes_resume_exactly(launcher: Sequence[str], few: str) -> None:
    words = ("--model.dropout", "0.4", "--model.hidden", "[12, 8]", "--data.augment", "shift", *DDP)
    logged(*flags(few, "whole", *words), launcher=launcher)
    # Stopped by a limit of epochs.
    logged(*flags(few, "parts", *words, "--trainer.max_epochs", "2"), launcher=launcher)
    assert len(epochs("parts")) == 2
    logged(*flags(few, "parts", *words, "--ckpt_path", "last"), launcher=launcher)
    assert epochs("parts") == epochs("whole")
    same_weights("parts", "whole")


@pytest.mark.slow
def test_validation_on_two_devices_equals_one(run: Path, easy: str) -> None:
    # 31 images: one device has one more than the other, and with these batches a batch more.
    words = ("validate", *network(easy), "--data.validation_size", "31", "--data.batch_size", "15")
    words = (*words, "--ckpt_path", str(run / "last.ckpt"), "--trainer.default_root_dir")
    results = []
    for devices in (("--trainer.devices", "1"), DDP):
        status, out, err = ended(process(*words, "out", *devices))
        assert status == 0, err
        lines = [line.split() for line in out.splitlines() if "val_loss" in line or "val_accuracy" in line]
        assert len(lines) == 2, out
        results.append({name: float(value) for name, value in ([w for w in line if w[0] != "│"] for line in lines)})
    assert results[1]["val_accuracy"] == results[0]["val_accuracy"]
    assert results[1]["val_loss"] == pytest.approx(results[0]["val_loss"], rel=1e-5)


MISTAKES = {
    "nowhere.npz": ("--data.path", "nowhere.npz"),
    "model.hidden: -3": ("--model.hidden", "[-3]"),
    "absent.ckpt": ("--ckpt_path", "absent.ckpt"),
    "batch_size": ("--data.batch_size", "1000"),
}


@pytest.mark.slow
@pytest.mark.parametrize("named", MISTAKES)
@pytest.mark.parametrize("launcher", [(), TORCHRUN], ids=["ddp", "torchrun"])
def test_a_user_error_ends_both_processes_with_one_sentence(launcher: Sequence[str], named: str, easy: str) -> None:
    words = flags(easy, "out", *DDP, *MISTAKES[named])
    status, _, err = ended(process(*launcher, "-m", "lightning_module", *words, module=False))
    assert status == (1 if launcher else 2)  # torchrun's own
    errors = [line for line in err.splitlines() if line.startswith(f"{PROG}: error: ")]
    assert 1 <= len(errors) <= 2, err
    assert all(named in line for line in errors)
    if not launcher:
        assert "Traceback" not in err
    assert not Path("out").exists()


def alive(group: int) -> list[str]:
    """Return the processes of a group, without zombies."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def children(group: int, parent: int) -> list[int]:
    """Return the processes of a group, without its first."""
    listed = subprocess.run(["pgrep", "-g", str(group)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split() if int(word) != parent]


ENDS = [
    *((signal.SIGINT, whom, 0.0) for whom in ("all", "the first")),
    # At 9 moments, since a rank may be within a collective operation or in the middle of a checkpoint.
    *((signal.SIGTERM, whom, 0.05 + 0.23 * i) for whom in ("all", "the first", "another") for i in range(3)),
    (signal.SIGHUP, "all", 0.1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "whom", "delay"), ENDS)
def test_a_signal_leaves_no_process_behind(number: signal.Signals, whom: str, delay: float, easy: str) -> None:
    # A terminal sends it to the whole group, `kill` and most supervisors to the process that they started.
    before, group = os.getpgid(0), 0
    running = process(*flags(easy, "out", "--trainer.max_epochs", "100000", *DDP), group=True)
    try:
        patience = time.monotonic() + OVERALL
        while not Path("out/last.ckpt").exists():
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < patience
            time.sleep(0.05)
        group = os.getpgid(running.pid)
        assert group not in (before, 0)
        assert len(alive(group)) >= 2
        time.sleep(delay)
        if whom == "all":
            os.killpg(group, number)
        else:
            os.kill(running.pid if whom == "the first" else children(group, running.pid)[-1], number)
        status, _, err = ended(running)
        assert status == 128 + number, err
        assert "completed epochs are kept in out" in err
        assert "Traceback" not in err
        while alive(group) and time.monotonic() < patience:
            time.sleep(0.05)
        assert alive(group) == []
        assert [path.name for path in Path("out").glob(".*")] == [".files.json"]
    finally:
        if group and alive(group):
            os.killpg(group, signal.SIGKILL)
