"""Fixtures of these tests: small data sets, and runs that several tests read."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

# Importable however pytest was told to import tests.
sys.path.insert(0, str(Path(__file__).parent))

from lightning_helpers import call, flags, pixels

from minigrad.runs import calibration, curves, pictures, whole_file

# On networks this small, threads cost more than they gain.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the drawings of a run by one small picture: matplotlib would take longer than the training.

    Fixtures of a wider scope, such as `run`, have real drawings.
    """
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")

    def draw(path: Path, *_: Any) -> None:
        with whole_file(path) as draft:
            draft.write_bytes(content.getvalue())

    monkeypatch.setattr(calibration, "draw", draw)
    monkeypatch.setattr(curves, "draw", draw)
    monkeypatch.setattr(pictures, "draw_confusion", draw)
    monkeypatch.setattr(pictures, "draw_mistakes", draw)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """6,000 uint8 images of 4 x 5 pixels in 10 classes to train, as many to test."""
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, **pixels(0, 6000, shape=(4, 5)))
    return str(path)


@pytest.fixture(scope="session")
def larger_images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As `images`, of 8 x 9 pixels, which three poolings of 2 x 2 can halve."""
    path = tmp_path_factory.mktemp("larger_images") / "images.npz"
    np.savez(path, **pixels(0, 6000, shape=(8, 9)))
    return str(path)


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """120 uint8 images of 4 x 5 pixels in 3 classes to train, as many to test."""
    path = tmp_path_factory.mktemp("few") / "few.npz"
    np.savez(path, **pixels(3, 120, 3, (4, 5)))
    return str(path)


@pytest.fixture(scope="session")
def run(easy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the easy data; tests that write to it copy it first."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert call(*flags(easy, out, "--model.hidden", "[7]", "--trainer.max_epochs", "5")) == 0
    return out
