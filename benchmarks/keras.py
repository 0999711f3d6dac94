"""python -m benchmarks.keras: the time per epoch of `keras_model fit`, plain Keras and a hand-written loop, in one run.

An epoch is training and validation, with accuracy. `keras_model fit` includes
its callbacks: history, Keras's log, model file, weights file and checkpoint.
"default fit" is Keras as in most introductions: `fit` on arrays, with only a
batch size. The loop calls a `tf.function` per step. Every trainer runs in its
own process. The processes take turns, one epoch each, with the same batches
and the same initial weights. The benchmark fails if their weights differ after
the first epoch. Medians are printed and written to
`benchmarks/results/keras.json`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from compare.results import environment
from minigrad.runs import run_command, write_json

from .harness import THREADS, pin, ratio, show
from .keras_trainers import BATCH, TRAINERS, work

OUT = Path(__file__).parent / "results" / "keras.json"
SUBJECT, MAX_DIFFERENCE = "Keras", 1e-3  # of any weight after one epoch, in float32
OURS, DEFAULT, LOOP = SUBJECT, "default fit", "tf.function loop"
# The peers of each backend: (backend, trainer, goal: the largest ratio of the times keras_model / peer, or None).
RACES: dict[str, list[tuple[str, str, float | None]]] = {
    "tensorflow": [("tensorflow", DEFAULT, 0.4), ("tensorflow", LOOP, 1.2)],
    "jax": [("tensorflow", DEFAULT, 0.25), ("jax", DEFAULT, None)],
    "torch": [("torch", DEFAULT, None)],
}
# With --settings: (steps_per_execution, jit_compile) per backend.
SETTINGS: dict[str, list[tuple[int, bool]]] = {
    "tensorflow": [(1, False), (32, False), (128, False), (430, False), (128, True)],
    "jax": [(1, True), (32, True), (128, True)],
}


class Worker:
    """A trainer in its own process, which waits between its epochs."""

    def __init__(self, backend: str, trainer: str, folder: Path, rounds: int, *setting: Any) -> None:
        self.weights = Path(tempfile.mkstemp(".npz", dir=folder)[1])
        arguments = [trainer, str(self.weights), str(rounds), *(str(int(s)) for s in setting)]
        self.command = [sys.executable, "-m", "benchmarks.keras", "--work", *arguments]
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"KERAS_BACKEND": backend},
        )
        self.seconds: list[float] = []

    def epoch(self) -> None:
        """Train one epoch."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("seconds "):
                self.seconds.append(float(line.split()[1]))
                return
        raise SystemExit(f"ended early: {' '.join(self.command)}")


def run(workers: dict[Any, Worker], rounds: int) -> None:
    """Train in turns: one epoch to warm up, and `rounds` that are timed."""
    for _ in range(rounds + 1):
        for worker in workers.values():
            worker.epoch()
    for worker in workers.values():
        worker.process.communicate()
    first: dict[Any, dict[str, np.ndarray]] = {key: dict(np.load(w.weights)) for key, w in workers.items()}
    expected = next(iter(first.values()))
    for key, arrays in first.items():
        gap = max(float(np.abs(arrays[name] - expected[name]).max()) for name in expected)
        if not gap < MAX_DIFFERENCE:
            raise SystemExit(f"{key}: after an epoch a weight differs by {gap:.2g}")


def race(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Time all trainers on all backends."""
    keys = {(backend, OURS) for backend in RACES} | {(b, t) for peers in RACES.values() for b, t, _ in peers}
    workers = {key: Worker(*key, folder, rounds) for key in sorted(keys)}
    run(workers, rounds)
    seconds = {key: worker.seconds[1:] for key, worker in workers.items()}
    rows = []
    for backend, peers in RACES.items():
        subject_seconds = seconds[backend, OURS]
        for peer_backend, trainer, goal in [(backend, OURS, None), *peers]:
            peer_seconds = seconds[peer_backend, trainer]
            row = {"network": f"on {backend}", "status": "ok", "step_us": microseconds(peer_seconds), "goal": goal}
            peer = trainer if peer_backend == backend else f"{trainer} on {peer_backend}"
            rows.append({**row, "peer": peer, **ratio(subject_seconds, peer_seconds)})
    return rows


def settings(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Time `fit` without callbacks with each setting."""
    names = ("backend", "steps_per_execution", "jit_compile")
    rows = []
    for backend, candidates in SETTINGS.items():  # one backend after another, since too many processes would be slow
        workers = {setting: Worker(backend, "setting", folder, rounds, *setting) for setting in candidates}
        run(workers, rounds)
        for setting, worker in workers.items():
            step_us = microseconds(worker.seconds[1:])
            rows.append({**dict(zip(names, (backend, *setting), strict=True)), "step_us": step_us})
    return rows


def microseconds(seconds: list[float]) -> float:
    """Return the median time per step in microseconds, from the seconds of each epoch."""
    return float(np.median(seconds)) / -(-55_000 // BATCH) * 1e6


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser("python -m benchmarks.keras", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="the number of timed epochs, after one to warm up")
    parser.add_argument(
        "--settings", action="store_true", help="also time other values of steps_per_execution and jit_compile"
    )
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=OUT, help="the file of the results")
    options = parser.parse_args(argv)
    if options.work:
        trainer, weights, rounds, *setting = options.work
        work(TRAINERS[trainer], Path(weights), int(rounds) + 1, *map(int, setting))
        return

    console = Console(highlight=False)
    described = environment.describe(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        rows = race(Path(folder), options.rounds)
        setting_rows = settings(Path(folder), options.rounds) if options.settings else []
    console.print(
        f"\n784-10-10, batches of {BATCH}; {described['cpu']}, {THREADS} threads; median of {options.rounds} epochs"
    )
    show(rows, SUBJECT, console)
    for row in setting_rows:
        label = f"{row['backend']}, {row['steps_per_execution']} steps per execution, jit_compile {row['jit_compile']}"
        console.print(f"{label}: {row['step_us']:.0f} µs")
    options.out.parent.mkdir(exist_ok=True)
    results: dict[str, Any] = {"subject": SUBJECT, "batch_size": BATCH, "rounds": options.rounds, "rows": rows}
    if setting_rows:
        results["settings"] = setting_rows
    write_json(options.out, {"environment": described, **results})
    console.print(f"written to {options.out}", soft_wrap=True)


if __name__ == "__main__":
    pin("benchmarks.keras")
    sys.exit(run_command("python -m benchmarks.keras", main))
