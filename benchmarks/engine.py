"""python -m benchmarks.engine: the training step of minigrad compared with its peers, interleaved in one run.

Every peer trains the same network on the same batches from the same weights.
Nothing is timed unless their weights agree after the first steps. In each
round, every peer runs the same steps in turn. The ratio minigrad / peer is
computed per round, because a slower phase of the machine affects both. The medians over the
rounds are printed and written to `benchmarks/results/engine.json`.

`import minigrad` is compared with `import numpy` in the same way, in new
processes.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import importlib.metadata
import io
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from compare.results import environment
from minigrad import datasets
from minigrad.classifier import Classifier
from minigrad.recipes import Model
from minigrad.runs import run_command, write_json

from .harness import THREADS, pin, ratio, show
from .peers import PEERS, SCALE, Case, minigrad

ROOT = Path(__file__).parents[1]
OUT = ROOT / "benchmarks" / "results" / "engine.json"
BATCH = 128
CHECKED, AGREEMENT = 20, 2e-3  # steps, and the largest difference of a weight after them; Adam amplifies rounding

NETWORKS = {
    "784-10-10": Model(hidden=[10]),
    "784-128-64-10": Model(hidden=[128, 64], optimizer="adam", learning_rate=0.001),
    "784-1024-10": Model(hidden=[1024]),
    "CNN 3x3, 8-16": Model(architecture="cnn", channels=[8, 16], kernel_size=3, hidden=[]),
}
STEPS = {"784-10-10": 400, "784-128-64-10": 150, "784-1024-10": 50, "CNN 3x3, 8-16": 15}
# The largest ratio minigrad / peer.
IMPORT_GOAL = 1.3
GOALS = {
    ("784-10-10", "hand-written NumPy"): 1.05,
    ("784-10-10", "torch eager"): 0.40,
    ("784-10-10", "JAX jit"): 0.90,
    ("784-10-10", "mygrad"): 0.60,
    ("784-10-10", "HIPS autograd"): 0.13,
    ("784-128-64-10", "torch eager"): 0.75,
    ("784-1024-10", "torch eager"): 1.0,
    ("CNN 3x3, 8-16", "torch eager"): 1.5,
}


def measure(name: str, model: Model, data: datasets.Split, rounds: int, only: list[str]) -> list[dict[str, Any]]:
    """Time one network.

    Returns:
        One row per peer with its status, microseconds per step and the ratio minigrad / peer.
    """
    start = Classifier(model, (28, 28), 10, SCALE, seed=42).state_dict()
    order = np.random.default_rng(0).permutation(len(data.labels))
    batches = [order[i : i + BATCH] for i in range(0, len(order) - BATCH + 1, BATCH)]
    steps: dict[str, Any] = {}
    rows: dict[str, dict[str, Any]] = {}
    reference: dict[str, np.ndarray] = {}
    for peer, build in PEERS.items():
        if peer not in ("minigrad", *only):
            continue
        try:
            built = build(Case(model, data.images, data.labels, start))
        except (ImportError, RuntimeError) as error:
            rows[peer] = {"network": name, "peer": peer, "status": f"not measured: {error}".splitlines()[0]}
            continue
        if built is None:
            continue
        step, weights = built
        for indices in batches[:CHECKED]:
            step(indices)
        trained = weights()
        reference = reference or trained
        gap = max((float(np.abs(reference[k] - w).max()) for k, w in trained.items()), default=0.0)
        if not gap < AGREEMENT:
            raise SystemExit(f"{name}: {peer} differs from minigrad by {gap:.2g} in a weight after {CHECKED} steps")
        steps[peer] = step
        rows[peer] = {"network": name, "peer": peer, "status": "ok", "largest_difference": gap}

    seconds: dict[str, list[float]] = {peer: [] for peer in steps}
    order_of_peers = list(steps)
    for i in range(rounds + 1):
        round_batches = [batches[(i * STEPS[name] + j) % len(batches)] for j in range(STEPS[name])]
        for peer in order_of_peers:
            step, start_time = steps[peer], time.perf_counter()
            for indices in round_batches:
                step(indices)
            seconds[peer].append((time.perf_counter() - start_time) / STEPS[name])
        order_of_peers = order_of_peers[1:] + order_of_peers[:1]  # so that no peer always follows the same one
    for peer in steps:  # the first round is warm-up
        rows[peer] |= ratio(seconds["minigrad"][1:], seconds[peer][1:])
        rows[peer] |= {"step_us": float(np.median(seconds[peer][1:])) * 1e6, "goal": GOALS.get((name, peer))}
    return list(rows.values())


def measure_import(rounds: int) -> list[dict[str, Any]]:
    """Time `import minigrad` and `import numpy` in new processes, without the start of the interpreter.

    Bytecode is cached, as it is in an installed package.
    """
    seconds: dict[str, list[float]] = {"pass": [], "import numpy": [], "import minigrad": []}
    with tempfile.TemporaryDirectory() as cache:
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        variables["PYTHONPYCACHEPREFIX"] = cache
        for _ in range(rounds + 1):
            for statement, times in seconds.items():
                start_time = time.perf_counter()
                subprocess.run([sys.executable, "-c", statement], check=True, cwd=ROOT, env=variables)
                times.append(time.perf_counter() - start_time)
    bare, numpy, minigrad = (np.array(times[1:]) for times in seconds.values())  # the first round fills the cache
    start = np.median(bare)
    minigrad_s, numpy_s = float(np.median(minigrad) - start), float(np.median(numpy) - start)
    row = {"network": "one import", "status": "ok"}
    quartiles = ratio(minigrad - bare, numpy - bare)
    return [
        {**row, "peer": "minigrad", "step_us": minigrad_s * 1e6, **ratio([1.0], [1.0]), "goal": None},
        {
            **row,
            "peer": "numpy",
            "step_us": numpy_s * 1e6,
            **quartiles,
            "ratio": minigrad_s / numpy_s,
            "goal": IMPORT_GOAL,
        },
    ]


def profile(model: Model, data: datasets.Split, steps: int = 400) -> str:
    """Return the functions in which minigrad's step spends most time, without their callees, by cProfile."""
    start = Classifier(model, (28, 28), 10, SCALE, seed=42).state_dict()
    step, _ = minigrad(Case(model, data.images, data.labels, start))
    order = np.random.default_rng(0).permutation(len(data.labels))
    batches = [order[i : i + BATCH] for i in range(0, (steps + CHECKED) * BATCH, BATCH)]
    for indices in batches[:CHECKED]:
        step(indices)
    profiler, text = cProfile.Profile(), io.StringIO()
    with profiler:
        for indices in batches[CHECKED:]:
            step(indices)
    pstats.Stats(profiler, stream=text).strip_dirs().sort_stats("tottime").print_stats(16)
    return text.getvalue().strip()


def versions() -> dict[str, str]:
    """Return the versions of the installed peers that `compare.results.environment` does not list."""
    installed = {}
    for package in ("autograd", "mygrad", "tinygrad"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[package] = importlib.metadata.version(package)
    return installed


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser("python -m benchmarks.engine", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="measured rounds, after one warm-up round")
    parser.add_argument("--imports", type=int, default=25, help="measured rounds of imports; 0 for none")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS, metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT, help="the file for the results")
    parser.add_argument(
        "--profile", choices=NETWORKS, metavar="NAME", help="profile minigrad's step instead of timing it"
    )
    options = parser.parse_args(argv)
    data = datasets.load("mnist").train
    if options.profile:
        print(profile(NETWORKS[options.profile], data))
        return

    import torch

    torch.set_num_threads(THREADS)
    described = environment.describe(THREADS)
    console = Console(highlight=False)
    console.print(f"{described['cpu']}, {THREADS} threads, batches of {BATCH}, median of {options.rounds} rounds")
    rows = [
        row for name in options.networks for row in measure(name, NETWORKS[name], data, options.rounds, options.peers)
    ]
    if options.imports:
        rows += measure_import(options.imports)
    show(rows, "minigrad", console)
    options.out.parent.mkdir(exist_ok=True)
    results = {
        "subject": "minigrad",
        "batch_size": BATCH,
        "rounds": options.rounds,
        "rows": rows,
        "versions": versions(),
    }
    write_json(options.out, {"environment": described, **results})
    console.print(f"written to {options.out}")


if __name__ == "__main__":
    pin("benchmarks.engine")
    sys.exit(run_command("python -m benchmarks.engine", main))
