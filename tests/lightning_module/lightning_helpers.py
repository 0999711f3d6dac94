"""Functions that several of these tests use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared import clouds, complaints  # noqa: F401 (for those who import from here)

import lightning_module
from lightning_module.cli import main
from minigrad import datasets, recipes
from minigrad.classifier import Classifier
from minigrad.runs import UserError, history, run_command, weights

ROOT = Path(lightning_module.__file__).parents[1]
PROG = "python -m lightning_module"
# The command passes this variable on to the processes that it starts. Within one process, no call may pass it to the next.
CHOSEN = "MINIGRAD_RUN_FOLDER"
QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")


# A small convolutional network with most options of a recipe.
CNN = (
    *("--model.architecture", "cnn", "--model.channels", "[3]", "--model.kernel_size", "3", "--model.hidden", "[6]"),
    *("--model.batch_norm", "true", "--model.optimizer", "adam", "--model.learning_rate", "0.01"),
    *("--model.schedule", "one_cycle", "--data.augment", "shift"),
)


def pixels(seed: int, count: int, classes: int = 10, shape: tuple[int, ...] = (3, 4)) -> dict[str, np.ndarray]:
    """Return `clouds` as uint8 images, with as many for testing as for training."""
    rng = np.random.default_rng(seed)
    means = rng.integers(40, 216, (classes, *shape))
    labels = rng.integers(0, classes, 2 * count)
    images = np.clip(means[labels] + rng.normal(0, 15, (2 * count, *shape)), 0, 255).astype(np.uint8)
    return {"x_train": images[:count], "y_train": labels[:count], "x_test": images[count:], "y_test": labels[count:]}


def network(data: str) -> list[str]:
    """Return the arguments for the data and the processor of a small run."""
    small = ("--data.path", data, "--data.batch_size", "16", "--data.validation_size", "30")
    return [*small, "--trainer.accelerator", "cpu", *QUIET]


def flags(data: str, out: str | Path, *more: str) -> list[str]:
    """Return the arguments of a small run; later ones override earlier ones."""
    return ["fit", *network(data), "--trainer.max_epochs", "3", "--trainer.default_root_dir", str(out), *more]


def call(*argv: str) -> int:
    """Run the command in this process; return its exit status."""
    words, on_interrupt = sys.argv, signal.getsignal(signal.SIGINT)
    sys.argv = [PROG]
    os.environ.pop(CHOSEN, None)
    try:
        return run_command(PROG, main, argv)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = words
        os.environ.pop(CHOSEN, None)
        signal.signal(signal.SIGINT, on_interrupt)  # Lightning's shutdown leaves Ctrl-C ignored


def runs_of(networks: Mapping[str, tuple[str, ...]], data: str, out: Path) -> dict[str, Path]:
    """Train each network, described by its flags; return the run folders by name."""
    for name, words in networks.items():
        # A partial test draws no pictures, which would take longer than the training.
        assert call(*flags(data, out / name, *words, "--trainer.limit_test_batches", "1")) == 0
    return {name: out / name for name in networks}


def sentence(*argv: str) -> str:
    """Return the message of the UserError that the command raises."""
    words = sys.argv
    sys.argv = [PROG]
    os.environ.pop(CHOSEN, None)
    try:
        with pytest.raises(UserError) as caught:
            main(argv)
    finally:
        sys.argv = words
        os.environ.pop(CHOSEN, None)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


def process(*argv: str, module: bool = True, group: bool = False) -> subprocess.Popen[str]:
    """Start the command, or `python` with other arguments, in a process; with `group`, in a process group of its own."""
    words = [sys.executable, *(("-m", "lightning_module") if module else ()), *argv]
    env = {k: v for k, v in os.environ.items() if k not in (CHOSEN, "PL_GLOBAL_SEED")}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    return subprocess.Popen(words, start_new_session=group, **options)


def measured(out: str | Path) -> dict[str, Any]:
    return json.loads(Path(out, "metrics.json").read_text())


def epochs(out: str | Path) -> list[tuple[Any, ...]]:
    """Return the history without its seconds, which differ between runs."""
    return [tuple(vars(e).values())[:-1] for e in history.read(Path(out, "history.csv"))]


def kept(out: str | Path) -> dict[str, np.ndarray]:
    return weights.read(Path(out, "weights.safetensors"))[0]


def same_weights(a: str | Path, b: str | Path) -> None:
    """Check that the weights are equal, bit by bit."""
    x, y = kept(a), kept(b)
    assert x.keys() == y.keys()
    for name in x:
        assert x[name].tobytes() == y[name].tobytes(), name


def same_run(a: str | Path, b: str | Path) -> None:
    """Check that two runs have the same files, with equal weights, history, metrics and checkpoints, bit by bit."""
    same_weights(a, b)
    assert epochs(a) == epochs(b)
    assert measured(a) == measured(b)
    for name in ("last.ckpt", "best.ckpt"):
        x, y = (torch.load(Path(out, name), weights_only=True) for out in (a, b))
        assert (x["epoch"], x["global_step"]) == (y["epoch"], y["global_step"])
        assert x["state_dict"].keys() == y["state_dict"].keys()
        for key, tensor in x["state_dict"].items():
            assert torch.equal(tensor, y["state_dict"][key]), key
        assert x["callbacks"].keys() == y["callbacks"].keys()
        for key, state in x["callbacks"].items():
            for word in ("best_model_score", "wait_count", "best_score", "stopped_epoch"):
                assert state.get(word) == y["callbacks"][key].get(word), (key, word)
    # Without drafts, which a killed process leaves.
    files = [{name for name in contents(out) if not name.startswith(".")} for out in (a, b)]
    assert files[0] == files[1]


def contents(out: str | Path) -> dict[str, bytes]:
    """Return the content of every file in a folder, without the manifest."""
    files = (p for p in sorted(Path(out).rglob("*")) if p.is_file() and p.name != ".files.json")
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def in_numpy(out: str | Path) -> tuple[Classifier, datasets.Dataset]:
    """Return minigrad's network with the weights of a run, and the run's data."""
    recipe, _ = recipes.read_trained(Path(out, "recipe.yaml"))
    data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
    net = Classifier(recipe.model, data.input_shape, data.classes, data.input_scale)
    net.load_state_dict(weights.load_for(Path(out, "weights.safetensors"), weights.NetworkSpec.of(recipe, data)))
    return net, data


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, run: Callable[[], int]) -> int:
    """Call `run`, interrupted by Ctrl-C in its at-th training step; return its exit status."""
    from lightning_module.model import LitClassifier

    real, seen = LitClassifier.training_step, []

    def step(self: LitClassifier, *args: Any) -> Any:
        seen.append(1)
        if len(seen) == at:
            raise KeyboardInterrupt
        return real(self, *args)

    with monkeypatch.context() as m:
        m.setattr(LitClassifier, "training_step", step)
        return run()
