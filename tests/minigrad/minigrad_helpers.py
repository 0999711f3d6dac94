"""Plain functions that several of these tests call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared import Command, Result, clouds, complaints  # noqa: F401 (for those who import from here)

from minigrad import recipes
from minigrad.classifier import Classifier
from minigrad.runs import UserError, weights


class _OptionalTorch:
    """PyTorch, imported on first use; a test that uses it is skipped if PyTorch is not installed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # requested by pytest while it collects tests
            raise AttributeError(name)
        module = pytest.importorskip("torch")
        module.set_num_threads(1)
        return getattr(module, name)


torch: Any = _OptionalTorch()


def flags(data: str, out: str | Path, *more: str) -> list[str]:
    """The command's words for a small run."""
    return [
        *("--data.path", data, "--data.batch_size", "16", "--data.validation_size", "30"),
        *("--trainer.max_epochs", "3", "--out", str(out), *more),
    ]


def save_network(path: Path, shape: tuple[int, ...], classes: int, scale: float, **model: Any) -> Classifier:
    """Write a network's weights as a run leaves them; batch norm is no longer where it started."""
    recipe = recipes.Recipe(model=recipes.Model(**model))
    net = Classifier(recipe.model, shape, classes, scale, seed=1)
    rng = np.random.default_rng(2)
    for name, tensor in net.named_tensors():
        if "norm" in name:
            tensor.data[...] = rng.uniform(0.5, 2, tensor.shape)
    weights.write(path, net.state_dict(), weights.NetworkSpec(recipe, shape, classes, scale).metadata())
    return net


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
