"""python -m benchmarks.parallel: a training step of minigrad on one and on two devices, interleaved in one run.

Two devices are two processes with one BLAS thread each, as in `python -m
minigrad train --devices 2`. They are compared with one device whose BLAS uses
one thread, and with one device whose BLAS uses all threads, which is the
default. Nothing is timed unless the gradients of the first step agree. In
each round, all of them run the same steps in turn; the ratio is computed per
round. The medians are printed and written to `benchmarks/results/parallel.json`.

`--threshold` also measures networks of several kinds and sizes. From these
ratios follows which networks `--devices auto` divides: those with enough
operations in convolutions (`FLOPS_PER_DEVICE` in minigrad/devices.py).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from compare.results import environment
from minigrad import blas, datasets, devices, recipes
from minigrad.classifier import Classifier
from minigrad.parallel import DataParallel
from minigrad.recipes import Data, Model, Recipe
from minigrad.runs import run_command, write_json
from minigrad.runs.weights import NetworkSpec
from minigrad.training import Schedule, build_optimizer, train_epoch

from .harness import THREADS, pin, ratio, show

OUT = Path(__file__).parents[1] / "benchmarks" / "results" / "parallel.json"
DEVICES = 2
SUBJECT = f"{DEVICES} devices"
WARM_UP = 20  # steps
AGREEMENT = 1e-3  # the largest difference of a gradient in float32, relative to the largest gradient of its array
SECONDS = 0.3  # about the time of each peer in a round

RECIPES = ("simple", "advanced", "cnn")


def of(batch_size: int = 128, **model: Any) -> Recipe:
    return Recipe(model=Model(optimizer="adam", learning_rate=0.001, **model), data=Data(batch_size=batch_size))


def cnn(channels: list[int], hidden: Sequence[int] = (), batch_size: int = 128) -> Recipe:
    return of(batch_size, architecture="cnn", channels=channels, kernel_size=3, hidden=[*hidden])


NETWORKS = {
    **{f"784-{width}-10": of(hidden=[width]) for width in (10, 32, 128, 512, 1024)},
    **{f"784-{width}-{width // 2}-10": of(hidden=[width, width // 2]) for width in (128, 512)},
    **{f"784-1024-10, batches of {size}": of(size, hidden=[1024]) for size in (512, 2048)},
    **{f"cnn 1-1, batches of {size}": cnn([1, 1], batch_size=size) for size in (16, 32, 64)},
    **{f"cnn {a}-{2 * a}": cnn([a, 2 * a]) for a in (1, 2, 4, 8)},
    **{f"cnn {a}-{2 * a}, then {width}": cnn([a, 2 * a], [width]) for a, width in ((1, 256), (2, 1024), (8, 1024))},
}

Steps = Callable[[Sequence[np.ndarray]], None]


def peers(recipe: Recipe, data: datasets.Dataset, stack: ExitStack) -> dict[str, tuple[Steps, Classifier]]:
    """Return a function that trains for some steps, and its network, per number of devices and threads."""
    built: dict[str, tuple[Steps, Classifier]] = {}
    for threads in sorted({1, THREADS}):
        built[f"1 device, {threads} BLAS thread{'s' * (threads > 1)}"] = trainer(recipe, data, threads)
    net = network(recipe, data)
    ranks = DataParallel(net, recipe.model, data.input_shape, np.uint8, recipe.data.batch_size, DEVICES)
    built[SUBJECT] = trainer(recipe, data, 1, stack.enter_context(ranks))
    return built


def network(recipe: Recipe, data: datasets.Dataset) -> Classifier:
    return Classifier(recipe.model, data.input_shape, data.classes, data.input_scale, recipe.seed_everything)


def trainer(
    recipe: Recipe, data: datasets.Dataset, threads: int, ranks: DataParallel | None = None
) -> tuple[Steps, Classifier]:
    """Return a function that trains for some steps with `train_epoch`, and the network that it trains."""
    net = network(recipe, data) if ranks is None else ranks.net
    optimizer = build_optimizer(net.parameters(), recipe.model)
    schedule = Schedule("constant", optimizer, 1)
    moves = datasets.epoch_shifts(len(data.train.labels), 0, 0) if recipe.data.augment == "shift" else None
    (ranks or net).begin_epoch(0)

    def steps(batches: Sequence[np.ndarray]) -> None:
        with blas.threads(threads):
            train_epoch(net, optimizer, *data.train, batches, schedule, None, moves, ranks)

    return steps, net


def measure(name: str, recipe: Recipe, data: datasets.Dataset, rounds: int) -> list[dict[str, Any]]:
    """Time one network.

    Returns:
        One row per number of devices and threads, with seconds per epoch, microseconds per step and the ratio of two
        devices to it.
    """
    size = recipe.data.batch_size
    batches = list(datasets.batches(len(data.train.labels), size, 0, 0))[:-1]
    with ExitStack() as stack:
        built = peers(recipe, data, stack)
        reference = next(iter(built.values()))[1]
        for peer, (steps, net) in built.items():
            steps(batches[:1])
            gap = largest_difference(reference, net)
            if not gap < AGREEMENT:
                raise SystemExit(f"{name}: a gradient of {peer} differs by {gap:.2g} in the first step")
        start = time.perf_counter()
        for steps, _ in built.values():
            steps(batches[:WARM_UP])
        count = max(1, int(SECONDS / (time.perf_counter() - start) * WARM_UP * len(built)))
        seconds: dict[str, list[float]] = {peer: [] for peer in built}
        order = list(built)
        for i in range(rounds + 1):
            chosen = [batches[(i * count + j) % len(batches)] for j in range(count)]
            for peer in order:
                start = time.perf_counter()
                built[peer][0](chosen)
                seconds[peer].append((time.perf_counter() - start) / count)
            order = order[1:] + order[:1]  # so that no peer always follows the same one
    per_epoch = datasets.steps_per_epoch(len(data.train.labels), size)
    flops = devices.convolution_flops_per_step(NetworkSpec.of(recipe, data))
    rows = []
    for peer, times in seconds.items():  # the first round is warm-up
        step = float(np.median(times[1:]))
        row = {"network": name, "peer": peer, "status": "ok", "convolution_flops": flops, "step_us": step * 1e6}
        rows.append({**row, "epoch_s": step * per_epoch, **ratio(seconds[SUBJECT][1:], times[1:]), "goal": None})
    return rows


def largest_difference(a: Classifier, b: Classifier) -> float:
    """Return the largest difference of two gradients, relative to the largest gradient of the array."""
    pairs = [(p.grad, q.grad) for p, q in zip(a.parameters(), b.parameters(), strict=True)]
    return max(float(np.abs(g - h).max() / np.abs(g).max()) for g, h in pairs if g is not None and h is not None)


def threshold(rows: list[dict[str, Any]], console: Console) -> None:
    """Print each network's operations in convolutions, and the ratio to the faster kind of one device."""
    by_network: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_network.setdefault(row["network"], []).append(row)
    console.print(
        "\nmillion operations in convolutions per step and device; two devices / the faster kind of one device"
    )
    for name, group in sorted(by_network.items(), key=lambda item: item[1][0]["convolution_flops"]):
        worst = max(row["ratio"] for row in group if row["peer"] != SUBJECT)
        console.print(f"{group[0]['convolution_flops'] / DEVICES / 1e6:10,.1f}  {worst:5.2f}  {name}")


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser("python -m benchmarks.parallel", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="measured rounds, after one warm-up round")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=RECIPES, metavar="NAME")
    parser.add_argument("--threshold", action="store_true", help="also measure networks of several sizes")
    parser.add_argument("--out", type=Path, default=OUT, help="the file for the results")
    options = parser.parse_args(argv)
    if devices.processors() < DEVICES:
        raise SystemExit(f"this process may use {devices.processors()} processor; expected {DEVICES} or more")
    described = environment.describe(THREADS)
    console = Console(highlight=False)
    console.print(f"{described['cpu']}, {THREADS} threads or {SUBJECT}, median of {options.rounds} rounds")
    data = datasets.load("mnist", None, 42)  # 55,000 training images, as in the recipes
    subjects = {name: recipes.load(name) for name in options.recipes}
    rows = [row for name, recipe in subjects.items() for row in measure(name, recipe, data, options.rounds)]
    show(rows, SUBJECT, console)
    for row in rows:
        console.print(f"{row['network']}, {row['peer']}: {row['epoch_s']:.2f} s per epoch")
    sizes = NETWORKS if options.threshold else {}
    measured = [row for name, recipe in sizes.items() for row in measure(name, recipe, data, options.rounds)]
    if measured:
        threshold(rows + measured, console)
    options.out.parent.mkdir(exist_ok=True)
    results = {"subject": SUBJECT, "rounds": options.rounds, "rows": rows, "threshold": measured}
    write_json(options.out, {"environment": described, **results})
    console.print(f"written to {options.out}")


if __name__ == "__main__":
    pin("benchmarks.parallel")
    sys.exit(run_command("python -m benchmarks.parallel", main))
