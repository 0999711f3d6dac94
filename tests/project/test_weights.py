"""One weights file: trained in each of the three, it gives the same count of right answers in the other two."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

COMMANDS = {
    "minigrad": (["-m", "minigrad.train"], ["-m", "minigrad.train", "--trainer.max_epochs", "0"], "--out"),
    "lightning": (["-m", "lightning_module", "fit"], ["-m", "lightning_module", "test"], "--trainer.default_root_dir"),
    "keras": (["-m", "keras_model", "fit"], ["-m", "keras_model", "test"], "--out"),
}


def run(command: list[str], out_flag: str, out: Path, *more: str) -> dict:
    """The metrics.json of a command."""
    done = subprocess.run(
        [sys.executable, *command, *more, out_flag, str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((out / "metrics.json").read_text())


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images that a small network gets partly wrong, so that equal counts mean something."""
    rng = np.random.default_rng(1)
    centres = rng.integers(60, 200, (4, 6, 6))
    arrays = {}
    for part, n in (("train", 600), ("test", 500)):
        labels = rng.integers(0, 4, n)
        noise = rng.normal(0, 110, (n, 6, 6))
        arrays[f"x_{part}"] = np.clip(centres[labels] + noise, 0, 255).astype(np.uint8)
        arrays[f"y_{part}"] = labels
    path = tmp_path_factory.mktemp("data") / "clouds.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize("trained_in", COMMANDS)
def test_equal_counts(trained_in: str, clouds: str, tmp_path: Path) -> None:
    words = [
        "--data.path",
        clouds,
        "--data.validation_size",
        "100",
        "--data.batch_size",
        "50",
        "--model.hidden",
        "[12, 7]",
    ]
    words += ["--model.dropout", "0.1", "--model.optimizer", "adam", "--model.learning_rate", "0.01"]
    fit, _, out_flag = COMMANDS[trained_in]
    own = run(fit, out_flag, tmp_path / "own", *words, "--trainer.max_epochs", "4")
    assert 0.4 < own["test_accuracy"] < 1
    weights = str(tmp_path / "own/weights.safetensors")
    for name, (_, evaluate, flag) in COMMANDS.items():
        found = run(evaluate, flag, tmp_path / name, *words, "--model.weights", weights)
        assert found["test_correct"] == own["test_correct"], name
        assert found["test_loss"] == pytest.approx(own["test_loss"], rel=1e-5)
        assert found["parameters"] == own["parameters"] == 36 * 12 + 12 + 12 * 7 + 7 + 7 * 4 + 4
