"""The command diff: its help, its exit status for an invalid request, and files that it must not replace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import compare
from compare import cli
from compare.porting.map_file import dump
from compare.testing import assert_models_match
from minigrad.runs import UserError

MODEL = "def model():\n    return None\n"


@pytest.fixture
def side(tmp_path: Path) -> str:
    file = tmp_path / "model.py"
    file.write_text(MODEL)
    return f"torch:{file}:model"


def test_the_help_says_that_the_files_are_executed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["diff", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "The Python files LEFT and RIGHT are executed" in text
    assert "The exit status is 0 if the models are equal, 1 if they differ, and 2 if the request is invalid" in text
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "python -m compare diff LEFT RIGHT" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--input-shape", "3x32"], "--input-shape: 3x32; expected whole numbers from 1, such as 3,32,32"),
        (["--steps", "-1"], "--steps: -1; expected 0 or more"),
        (["--mode", "slow"], "free"),
        (["--copy-weights", "both"], "none"),
        (["--copy_weights", "left"], "unknown option --copy_weights; expected perhaps --copy-weights"),
        (["--stesp=1"], "unknown option --stesp=1; expected perhaps --steps"),
        (["--out", ""], "--out: ''; expected a folder"),
    ],
)
def test_an_invalid_option_is_refused(side: str, flags: list[str], words: str) -> None:
    with pytest.raises(UserError) as error:
        cli.main(["diff", side, side, *flags])
    assert words in str(error.value)


def test_a_side_in_another_form_is_refused(side: str) -> None:
    with pytest.raises(UserError, match=r"expected torch:FILE\.py:FUNCTION or keras:FILE\.py:FUNCTION"):
        compare.diff("jax:model.py:model", side)


def test_a_file_that_the_command_did_not_write_is_not_replaced(side: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("map.yaml", "ported.pt"):
        (out / name).write_text(dump([]))
        with pytest.raises(UserError, match=f"holds {name}, which this package did not write"):
            compare.diff(side, side, copy_weights="left", out=out, overwrite=True)
        assert (out / name).read_text() == dump([])
        (out / name).unlink()


TORCH = """
import torch
from torch import nn

def model(activation=nn.ReLU):
    return nn.Sequential(nn.Linear(6, 5), activation(), nn.Linear(5, 3))

def port():
    return model(nn.Tanh)
"""


@pytest.mark.slow
def test_two_models_in_their_own_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "torch_models.py", tmp_path / "out"
    file.write_text(TORCH)
    left, right = f"torch:{file}:model", f"torch:{file}:port"
    options = {"input_shape": (6,), "copy_weights": "left"}
    assert assert_models_match(left, left, steps=1, optimizer="adam", **options).equal
    with pytest.raises(AssertionError) as error:
        assert_models_match(left, right, **options)
    argv = ["diff", left, right, "--input-shape", "6", "--copy-weights", "left", "--out", str(out)]
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 1
    explanation = json.loads((out / "diff.json").read_text())["explanation"]
    assert "computes tanh where" in explanation
    assert explanation in str(error.value)
    assert explanation in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"diff.html", "diff.json", "map.yaml", "ported.pt", ".files.json"}
    with pytest.raises(UserError, match=r"already holds diff\.json; expected another folder or --overwrite"):
        cli.main(argv)
