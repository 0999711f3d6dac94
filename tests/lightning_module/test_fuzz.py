"""Damaged checkpoints of Lightning are refused in one sentence, or hold what a checkpoint must hold."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzing import ANY, archive, change_value, fuzz, require
from lightning_helpers import call, network, sentence

from lightning_module.checkpoints import read_checkpoint
from minigrad.runs import UserError


def resaved(content: bytes, dice: random.Random) -> bytes:
    """Change a value of a checkpoint, often in the parts that this package reads."""
    checkpoint = torch.load(io.BytesIO(content), weights_only=True)
    part = dice.choice(("", "", "hyper_parameters", "state_dict", "callbacks"))
    if part == "callbacks" and dice.random() < 0.7:
        state = checkpoint["callbacks"]
        state["RunFolder"] = change_value(state["RunFolder"], dice)
    elif part:
        checkpoint[part] = change_value(checkpoint[part], dice)
    else:
        checkpoint = change_value(checkpoint, dice)
    if part == "state_dict" and dice.random() < 0.5 and isinstance(checkpoint[part], dict) and checkpoint[part]:
        tensors = (torch.ones(3), torch.full((7, 6), torch.nan), torch.ones(7, 6, dtype=torch.int8), torch.ones(1))
        name = dice.choice(list(checkpoint[part]))
        checkpoint[part][name] = dice.choice((*tensors, torch.ones(1).expand(10**6, 10**4)))
    out = io.BytesIO()
    torch.save(checkpoint, out)
    return out.getvalue()


def run_fuzz(run: Path, count: int) -> None:
    good = (run / "last.ckpt").read_bytes()
    mutations = (archive(), resaved, resaved, resaved, *ANY)
    require([fuzz("Lightning checkpoint", read_checkpoint, Path("a.ckpt"), [(good, mutations)], count)], count)


def test_a_damaged_checkpoint_is_read_or_refused(run: Path) -> None:
    run_fuzz(run, 60)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_six_thousand_damaged_checkpoints_are_read_or_refused(run: Path) -> None:
    run_fuzz(run, 6_000)


def rewritten(good: Path, path: Path, **values: Any) -> str:
    """Save a checkpoint with other values; `None` removes a key."""
    checkpoint = torch.load(good, weights_only=True)
    for name, value in values.items():
        checkpoint[name] = value
    torch.save(checkpoint, path)
    return str(path)


@pytest.mark.parametrize(
    "change",
    [
        {"hyper_parameters": None},
        {"hyper_parameters": {"input_shape": (6,), "classes": 3, "input_scale": 1.0, "hidden": [20_000, 20_000]}},
        {"hyper_parameters": {"input_shape": (6,), "classes": 3, "input_scale": 1.0, "channels": [1] * 10**6}},
        {"hyper_parameters": {"input_shape": (10**9,) * 9, "classes": 10**9, "input_scale": 1.0}},
        {"callbacks": {"RunFolder": {"epochs": [{"epoch": 0}]}}},
        {"callbacks": [1]},
        {"state_dict": None},
        {"state_dict": {"net.output.weight": torch.ones(1).expand(10**6, 10**6)}},
        {"epoch": -1},
        {"pytorch-lightning_version": [2]},
        {"loops": 3},
        {"optimizer_states": [None]},
    ],
    ids=lambda change: str(change)[:60],
)
def test_a_checkpoint_with_other_values_is_refused(change: dict[str, Any], run: Path, easy: str) -> None:
    path = rewritten(run / "last.ckpt", Path("bad.ckpt"), **change)
    message = sentence("test", *network(easy), "--ckpt_path", path, "--trainer.default_root_dir", "out")
    assert "--ckpt_path bad.ckpt: cannot be loaded" in message
    assert len(message) < 2200


def with_pickle(good: Path, instructions: bytes) -> Path:
    """Write a checkpoint with other pickle instructions."""
    with zipfile.ZipFile(good) as before, zipfile.ZipFile("bad.ckpt", "w") as after:
        for info in before.infolist():
            after.writestr(info, instructions if info.filename.endswith("data.pkl") else before.read(info))
    return Path("bad.ckpt")


# Pickles of a few bytes that `weights_only=True` executes: a gigabyte of zeros, and 2^60 elements in nested tuples.
ZEROS = b"\x80\x02cbuiltins\nbytearray\n" + b"J" + struct.pack("<i", 10**9) + b"\x85R."
TUPLES = b"\x80\x02}K\x01q\x00" + b"".join(
    b"h" + bytes([i]) * 1 + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)
)


@pytest.mark.parametrize("instructions", [ZEROS, TUPLES + b"K\x01s."], ids=["zeros", "tuples"])
def test_instructions_that_allocate_more_than_the_file_are_refused(instructions: bytes, run: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded"):
        read_checkpoint(with_pickle(run / "last.ckpt", instructions))


def test_states_of_other_callbacks_and_optimizers_are_read(run: Path) -> None:
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(40)]
    optimizer = torch.optim.AdamW([{"params": [weight]} for weight in weights])  # all groups share the tuple `betas`
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    checkpoint["callbacks"]["Mine"] = {"seen": {1, 2}, "number": 1j, "pair": (1, (2, 3)), "device": torch.device("cpu")}
    checkpoint["optimizer_states"] = [optimizer.state_dict()]
    torch.save(checkpoint, "other.ckpt")
    assert read_checkpoint(Path("other.ckpt"))["callbacks"]["Mine"] == checkpoint["callbacks"]["Mine"]


def test_a_compressed_checkpoint_is_refused(run: Path) -> None:
    with zipfile.ZipFile(run / "last.ckpt") as before, zipfile.ZipFile("bad.ckpt", "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            after.writestr(name, before.read(name) + bytes(10**6))
    with pytest.raises(UserError, match="compressed"):
        read_checkpoint(Path("bad.ckpt"))


def test_a_checkpoint_is_still_read(run: Path, easy: str) -> None:
    assert read_checkpoint(run / "best.ckpt")["epoch"] >= 0
    words = ("--ckpt_path", str(run / "last.ckpt"), "--trainer.default_root_dir", "out")
    assert call("test", *network(easy), *words) == 0
