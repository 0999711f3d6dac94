"""What the tests of the project share: a copy of the packages with little data."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

# Found here however pytest was told to import tests.
sys.path.insert(0, str(Path(__file__).parent))

from pages import ROOT

PACKAGES = ("minigrad", "lightning_module", "keras_model", "compare")


@pytest.fixture(scope="session")
def small_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the four packages, in which `mnist` has 2,000 training and 500 test images."""
    folder = tmp_path_factory.mktemp("packages")
    skip = shutil.ignore_patterns("__pycache__", "mnist.npz")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=skip)
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=skip)
    with np.load(ROOT / "minigrad/datasets/mnist.npz") as full:
        sizes = {"x_train": 2000, "y_train": 2000, "x_test": 500, "y_test": 500}
        np.savez(folder / "minigrad/datasets/mnist.npz", **{name: full[name][:n] for name, n in sizes.items()})
    return folder
