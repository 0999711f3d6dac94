"""Real processes: exit statuses, Ctrl-C, and what is not imported."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import yaml
from lightning_helpers import PROG, call, epochs, flags, measured, process, same_weights

OVERALL = 200  # seconds that no healthy process comes near


def test_a_mistake_exits_with_2_in_one_sentence(easy: str) -> None:
    # Side by side, since most of each is importing torch.
    wrong = {
        "nowhere.npz": flags("nowhere.npz", "out"),
        "model.hidden: -3": flags(easy, "out", "--model.hidden", "[-3]"),
    }
    started = [(words, process(*argv)) for words, argv in wrong.items()]
    for words, one in started:
        _, err = one.communicate(timeout=OVERALL)
        assert one.returncode == 2
        assert "Traceback" not in err
        last = err.strip().splitlines()[-1]
        assert last.startswith(f"{PROG}: error: ")
        assert words in last
    assert not Path("out").exists()


def test_ctrl_c_keeps_whole_epochs_and_the_run_goes_on(easy: str) -> None:
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


LOOK = """
import sys
from lightning_module.cli import main
main(sys.argv[1:])
print([name for name in ("tensorflow", "keras", "jax") if name in sys.modules])
"""


def test_tensorboard_does_not_bring_tensorflow(easy: str) -> None:
    pytest.importorskip("tensorboard")
    logger = {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": "board"}}
    Path("board.yaml").write_text(yaml.safe_dump({"trainer": {"logger": logger}}))
    looked = process("-c", LOOK, *flags(easy, "out", "--config", "board.yaml"), module=False)
    out, err = looked.communicate(timeout=OVERALL)
    assert looked.returncode == 0, err
    assert out.strip().splitlines()[-1] == "[]"
    assert list(Path("board").rglob("events.out.tfevents.*"))
    assert measured("out")["epochs"] == 3
