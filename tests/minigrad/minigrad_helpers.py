"""Plain functions that several of these tests call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from shared import Command, Result, clouds  # noqa: F401 (for those who import from here)

from minigrad.runs import UserError


def flags(data: str, out: str | Path, *more: str) -> list[str]:
    """The command's words for a small run."""
    return [
        *("--data.path", data, "--data.batch_size", "16", "--data.validation_size", "30"),
        *("--trainer.max_epochs", "3", "--out", str(out), *more),
    ]


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
