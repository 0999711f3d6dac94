"""Plain functions that several of these tests call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from shared import Command, Result, clouds  # noqa: F401 (for those who import from here)

import minigrad
from minigrad.runs import history, weights


def pictures(seed: int, count: int, side: int = 12, classes: int = 10) -> dict[str, np.ndarray]:
    """A dim uint8 pattern for each class under noise; a fifth of them is for testing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    patterns = rng.integers(0, 120, (classes, side, side))
    images = (patterns[labels] + rng.integers(0, 136, (count, side, side))).astype(np.uint8)
    cut = count * 4 // 5
    return {"x_train": images[:cut], "y_train": labels[:cut], "x_test": images[cut:], "y_test": labels[cut:]}


# A small convolutional network with all that a recipe may ask for.
CNN = (
    *("--model.architecture", "cnn", "--model.channels", "[3]", "--model.kernel_size", "3", "--model.hidden", "[6]"),
    *("--model.batch_norm", "true", "--model.optimizer", "adam", "--model.learning_rate", "0.01"),
    *("--model.schedule", "one_cycle", "--data.augment", "shift"),
)


def flags(data: str | Path, out: str | Path, *more: str) -> list[str]:
    """The words for a small run, the same for minigrad.train and for this package's fit."""
    return [
        *("--data.path", str(data), "--data.batch_size", "16", "--data.validation_size", "30"),
        *("--trainer.max_epochs", "3", "--out", str(out), *more),
    ]


def epochs(out: str | Path) -> list[tuple[Any, ...]]:
    """The history without its seconds, which are never the same twice."""
    return [tuple(vars(e).values())[:-1] for e in history.read(Path(out, "history.csv"))]


def measured(out: str | Path) -> dict[str, Any]:
    """What metrics.json says."""
    return json.loads(Path(out, "metrics.json").read_text())


def weights_of(out: str | Path) -> dict[str, np.ndarray]:
    """The arrays of the folder's weights file."""
    return weights.read(Path(out, "weights.safetensors"))[0]


def contents(folder: str | Path) -> dict[str, bytes]:
    """Every file in the folder, byte by byte."""
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file()}


def answers(arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The logits of a network with ReLU between its layers, written out in float64; x is (n, inputs), scaled."""
    x = x.astype(np.float64)
    for i in range(sum(name.startswith("hidden") for name in arrays) // 2):
        x = np.maximum(x @ arrays[f"hidden.{i}.weight"].T + arrays[f"hidden.{i}.bias"], 0)
    return x @ arrays["output.weight"].T + arrays["output.bias"]


def same_run(a: str | Path, b: str | Path) -> None:
    """Equal to the last bit: weights file, history and measurement."""
    assert epochs(a) == epochs(b)
    x, y = weights_of(a), weights_of(b)
    assert x.keys() == y.keys()
    for name in x:
        assert x[name].tobytes() == y[name].tobytes(), name
    assert Path(a, "weights.safetensors").read_bytes() == Path(b, "weights.safetensors").read_bytes()
    assert measured(a) == measured(b)


def started(*argv: str, module: str = "keras_model", **environment: str) -> subprocess.Popen[str]:
    """`python -m MODULE ARGV` as a process, listening to Ctrl-C."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS_", "TF_"))}
    return subprocess.Popen(
        [sys.executable, "-m", module, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "PYTHONPATH": str(Path(minigrad.__file__).parents[1]), **environment},
        # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def ended(processes: Iterable[subprocess.Popen[str]]) -> None:
    """Leave no process behind, whatever became of the test."""
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()
