"""Early stopping: when it stops, and that the weights of the best epoch are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_helpers import call, epochs, flags, kept, measured, same_weights

OVERFIT = ("--model.hidden", "[64]", "--model.learning_rate", "0.3", "--trainer.max_epochs")


@pytest.fixture(scope="module")
def stopped(hard: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stopped") / "out"
    assert call(*flags(hard, out, *OVERFIT, "40", "--early_stopping.patience", "3")) == 0
    return out


def best(out: Path) -> int:
    return int(np.argmin([row[3] for row in epochs(out)])) + 1


def test_it_stops_after_its_patience(stopped: Path) -> None:
    assert len(epochs(stopped)) == best(stopped) + 3 < 40, "otherwise it has not stopped early"


def test_the_best_epochs_weights_are_kept_and_measured(stopped: Path, hard: str) -> None:
    # The same run, made just as long as its best epoch.
    assert call(*flags(hard, "short", *OVERFIT, str(best(stopped)))) == 0
    same_weights("short", stopped)
    assert measured("short")["test_loss"] == measured(stopped)["test_loss"]
    assert measured(stopped)["epochs"] == best(stopped) + 3


def test_the_best_checkpoint_is_the_weights_file(stopped: Path) -> None:
    state = torch.load(stopped / "best.ckpt", weights_only=True)["state_dict"]
    for name, array in kept(stopped).items():
        np.testing.assert_array_equal(state[f"net.{name}"].numpy(), array)


def test_without_it_the_last_epochs_weights_are_kept(hard: str) -> None:
    assert call(*flags(hard, "out", *OVERFIT, "12")) == 0
    assert best(Path("out")) < 12, "otherwise the last epoch is the best"
    state = torch.load("out/last.ckpt", weights_only=True)["state_dict"]
    for name, array in kept("out").items():
        np.testing.assert_array_equal(state[f"net.{name}"].numpy(), array)
