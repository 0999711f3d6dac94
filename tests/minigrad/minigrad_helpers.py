"""Plain functions that several of these tests call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from minigrad.runs import UserError


def clouds(seed: int, count: int, spread: float, classes: int = 3, width: int = 6) -> dict[str, np.ndarray]:
    """Gaussian clouds, one a class, as the four arrays of an .npz; a fifth of them is for testing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    vectors = (rng.normal(0, 2, (classes, width))[labels] + rng.normal(0, spread, (count, width))).astype(np.float32)
    cut = count * 4 // 5
    return {"x_train": vectors[:cut], "y_train": labels[:cut], "x_test": vectors[cut:], "y_test": labels[cut:]}


def flags(data: str, out: str | Path, *more: str) -> list[str]:
    """The command's words for a small run."""
    return [
        *("--data.path", data, "--data.batch_size", "16", "--data.validation_size", "30"),
        *("--trainer.max_epochs", "3", "--out", str(out), *more),
    ]


class Result(NamedTuple):
    """How the command ended and what it said."""

    status: int
    out: str
    err: str


Command = Callable[..., Result]


def sentence_of(call: Callable[[], object]) -> str:
    """The one line of the UserError that `call` raises, without a warning beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError) as caught:
            call()
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text
