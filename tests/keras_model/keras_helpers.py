"""Functions and constants that several of these tests use."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from shared import Command, Result, clouds, complaints  # noqa: F401 (for those who import from here)

import minigrad
from keras_model import callbacks, training
from keras_model.model import build_model, get_weights, set_weights
from keras_model.optimizers import build_optimizer
from keras_model.stock import stock_copy
from minigrad.recipes import Model, Recipe
from minigrad.runs import NetworkSpec, history, weights

BACKEND = keras.backend.backend()


def slow_except(*backends: str) -> pytest.MarkDecorator:
    """Mark an expensive test as slow, except on these backends. `make test` then runs it there only."""
    return pytest.mark.skipif(False, reason="") if BACKEND in backends else pytest.mark.slow


# For tests whose result doesn't depend on the backend: they run once, on torch, which needs no time to compile.
once = pytest.mark.skipif(BACKEND != "torch", reason="doesn't depend on the backend: tested on torch")
# The tolerance of float64 against NumPy: on torch, Keras multiplies matrices in float32 whatever the dtype.
FLOAT64 = {"tensorflow": 1e-10, "jax": 1e-10, "torch": 3e-7}[BACKEND]
# The largest `steps_per_execution`; the torch trainer supports 1 only.
MOST_STEPS = {"tensorflow": 128, "jax": 128, "torch": 1}[BACKEND]


def pictures(seed: int, count: int, side: int = 12, classes: int = 10) -> dict[str, np.ndarray]:
    """Images of a dim uint8 pattern per class under noise; a fifth of them are test images."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    patterns = rng.integers(0, 120, (classes, side, side))
    images = (patterns[labels] + rng.integers(0, 136, (count, side, side))).astype(np.uint8)
    cut = count * 4 // 5
    return {"x_train": images[:cut], "y_train": labels[:cut], "x_test": images[cut:], "y_test": labels[cut:]}


# A small convolutional network with every feature of a recipe.
CNN = (
    *("--model.architecture", "cnn", "--model.channels", "[3]", "--model.kernel_size", "3", "--model.hidden", "[6]"),
    *("--model.batch_norm", "true", "--model.optimizer", "adam", "--model.learning_rate", "0.01"),
    *("--model.schedule", "one_cycle", "--data.augment", "shift"),
)
# A network that soon overfits, and a recipe that reacts.
OVERFIT = ("--model.hidden", "[64]", "--model.learning_rate", "0.3", "--trainer.max_epochs", "40")
PATIENT = ("--early_stopping.patience", "5", "--model.schedule", "reduce_on_plateau")


def flags(data: str | Path, out: str | Path, *more: str) -> list[str]:
    """Arguments of a small run, for minigrad.train and for `fit` of this package."""
    return [
        *("--data.path", str(data), "--data.batch_size", "16", "--data.validation_size", "30"),
        *("--trainer.max_epochs", "3", "--out", str(out), *more),
    ]


def epochs(out: str | Path) -> list[tuple[Any, ...]]:
    """The history without its seconds, which differ in every run."""
    return [tuple(vars(e).values())[:-1] for e in history.read(Path(out, "history.csv"))]


def measured(out: str | Path) -> dict[str, Any]:
    """The content of metrics.json."""
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
    """Check that weights file, history and metrics of two runs are equal to the last bit."""
    assert epochs(a) == epochs(b)
    x, y = weights_of(a), weights_of(b)
    assert x.keys() == y.keys()
    for name in x:
        assert x[name].tobytes() == y[name].tobytes(), name
    assert Path(a, "weights.safetensors").read_bytes() == Path(b, "weights.safetensors").read_bytes()
    assert measured(a) == measured(b)


def same_model(a: str | Path, b: str | Path) -> None:
    """Check that the model.keras of two runs have the same layers and numbers, including those of the optimizer."""
    x, y = (_numbers(Path(run, "model.keras")) for run in (a, b))
    assert x.keys() == y.keys()
    for name in x:
        assert x[name].tobytes() == y[name].tobytes(), name


def _numbers(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as member, h5py.File(member) as file:
        file.visititems(visit)
    return found


@contextmanager
def moments(out: Path) -> Iterator[None]:
    """Copy the run folder whenever it changes: what SIGKILL would leave, drafts included.

    `at(out, NAME, N, WHEN)` is the path of a copy: "before" (with half of the
    draft) or "after" the file NAME is renamed into place for the N-th time;
    "after" the N-th call of `steps`; "before" the `test`.
    """
    replace, seen = os.replace, Counter[str]()

    def keep(name: str, when: str, draft: str = "") -> None:
        copy = at(out, name, seen[name], when)
        shutil.copytree(out, copy)
        if draft:
            content = (copy / draft).read_bytes()
            (copy / draft).write_bytes(content[: len(content) // 2])

    def replaced(source: Any, target: Any, **options: Any) -> None:
        name, ours = Path(target).name, Path(target).parent == out
        seen[name] += ours
        if ours:
            keep(name, "before", Path(source).name)
        replace(source, target, **options)
        if ours:
            keep(name, "after")

    def noted(real: Any, name: str, when: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            seen[name] += 1
            if when == "before":
                keep(name, when)
            found = real(*args, **options)
            if when == "after":
                keep(name, when)
            return found

        return call

    with pytest.MonkeyPatch.context() as m:
        m.setattr(os, "replace", replaced)
        m.setattr(os, "rename", replaced)
        steps = callbacks.RunFolder.on_train_batch_end
        m.setattr(callbacks.RunFolder, "on_train_batch_end", noted(steps, "steps", "after"))
        m.setattr(training, "_test", noted(training._test, "test", "before"))
        yield


def at(out: Path, name: str, number: int, when: str) -> Path:
    """The path of a copy that `moments` made of the run folder."""
    return out.parent / f"{name}-{number}-{when}"


def started(*argv: str, first: str = "", **environment: str) -> subprocess.Popen[str]:
    """Start `python -m keras_model ARGV` on this backend, with Ctrl-C enabled; `first` is code that runs before it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS_", "TF_"))}
    program = ["-c", f"{first}\nimport runpy\nrunpy.run_module('keras_model', run_name='__main__')"]
    root = str(Path(minigrad.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, *(program if first else ["-m", "keras_model"]), *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "KERAS_BACKEND": BACKEND, "PYTHONPATH": root, **environment},
        # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def ended(processes: Iterable[subprocess.Popen[str]]) -> None:
    """End the processes that are still running."""
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


# The model section and the input shape of small networks: vectors of 6 floats, or images of 8 x 8 pixels.
CONVOLUTIONS = {"architecture": "cnn", "channels": [2, 3], "kernel_size": 3}
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "mlp": ({"hidden": [7, 5]}, (8, 8)),
    "cnn": ({**CONVOLUTIONS, "hidden": [5]}, (8, 8)),
    "cnn with batch norm": ({**CONVOLUTIONS, "hidden": [5], "batch_norm": True, "dropout": 0.3}, (8, 8)),
    "batch norm": ({"hidden": [7, 5], "batch_norm": True}, (6,)),
    "dropout": ({"hidden": [7, 5], "dropout": 0.5}, (8, 8)),
    "tanh": ({"hidden": [7], "activation": "tanh"}, (8, 8)),
    "sigmoid": ({**CONVOLUTIONS, "hidden": [], "activation": "sigmoid"}, (8, 8)),
    "vectors": ({"hidden": [7, 5]}, (6,)),
    "channels": ({**CONVOLUTIONS, "hidden": [5]}, (8, 8, 3)),
    "channels in a row": ({"hidden": [5]}, (8, 8, 3)),
    "nothing hidden": ({"hidden": []}, (8, 8)),
}


def arrays_for(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A small data set with inputs of a shape: vectors of floats, or pixels."""
    if len(shape) == 1:
        return clouds(0, 50, 0.5)
    arrays = pictures(0, 50, side=8, classes=3)
    for key in ("x_train", "x_test") if len(shape) == 3 else ():
        arrays[key] = np.stack([arrays[key], 255 - arrays[key], arrays[key] // 2], axis=-1)
    return arrays


def network(name: str) -> tuple[keras.Model, dict[str, str]]:
    """Build one of `NETWORKS` with random weights, and the metadata of its weights file."""
    section, shape = NETWORKS[name]
    model, scale = Model(**section), 1.0 if len(shape) == 1 else 1 / 255
    net = build_model(model, shape, 3, scale)
    rng = np.random.default_rng(0)
    # Positive, because variances must be, except for kernels.
    set_weights(net, {k: rng.uniform(0.1, 1, v.shape) - 0.5 * (v.ndim > 1) for k, v in get_weights(net).items()})
    return net, NetworkSpec(Recipe(model=model), shape, 3, scale).metadata()


def stock(net: keras.Model) -> keras.Model:
    """The network in Keras's own classes, as `fit` and `export` save it."""
    return stock_copy(net, build_optimizer(Model(), 1))
