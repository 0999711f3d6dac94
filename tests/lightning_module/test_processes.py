"""Real processes: exit statuses, Ctrl-C, and modules that must not be imported."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from killing import forked
from lightning_helpers import PROG, call, epochs, flags, measured, process, same_run, same_weights

from lightning_module.cli import main
from minigrad.runs import run_command

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


def fit_until_terminated(argv: list[str]) -> None:
    """Run the command; in its 10th training step, it receives SIGTERM."""
    from lightning_module.model import LitClassifier

    real, steps = LitClassifier.training_step, []

    def step(self: LitClassifier, *args: Any) -> Any:
        steps.append(1)
        if len(steps) == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, *args)

    LitClassifier.training_step = step  # type: ignore[method-assign]
    sys.exit(run_command(PROG, main, argv))


def test_sigterm_ends_like_ctrl_c_and_the_run_resumes(few: str) -> None:
    assert forked(fit_until_terminated, flags(few, "out")) == 143
    assert len(epochs("out")) == 1
    assert [path.name for path in Path("out").glob(".*")] == [".files.json"]
    assert call(*flags(few, "out", "--ckpt_path", "last")) == 0
    assert call(*flags(few, "whole")) == 0
    same_run("out", "whole")


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
