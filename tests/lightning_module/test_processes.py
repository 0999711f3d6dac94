"""Real processes: exit statuses, Ctrl-C, and modules that must not be imported."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
import yaml
from killing import forked
from lightning_helpers import PROG, call, epochs, flags, measured, process, same_weights

from lightning_module.cli import main

OVERALL = 200  # seconds that no healthy process comes near


def test_a_user_error_exits_with_2_and_one_sentence() -> None:
    running = process(*flags("nowhere.npz", "out"))
    _, err = running.communicate(timeout=OVERALL)
    assert running.returncode == 2
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith(f"{PROG}: error: ")
    assert "nowhere.npz" in last
    assert not Path("out").exists()


def test_ctrl_c_keeps_completed_epochs_and_the_run_resumes(easy: str) -> None:
    running = process(*flags(easy, "out", "--trainer.max_epochs", "100000"))
    patience = time.monotonic() + OVERALL
    while not Path("out/last.ckpt").exists() or len(epochs("out")) < 3:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < patience
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=OVERALL)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith(f"{PROG}: stopped; ")
    assert "--out out --ckpt_path last" in err
    before = epochs("out")
    assert len(before) >= 3
    words = ("--trainer.max_epochs", str(len(before) + 2))
    assert call(*flags(easy, "out", *words, "--ckpt_path", "last")) == 0
    assert len(epochs("out")) == len(before) + 2
    assert epochs("out")[: len(before) - 1] == before[:-1]
    assert call(*flags(easy, "whole", *words)) == 0
    same_weights("out", "whole")
    assert epochs("out") == epochs("whole")


def fit_and_list_frameworks(argv: list[str]) -> None:
    main(argv)
    imported = [name for name in ("tensorflow", "keras", "jax") if name in sys.modules]
    Path("imported.txt").write_text(" ".join(imported))


def test_tensorboard_does_not_import_tensorflow(easy: str) -> None:
    pytest.importorskip("tensorboard")
    logger = {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": "board"}}
    Path("board.yaml").write_text(yaml.safe_dump({"trainer": {"logger": logger}}))
    assert forked(fit_and_list_frameworks, flags(easy, "out", "--config", "board.yaml")) == 0
    assert Path("imported.txt").read_text() == ""
    assert list(Path("board").rglob("events.out.tfevents.*"))
    assert measured("out")["epochs"] == 3
