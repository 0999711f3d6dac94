"""The programs of the frameworks' users: they train recipe `simple`, and their lines are counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compare import contenders
from compare.results import source_code
from minigrad import recipes

PROGRAMS = Path(__file__).parents[2] / "examples" / "programs"
HEAVY = ("with_torch", "with_lightning", "with_keras", "with_jax")
EPOCHS = f"\nEPOCHS = {recipes.load('simple').trainer.max_epochs}\n"

COUNTED = '''\
"""A module."""

import numpy as np

# why


@print
def step(
    x,
):
    """What it does.

    Over lines.
    """
    found = [  # as a list
        1,

        2,
    ]
    """a text"""
    return """of
    two lines"""
'''


def test_lines_are_counted_by_the_rule() -> None:
    # The import, the decorator, three of the def, four of the list, two of the return.
    assert source_code.count_lines(COUNTED) == 11


@pytest.mark.parametrize("name", contenders.DEFAULT)
def test_every_default_contender_has_a_program(name: str) -> None:
    text = source_code.program(contenders.find(name).program)
    assert text is not None
    assert 15 < source_code.count_lines(text) < 50


def test_every_program_belongs_to_a_contender() -> None:
    named = {contenders.find(name).program for name in contenders.names()} - {""}
    assert named == {f"programs/{path.stem}" for path in PROGRAMS.glob("*.py")}


def test_a_missing_program_has_no_text() -> None:
    assert source_code.program("programs/with_nothing") is None
    assert source_code.program("") is None


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] * (p.stem in HEAVY)) for p in sorted(PROGRAMS.glob("*.py"))],
)
def test_a_program_trains(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    assert text.count(EPOCHS) == 1
    (folder := tmp_path / "program").mkdir()
    program = folder / path.name
    program.write_text(text.replace(EPOCHS, "\nEPOCHS = 1\n"))
    environment = os.environ | contenders.base.Contender.environment | {"KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 0.88 < float(done.stdout.rpartition("test accuracy: ")[2]) < 0.95
    assert list(folder.iterdir()) == [program]  # it writes no files
