"""Checkpoints contain tensors and primitives; other files are refused before code in them can run."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_helpers import call, flags, kept, network, sentence

from lightning_module.model import LitClassifier


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_checkpoint_loads_without_running_code(name: str, run: Path) -> None:
    saved = torch.load(run / name, weights_only=True)
    assert {"state_dict", "hyper_parameters", "optimizer_states"} <= saved.keys()
    assert "weights" not in saved["hyper_parameters"]


def test_a_module_is_restored_from_a_checkpoint(run: Path) -> None:
    module = LitClassifier.load_from_checkpoint(run / "last.ckpt", weights_only=True)
    for name, array in kept(run).items():
        np.testing.assert_array_equal(module.weights()[name], array)


def test_the_initial_weights_file_is_not_in_the_checkpoint(run: Path, easy: str) -> None:
    shutil.copy(run / "weights.safetensors", "start.safetensors")
    words = ("--model.hidden", "[7]", "--model.weights", "start.safetensors")
    assert call(*flags(easy, "out", *words)) == 0
    Path("start.safetensors").unlink()
    words = ("--ckpt_path", "out/last.ckpt", "--trainer.default_root_dir", "tested")
    assert call("test", *network(easy), *words) == 0


class Trap:
    """Creates a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("sprung"),)


def trap(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": {}, "trap": Trap()}))


def trapped_archive(path: Path) -> None:
    torch.save({"state_dict": {}, "trap": Trap()}, path)


@pytest.mark.parametrize("make", [trap, trapped_archive])
@pytest.mark.parametrize("stage", ["fit", "test", "predict"])
def test_a_pickle_under_the_name_of_a_checkpoint_is_refused(make: object, stage: str, easy: str) -> None:
    make(Path("evil.ckpt"))  # type: ignore[operator]
    words = ("--ckpt_path", "evil.ckpt", "--trainer.default_root_dir", "out")
    message = sentence(stage, *network(easy), *words)
    for word in ("--ckpt_path evil.ckpt", "weights_only=True", "expected a checkpoint"):
        assert word in message
    assert not Path("sprung").exists()


@pytest.mark.parametrize("make", [trap, trapped_archive])
@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_pickle_that_is_found_as_last_is_refused_too(make: object, stage: str, run: Path, easy: str) -> None:
    shutil.copytree(run, "out")
    Path("out/metrics.json").unlink()  # unfinished
    make(Path("out/last.ckpt"))  # type: ignore[operator]
    words = ("--model.hidden", "[7]", "--trainer.max_epochs", "6") if stage == "fit" else ("--model.hidden", "[7]")
    message = sentence(stage, *network(easy), *words, "--ckpt_path", "last", "--trainer.default_root_dir", "out")
    assert "last" in message
    assert not Path("sprung").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut"])
def test_a_damaged_checkpoint_is_refused(content: bytes, easy: str) -> None:
    Path("bad.ckpt").write_bytes(content)
    message = sentence(*flags(easy, "out", "--ckpt_path", "bad.ckpt"))
    assert "--ckpt_path bad.ckpt" in message
    assert not Path("out").exists()


def test_a_checkpoint_cut_short_is_refused(run: Path, easy: str) -> None:
    whole = (run / "last.ckpt").read_bytes()
    for cut in (100, len(whole) // 2, len(whole) - 10):
        Path("cut.ckpt").write_bytes(whole[:cut])
        assert "--ckpt_path cut.ckpt" in sentence(*flags(easy, "out", "--ckpt_path", "cut.ckpt"))


def test_a_file_of_tensors_that_is_not_a_checkpoint_is_refused(easy: str) -> None:
    torch.save({"a": torch.ones(2)}, "other.ckpt")
    message = sentence("test", *network(easy), "--ckpt_path", "other.ckpt", "--trainer.default_root_dir", "out")
    assert "other.ckpt" in message
