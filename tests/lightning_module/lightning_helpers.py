"""Plain functions that several of these tests call."""

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
# What the command tells the processes that it starts; in process, one call must not tell the next.
CHOSEN = "MINIGRAD_RUN_FOLDER"
QUIET = ("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false")


# A small convolutional network with all that a recipe may ask for.
CNN = (
    *("--model.architecture", "cnn", "--model.channels", "[3]", "--model.kernel_size", "3", "--model.hidden", "[6]"),
    *("--model.batch_norm", "true", "--model.optimizer", "adam", "--model.learning_rate", "0.01"),
    *("--model.schedule", "one_cycle", "--data.augment", "shift"),
)


def pixels(seed: int, count: int, classes: int = 10, shape: tuple[int, ...] = (3, 4)) -> dict[str, np.ndarray]:
    """The same as uint8 images, with as many for testing as for training."""
    rng = np.random.default_rng(seed)
    means = rng.integers(40, 216, (classes, *shape))
    labels = rng.integers(0, classes, 2 * count)
    images = np.clip(means[labels] + rng.normal(0, 15, (2 * count, *shape)), 0, 255).astype(np.uint8)
    return {"x_train": images[:count], "y_train": labels[:count], "x_test": images[count:], "y_test": labels[count:]}


def network(data: str) -> list[str]:
    """The words of a small run's data and processor."""
    small = ("--data.path", data, "--data.batch_size", "16", "--data.validation_size", "30")
    return [*small, "--trainer.accelerator", "cpu", *QUIET]


def flags(data: str, out: str | Path, *more: str) -> list[str]:
    """The words of a small run; what comes later overrides."""
    return ["fit", *network(data), "--trainer.max_epochs", "3", "--trainer.default_root_dir", str(out), *more]


def call(*argv: str) -> int:
    """`python -m lightning_module` in process; its exit status."""
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
    """A finished run of each network, given by its flags, in a folder of its name."""
    for name, words in networks.items():
        # Not tested whole: its pictures would take longer than the training.
        assert call(*flags(data, out / name, *words, "--trainer.limit_test_batches", "1")) == 0
    return {name: out / name for name in networks}


def sentence(*argv: str) -> str:
    """The one line of the UserError that the command raises."""
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
    """A real process of the command, or of `python` with other words; alone, or at the head of a group of its own."""
    words = [sys.executable, *(("-m", "lightning_module") if module else ()), *argv]
    env = {k: v for k, v in os.environ.items() if k not in (CHOSEN, "PL_GLOBAL_SEED")}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    return subprocess.Popen(words, start_new_session=group, **options)


def measured(out: str | Path) -> dict[str, Any]:
    return json.loads(Path(out, "metrics.json").read_text())


def epochs(out: str | Path) -> list[tuple[Any, ...]]:
    """The history without its seconds, which are never the same twice."""
    return [tuple(vars(e).values())[:-1] for e in history.read(Path(out, "history.csv"))]


def kept(out: str | Path) -> dict[str, np.ndarray]:
    return weights.read(Path(out, "weights.safetensors"))[0]


def same_weights(a: str | Path, b: str | Path) -> None:
    """Equal to the last bit."""
    x, y = kept(a), kept(b)
    assert x.keys() == y.keys()
    for name in x:
        assert x[name].tobytes() == y[name].tobytes(), name


def same_run(a: str | Path, b: str | Path) -> None:
    """Equal to the last bit in all that training leaves: weights, history, metrics, checkpoints; and no file is missing."""
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
    # But for drafts, which a kill leaves behind.
    files = [{name for name in contents(out) if not name.startswith(".")} for out in (a, b)]
    assert files[0] == files[1]


def contents(out: str | Path) -> dict[str, bytes]:
    """Every file in the folder byte by byte, but for the list of them."""
    files = (p for p in sorted(Path(out).rglob("*")) if p.is_file() and p.name != ".files.json")
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def in_numpy(out: str | Path) -> tuple[Classifier, datasets.Dataset]:
    """minigrad's network with the weights file of a run, and the run's data."""
    recipe, _ = recipes.read_trained(Path(out, "recipe.yaml"))
    data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
    net = Classifier(recipe.model, data.input_shape, data.classes, data.input_scale)
    net.load_state_dict(weights.load_for(Path(out, "weights.safetensors"), weights.NetworkSpec.of(recipe, data)))
    return net, data


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, run: Callable[[], int]) -> int:
    """Ctrl-C in the at-th training step of `run`; its exit status."""
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
