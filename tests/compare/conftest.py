"""Shared fixtures: a small data set, and a complete comparison on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare import cli
from compare.timing import noise


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set of three classes of 5 x 4 pixels: 300 images for training and validation, 90 for testing."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (3, 5, 4))
    arrays = {}
    for part, n in (("train", 300), ("test", 90)):
        labels = np.arange(n) % 3
        noise = rng.normal(0, 40, (n, 5, 4))
        arrays[f"x_{part}"] = np.clip(centres[labels] + noise, 0, 255).astype(np.uint8)
        arrays[f"y_{part}"] = labels
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture(scope="session", autouse=True)
def quiet_machine() -> Iterator[None]:
    """No round counts as disturbed, although other tests run at the same time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "OTHERS", 9.0)
        patch.setattr(noise, "STEAL", 9.0)
        yield


@pytest.fixture(scope="session")
def base_flags(small: str) -> list[str]:
    """Flags of a short comparison on the small data set: one seed, only the closed division.

    With `--allow_noisy`, the exit status does not depend on what else runs on the machine.
    """
    least = ["--seeds", "1", "--sweep", "none", "--allow_noisy"]
    data = ["--data.path", small, "--data.validation_size", "50", "--data.batch_size", "32"]
    return [*data, *least, "--trainer.max_epochs", "3", "--threads", "1"]


@pytest.fixture(scope="session")
def complete(base_flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs a comparison of contenders with two seeds, two divisions and a sweep, and returns its run folder."""

    def run(names: Sequence[str]) -> Path:
        out = tmp_path_factory.mktemp("whole") / "run"
        more = ["--seeds", "2", "--divisions", "[open]", "--sweep", "width", "--widths", "[4, 16]"]
        cli.main([*base_flags, "--contenders", *names, *more, "--out", str(out)])
        return out

    return run


@pytest.fixture(scope="session")
def run_folder(complete: Callable[..., Path]) -> Path:
    """The run folder of a complete comparison of the three contenders that start quickly."""
    return complete(["minigrad", "by_hand", "torch"])


@pytest.fixture(scope="session")
def results(run_folder: Path) -> dict[str, Any]:
    """Its results.json."""
    return json.loads((run_folder / "results.json").read_text())
