"""python -m benchmarks.lightning: the time per epoch of `lightning_module`, of a bare torch loop and of a default
Lightning set-up, in one process.

The Trainer is that of `python -m lightning_module fit`, with its progress
lines, metrics, history, checkpoints and weights file. Between its epochs the
bare loop trains the same network from the same weights on the same batches,
and computes the same loss and accuracy. If their weights differ after the
first epoch, the benchmark fails. After the bare loop comes an epoch of
Lightning as its introduction shows it. The medians over the epochs, and the
median time from the start of the command to the end of the first step, are
printed and written to `benchmarks/results/lightning.json`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the customary name)
from torch.utils.data import DataLoader, TensorDataset

from compare.results import environment
from minigrad import datasets
from minigrad.runs import run_command, write_json

from .harness import THREADS, pin, ratio, show
from .tables import start_time as describe_start

OUT = Path(__file__).parent / "results" / "lightning.json"
SUBJECT, FIRST = "Lightning", "first step ended at "
BATCH, SEED, RATE, SCALE = 128, 42, 0.1, 1 / 255
AGREEMENT = 1e-4  # of every weight after one epoch, in float32
# Hidden units, and the goals for the ratio to an epoch of the bare loop and of the default set-up.
NETWORKS = {"784-10-10": (10, 1.6, 0.4), "784-1024-10": (1024, 1.1, None)}
START_GOAL = 1.5  # seconds to the first step, without the import of lightning


class Bare:
    """A training loop in plain torch."""

    def __init__(self, split: datasets.Split, weights: dict[str, Any]) -> None:
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
        """Train on every image once; return the mean loss and accuracy."""
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
        """Return the largest difference of a weight from `weights`."""
        own = dict(zip(self.names, (p.detach().numpy() for p in self.net.parameters()), strict=True))
        return max(float(np.abs(own[name] - weights[name]).max()) for name in self.names)


class Default(LightningModule):
    """Lightning with its defaults: a TensorDataset, the default collate function and progress bar, and `self.log` in
    each step. Only the logger is not the default one, which would import TensorFlow."""

    def __init__(self, split: datasets.Split, hidden: int, out: str) -> None:
        super().__init__()
        self.out, self.start, self.seconds = out, 0.0, 0.0
        images = torch.from_numpy(split.images).flatten(1).float() * SCALE
        self.images = TensorDataset(images, torch.from_numpy(split.labels))
        classes = int(split.labels.max()) + 1
        self.net = nn.Sequential(nn.Linear(images.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels)
        self.log("train_loss", loss, prog_bar=True)
        self.log("train_accuracy", (logits.argmax(1) == labels).float().mean(), prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), RATE)

    def on_train_epoch_start(self) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        self.seconds = time.perf_counter() - self.start

    def epoch(self) -> float:
        """Train on every image once; return the seconds of the epoch, without the start of the Trainer."""
        loader = DataLoader(self.images, batch_size=BATCH, shuffle=True)
        Trainer(max_epochs=1, accelerator="cpu", logger=CSVLogger(self.out), default_root_dir=self.out).fit(
            self, loader
        )
        return self.seconds


def epochs(name: str, rounds: int) -> list[dict[str, Any]]:
    """Time the epochs of one network, in turn with the Trainer, with the bare loop and with the default set-up."""
    from lightning_module.cli import ClassifierCLI
    from lightning_module.cli import main as fit

    hidden, bare_goal, default_goal = NETWORKS[name]
    trained, bare, default = list[float](), list[float](), list[float]()

    class Turns(Callback):
        """Runs an epoch of each peer before each epoch of the Trainer."""

        start = 0.0

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            self.stop()
            if trainer.current_epoch == 0:
                split = trainer.datamodule.dataset.train
                self.loop = Bare(split, {k: w.copy() for k, w in module.weights().items()})
                self.default = Default(split, hidden, folder)
            elif trainer.current_epoch == 1 and not self.loop.difference(module.weights()) < AGREEMENT:
                raise SystemExit(
                    f"{name}: after an epoch a weight differs by {self.loop.difference(module.weights()):.2g}"
                )
            start = time.perf_counter()
            self.loop.epoch(trainer.current_epoch)
            bare.append(time.perf_counter() - start)
            default.append(self.default.epoch())
            self.start = time.perf_counter()

        def on_train_end(self, trainer: Any, module: Any) -> None:
            self.stop()

        def stop(self) -> None:
            if self.start:
                trained.append(time.perf_counter() - self.start)

    class CLI(ClassifierCLI):
        def instantiate_trainer(self, **options: Any) -> Any:
            trainer = super().instantiate_trainer(**options)
            trainer.callbacks.insert(0, Turns())  # type: ignore[attr-defined]
            return trainer

    with tempfile.TemporaryDirectory() as folder:
        options = ["--config", "simple", "--model.hidden", f"[{hidden}]", "--data.validation_size", "0"]
        options += ["--trainer.accelerator", "cpu", "--trainer.max_epochs", str(rounds + 1)]
        fit(["fit", *options, "--trainer.default_root_dir", folder], CLI)
    peers = {
        SUBJECT: (trained, None),
        "bare torch loop": (bare, bare_goal),
        "default Lightning": (default, default_goal),
    }
    return rows(name, peers)


def rows(name: str, peers: dict[str, tuple[list[float], float | None]]) -> list[dict[str, Any]]:
    """Return one row per peer of a network, from the seconds per epoch and the goal of each; the subject is the first."""
    steps = datasets.steps_per_epoch(60_000, BATCH)
    trained, _ = peers[SUBJECT]
    row = {"network": name, "status": "ok"}
    return [
        {
            **row,
            "peer": peer,
            "step_us": float(np.median(seconds[1:])) / steps * 1e6,  # the first epoch warms up
            **ratio(trained[1:], seconds[1:]),
            "goal": goal,
        }
        for peer, (seconds, goal) in peers.items()
    ]


def start(rounds: int) -> dict[str, Any]:
    """Return the median seconds to the end of the first step, and of importing lightning, measured alternately."""
    imports, first = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds + 1):
            start_time = time.time()
            subprocess.run([sys.executable, "-c", "import lightning"], check=True, capture_output=True)
            imports.append(time.time() - start_time)
            start_time = time.time()
            options = ["fit", "--config", "simple", "--trainer.max_steps", "1", "--trainer.default_root_dir", folder]
            options += ["--overwrite", "--trainer.callbacks+=benchmarks.lightning.FirstStep"]
            process = subprocess.run(
                [sys.executable, "-m", "lightning_module", *options], check=True, capture_output=True, text=True
            )
            first.append(float(process.stdout.partition(FIRST)[2].split()[0]) - start_time)  # the bar may precede it
    return {
        "import_s": float(np.median(imports[1:])),  # the first round fills the file cache
        "first_step_s": float(np.median(first[1:])),
        "goal_s": START_GOAL,
    }


class FirstStep(Callback):
    """Prints the time at which the first step ends."""

    def on_train_batch_end(self, *_: Any) -> None:
        print(f"{FIRST}{time.time()}")


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser("python -m benchmarks.lightning", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11, help="epochs to measure, after one that is not measured")
    parser.add_argument(
        "--starts", type=int, default=5, help="starts to measure, after one that is not measured; 0 skips them"
    )
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT, help="file for the results")
    options = parser.parse_args(argv)

    torch.set_num_threads(THREADS)
    described = environment.describe(THREADS)
    console = Console(highlight=False)
    results = {"subject": SUBJECT, "batch_size": BATCH, "rounds": options.rounds}
    if options.starts:
        results["start"] = start(options.starts)
    measured = [row for name in options.networks for row in epochs(name, options.rounds)]
    console.print(f"\n{described['cpu']}, {THREADS} threads, batches of {BATCH}, median of {options.rounds} epochs")
    show(measured, SUBJECT, console)
    if options.starts:
        console.print(describe_start(results["start"]))
    options.out.parent.mkdir(exist_ok=True)
    write_json(options.out, {"environment": described, **results, "rows": measured})
    console.print(f"written to {options.out}")


if __name__ == "__main__":
    pin("benchmarks.lightning")
    sys.exit(run_command("python -m benchmarks.lightning", main))
