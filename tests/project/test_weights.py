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
# The flags of a network, and its parameters counted by hand: running statistics are none.
NETWORKS = {
    "mlp": (
        ["--model.hidden", "[12, 7]", "--model.dropout", "0.1"],
        36 * 12 + 12 + 12 * 7 + 7 + 7 * 4 + 4,
    ),
    "cnn with batch norm": (
        [
            *("--model.architecture", "cnn", "--model.channels", "[3, 5]", "--model.kernel_size", "3"),
            *("--model.hidden", "[7]", "--model.batch_norm", "true", "--data.augment", "shift"),
        ],
        1 * 3 * 9 + 2 * 3 + 3 * 5 * 9 + 2 * 5 + 5 * 7 + 2 * 7 + 7 * 4 + 4,
    ),
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


# Each pair is three processes that load a framework; one network, trained in one package, is enough for `make test`.
FAST = ("keras", "cnn with batch norm")
PAIRS = [
    (name, network) if (name, network) == FAST else pytest.param(name, network, marks=pytest.mark.slow)
    for name in COMMANDS
    for network in NETWORKS
]


@pytest.mark.parametrize(("trained_in", "network"), PAIRS)
def test_equal_counts(trained_in: str, network: str, clouds: str, tmp_path: Path) -> None:
    flags, parameters = NETWORKS[network]
    words = ["--data.path", clouds, "--data.validation_size", "100", "--data.batch_size", "50", *flags]
    words += ["--model.optimizer", "adam", "--model.learning_rate", "0.01"]
    fit, _, out_flag = COMMANDS[trained_in]
    own = run(fit, out_flag, tmp_path / "own", *words, "--trainer.max_epochs", "4")
    assert 0.3 < own["test_accuracy"] < 1  # chance is a quarter
    assert own["parameters"] == parameters
    weights = str(tmp_path / "own/weights.safetensors")
    for name, (_, evaluate, flag) in COMMANDS.items():
        if name != trained_in:
            found = run(evaluate, flag, tmp_path / name, *words, "--model.weights", weights)
            assert found["test_correct"] == own["test_correct"], name
            assert found["test_loss"] == pytest.approx(own["test_loss"], rel=1e-5)
            assert found["test_ece"] == pytest.approx(own["test_ece"], abs=1e-5)
            for other, bin_ in zip(found["test_calibration"], own["test_calibration"], strict=True):
                assert other == (pytest.approx(bin_, rel=1e-5) if bin_["images"] else bin_)
            assert (tmp_path / name / "reliability.png").exists()
            assert found["parameters"] == parameters
