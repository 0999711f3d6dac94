"""python -m benchmarks.exports: the matrix of exported files, format by backend by precision.

Two recipes are trained by minigrad for one epoch. Each backend exports the
same weights with its public command, in all formats and precisions; what it
refuses is recorded with its sentence. The files of one format are then read in
a fresh process, as another program would read them: differences from the
logits of minigrad and accuracy over the 10,000 test images, size, and the
median time of one image and of 1,000 images. The table is printed, and written
to `benchmarks/results/exports.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from compare.results import environment
from minigrad import datasets
from minigrad.restore import restore
from minigrad.runs import exports, run_command, write_json
from minigrad.runs.exports import Predict
from minigrad.runs.formats import OF_KERAS, PRECISIONS, Cell

from .harness import THREADS, pin

OUT = Path(__file__).parent / "results" / "exports.json"
NETWORKS = ("cnn", "simple")
STEM = "weights"
COUNTS = (1, 1000)  # images per call
SECONDS, CALLS = 0.3, 5  # that each median lasts, and the smallest number of its calls


class Backend(NamedTuple):
    """A package that exports, its module that reads the files, and the backend of Keras."""

    name: str
    package: str
    reader: str
    keras: str = ""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the package's command `export`."""
        command = [sys.executable, "-m", self.package, "export", *words]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment())

    def environment(self) -> dict[str, str]:
        """Return the environment variables of a process of this backend."""
        return os.environ | ({"KERAS_BACKEND": self.keras} if self.keras else {})


BACKENDS = (
    Backend("minigrad", "minigrad", "minigrad.restore"),
    Backend("Lightning", "lightning_module", "lightning_module.restore"),
    *(
        Backend(f"Keras, {name}", "keras_model", "keras_model.export.reader", name)
        for name in ("tensorflow", "jax", "torch")
    ),
)


def train(recipe: str, folder: Path) -> Path:
    """Train a recipe for one epoch, and return its weights file."""
    words = ["--config", recipe, "--trainer.max_epochs", "1", "--out", str(folder / recipe)]
    subprocess.run([sys.executable, "-m", "minigrad", "train", *words], check=True, capture_output=True)
    return folder / recipe / f"{STEM}.safetensors"


def export(backend: Backend, weights: Path, out: Path) -> dict[str, str]:
    """Export to the folder `out`; return the sentences about what is refused, by `KIND` or `KIND in PRECISION`."""
    words = ["--model.weights", str(weights), "--out", str(out)]
    process = backend.run(*words, "--precision", *PRECISIONS)
    if process.returncode:
        raise SystemExit(f"{backend.name}: {process.stderr}")
    sentences = [line for line in process.stdout.splitlines() if line.split(" in ")[0].split(":")[0] in OF_KERAS]
    if backend.package == "lightning_module":  # it keeps the weights file that it reads
        process = backend.run(*words, "--kinds", "safetensors")
        if process.returncode:
            raise SystemExit(f"{backend.name}: {process.stderr}")
    return {sentence.split(":")[0]: sentence for sentence in sentences}


def refused(backend: Backend, weights: Path, kind: str) -> str:
    """Return the sentence with which a backend refuses a format."""
    process = backend.run("--model.weights", str(weights), "--kinds", kind, "--out", str(weights.parent / "refused"))
    if process.returncode != 2:
        raise SystemExit(f"{backend.name}: {kind} is neither written nor refused: {process.stdout}{process.stderr}")
    return process.stderr.strip().splitlines()[-1].partition(": error: ")[2]


def matrix(backend: Backend, weights: Path, out: Path, sentences: dict[str, str]) -> list[dict[str, Any]]:
    """Return one row per cell of the matrix: the measurement of a file, or the sentence of a refusal.

    Args:
        backend: the backend.
        weights: the network.
        out: the folder for the files.
        sentences: the refusals that are known already, by kind; further ones are added.
    """
    names = export(backend, weights, out)
    rows: list[dict[str, Any]] = []
    for kind in OF_KERAS:
        cells = [Cell(kind, precision) for precision in PRECISIONS]
        files = {cell: path for cell in cells if (path := out / cell.file(STEM)).exists()}
        measured = iter(measure(backend, list(files.values()), weights) if files else ())
        if not files and kind not in names and kind not in sentences:
            sentences[kind] = refused(backend, weights, kind)
        for cell in cells:
            row = {"backend": backend.name, "kind": kind, "precision": cell.precision}
            if cell in files:
                rows.append({**row, "status": "ok", **next(measured)})
            else:
                reason = names.get(kind) or names.get(f"{kind} in {cell.precision}") or sentences[kind]
                rows.append({**row, "status": reason})
    return rows


def measure(backend: Backend, files: Sequence[Path], weights: Path) -> list[dict[str, Any]]:
    """Measure files of one format in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.exports", "--measure", backend.reader, str(weights), *map(str, files)]
    process = subprocess.run(command, capture_output=True, text=True, env=backend.environment())
    if process.returncode:
        raise SystemExit(f"{backend.name}: {process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure_here(reader: str, weights: Path, files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Measure files with the functions of the module `reader`, which read them."""
    images, labels = datasets.load("mnist").test
    expected, loaders = restore(weights)[0].predict(images), import_module(reader).LOADERS
    for path in files:
        predict = loaders[path.suffix](path)
        logits = exports.predict_all_and_first(predict, images)[:-1]
        largest, mean = exports.differences(logits, expected)
        accuracies = [float((x.argmax(1) == labels).mean()) for x in (logits, expected)]
        yield {
            "largest": largest,
            "mean": mean,
            "accuracy": accuracies[0],
            "network_accuracy": accuracies[1],
            "bytes": exports.size(path),
            "ms": {str(count): milliseconds(predict, images[:count]) for count in COUNTS},
        }


def milliseconds(predict: Predict, images: np.ndarray) -> float:
    """Return the median time of a call, after calls to warm up."""
    for _ in range(CALLS):
        predict(images)
    times: list[float] = []
    while len(times) < CALLS or sum(times) < SECONDS:
        start = time.perf_counter()
        predict(images)
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser("python -m benchmarks.exports", description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="the recipes to train")
    parser.add_argument("--backends", nargs="+", default=[b.name for b in BACKENDS], help="the backends; default: all")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=OUT, help="the file of the results")
    options = parser.parse_args(argv)
    if options.measure:
        reader, weights, *files = options.measure
        print(json.dumps(list(measure_here(reader, Path(weights), [Path(file) for file in files]))))
        return
    described, console = environment.describe(THREADS), Console(highlight=False, soft_wrap=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        networks = {name: train(name, Path(temporary)) for name in options.networks}
        for backend in (b for b in BACKENDS if b.name in options.backends):
            sentences: dict[str, str] = {}
            for name, weights in networks.items():
                out = Path(temporary, f"{backend.name} {name}")
                rows += [{"network": name, **row} for row in matrix(backend, weights, out, sentences)]
                console.print(f"{name}, {backend.name}: {time.strftime('%H:%M:%S')}")
    for (network, backend_name), group in groupby(rows, key=lambda row: (row["network"], row["backend"])):
        for row in group:
            label = f"{network}, {backend_name}, {row['kind']} {row['precision']}"
            console.print(f"{label}: {text(row) if row['status'] == 'ok' else row['status']}")
    write_json(options.out, {"environment": described, "rows": rows})
    console.print(f"written to {options.out}")


def text(row: dict[str, Any]) -> str:
    """Describe a measured file in one line."""
    ms = ", ".join(f"{value:.3f} ms per {count} images" for count, value in row["ms"].items())
    return (
        f"largest difference {row['largest']:.1e}, mean difference {row['mean']:.1e}, accuracy {100 * row['accuracy']:.2f} %,"
        f" {row['bytes'] / 1000:,.1f} kB, {ms}"
    )


if __name__ == "__main__":
    pin("benchmarks.exports")
    sys.exit(run_command("python -m benchmarks.exports", main))
