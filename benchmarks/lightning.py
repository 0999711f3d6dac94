"""python -m benchmarks.lightning: an epoch through `lightning_module`'s Trainer beside a bare torch loop, in one run.

The Trainer is the command's own, `python -m lightning_module fit`, with its
progress bar, metrics, history, checkpoint and weights file. Between its
epochs the bare loop trains the same network from the same weights over the
same batches, and adds up the same loss and accuracy; after the first epoch
their weights must agree, or nothing is timed. Printed and written to
`benchmarks/results/lightning.json` are medians over the epochs, and of
several starts the time from the prompt to the end of the first step.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from compare import environment
from minigrad import datasets

OUT = Path(__file__).parent / "results" / "lightning.json"
THREADS = min(2, environment.cores())
BATCH, SEED, RATE, SCALE = 128, 42, 0.1, 1 / 255
AGREEMENT = 1e-4  # of every weight after one epoch, in float32
# Hidden units, and at most how many times the bare loop's epoch.
NETWORKS = {"784-10-10": (10, 1.6), "784-1024-10": (1024, 1.1)}
START_GOAL = 1.5  # seconds to the first step, beyond importing lightning


class Bare:
    """A training loop in plain torch."""

    def __init__(self, split: datasets.Split, weights: dict[str, Any]) -> None:
        import torch
        from torch import nn

        self.images, self.labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
        hidden, size = weights["hidden.0.weight"].shape
        classes = len(weights["output.bias"])
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        names = ("hidden.0.weight", "hidden.0.bias", "output.weight", "output.bias")
        with torch.no_grad():
            for name, parameter in zip(names, self.net.parameters(), strict=True):
                parameter.copy_(torch.from_numpy(weights[name]))
        self.names, self.optimizer = names, torch.optim.SGD(self.net.parameters(), RATE)

    def epoch(self, number: int) -> tuple[float, float]:
        """Train over every image once; the mean loss and accuracy."""
        import torch
        from torch.nn import functional as F  # noqa: N812

        total, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for order in datasets.batches(len(self.labels), BATCH, SEED, number):
            indices = torch.from_numpy(order)
            expected = self.labels.index_select(0, indices)
            logits = self.net(self.images.index_select(0, indices).float() * SCALE)
            loss = F.cross_entropy(logits, expected)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(order)
            correct += (logits.detach().argmax(1) == expected).sum()
        return float(total) / len(self.labels), int(correct) / len(self.labels)

    def difference(self, weights: dict[str, Any]) -> float:
        """The largest difference of a weight."""
        found = dict(zip(self.names, (p.detach().numpy() for p in self.net.parameters()), strict=True))
        return max(float(np.abs(found[name] - weights[name]).max()) for name in self.names)


def epochs(name: str, rounds: int) -> dict[str, Any]:
    """One network: the Trainer's epochs and the bare loop's, in turns."""
    from lightning.pytorch import Callback

    from lightning_module.cli import ClassifierCLI
    from lightning_module.cli import main as fit

    hidden, goal = NETWORKS[name]
    trained, bare = [], []

    class Turns(Callback):
        """Before each of the Trainer's epochs, one of the bare loop's."""

        began = 0.0

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            self.stop()
            if trainer.current_epoch == 0:
                self.loop = Bare(trainer.datamodule.dataset.train, {k: w.copy() for k, w in module.weights().items()})
            elif trainer.current_epoch == 1 and not self.loop.difference(module.weights()) < AGREEMENT:
                raise SystemExit(
                    f"{name}: after an epoch a weight differs by {self.loop.difference(module.weights()):.2g}"
                )
            began = time.perf_counter()
            self.loop.epoch(trainer.current_epoch)
            bare.append(time.perf_counter() - began)
            self.began = time.perf_counter()

        def on_train_end(self, trainer: Any, module: Any) -> None:
            self.stop()

        def stop(self) -> None:
            if self.began:
                trained.append(time.perf_counter() - self.began)

    class CLI(ClassifierCLI):
        def instantiate_trainer(self, **options: Any) -> Any:
            trainer = super().instantiate_trainer(**options)
            trainer.callbacks.insert(0, Turns())  # type: ignore[attr-defined]
            return trainer

    with tempfile.TemporaryDirectory() as folder:
        words = ["--config", "simple", "--model.hidden", f"[{hidden}]", "--data.validation_size", "0"]
        words += ["--trainer.accelerator", "cpu", "--trainer.max_epochs", str(rounds + 1)]
        fit(["fit", *words, "--trainer.default_root_dir", folder], CLI)
    steps = datasets.steps_per_epoch(60_000, BATCH)
    ratios = np.array(trained[1:]) / np.array(bare[1:])  # the first epoch warms up
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return {
        "network": name,
        "trainer_us": float(np.median(trained[1:])) / steps * 1e6,
        "bare_us": float(np.median(bare[1:])) / steps * 1e6,
        "ratio": float(middle),
        "quartiles": [float(low), float(high)],
        "goal": goal,
    }


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.lightning", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11, help="epochs counted, after one that is not")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    options = parser.parse_args(argv)
    for name in options.networks:
        print(epochs(name, options.rounds))


def pin() -> None:
    """Start this process again with its threads and its allocator set, which the libraries read when they are loaded."""
    if "MINIGRAD_PINNED" not in os.environ:
        settings = environment.pin(THREADS) | {"MINIGRAD_PINNED": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.lightning", *sys.argv[1:]], os.environ | settings)


if __name__ == "__main__":
    pin()
    main(sys.argv[1:])
