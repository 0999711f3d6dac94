"""python -m benchmarks.gpu: seconds per epoch of `fit` on a GPU, by precision, and on the CPU of the same machine.

Every run is a command that a user would type, in a fresh process, and its
times are those of history.csv, which include the validation. The first two
epochs compile and warm up; the median of the others is printed, and written
to a file with all epochs. A command that fails, for
example because a package is missing, is reported with its message.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from compare import machine
from compare.results import environment
from minigrad.runs import foreign, history, run_command, write_json

RESULTS = Path(__file__).parent / "results"
WARM_UP = 2  # epochs
# The network's name in tables, and the arguments that choose it.
NETWORKS = {
    "cnn": ("cnn, batches of 128", ["--config", "cnn"]),
    "mlp": ("784-4096-10, batches of 128", ["--config", "simple", "--model.hidden", "[4096]"]),
}


class Case(NamedTuple):
    """One way to train a network."""

    package: str
    device: str
    setting: str
    arguments: list[str]
    variables: dict[str, str]


def lightning(device: str, precision: str, compiled: bool = False) -> Case:
    """Return a case of Lightning."""
    chosen = ["--trainer.accelerator", device, "--trainer.devices", "1", "--trainer.precision", precision]
    setting = precision + (", compiled" if compiled else "")
    return Case("lightning_module", device, setting, [*chosen, *(["--compile"] if compiled else [])], {})


def keras(device: str, backend: str, precision: str) -> Case:
    """Return a case of Keras on a backend, which sees a GPU or not."""
    variables = machine.NO_GPU if device == "cpu" else {"JAX_PLATFORMS": "cuda"}
    variables = {"KERAS_BACKEND": backend, **variables}
    return Case("keras_model", device, f"{backend}, {precision}", ["--precision", precision], variables)


CASES = [
    lightning("cpu", "32-true"),
    lightning("gpu", "32-true"),
    lightning("gpu", "bf16-mixed"),
    lightning("gpu", "32-true", compiled=True),
    lightning("gpu", "bf16-mixed", compiled=True),
    keras("cpu", "jax", "float32"),
    keras("gpu", "jax", "float32"),
    keras("gpu", "jax", "mixed_bfloat16"),
    keras("cpu", "tensorflow", "float32"),
    keras("gpu", "tensorflow", "float32"),
    keras("gpu", "tensorflow", "mixed_bfloat16"),
]


# TensorFlow trains on the CPU without a word if it finds no GPU.
FINDS_GPU = "import sys, tensorflow; sys.exit(not tensorflow.config.list_physical_devices('GPU'))"


def cannot_run(case: Case) -> str | None:
    """Return why a case cannot be run here, if that is known before."""
    if "tensorflow" not in case.setting:
        return None
    if importlib.util.find_spec("tensorflow") is None:
        return "tensorflow is not installed"
    if case.device == "gpu" and subprocess.run([sys.executable, "-c", FINDS_GPU], stderr=subprocess.DEVNULL).returncode:
        return "tensorflow finds no GPU"
    return None


def run(case: Case, network: str, epochs: int) -> dict[str, Any]:
    """Train in a fresh process, and return the seconds of each epoch and the test accuracy, or why it failed."""
    name, chosen = NETWORKS[network]
    row = {"network": name, "package": case.package, "device": case.device, "setting": case.setting}
    if reason := cannot_run(case):
        return row | {"status": reason}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", case.package, "fit", *chosen, *case.arguments]
        command += ["--trainer.max_epochs", str(epochs), "--out", str(out)]
        process = subprocess.run(
            command, env=os.environ | case.variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if process.returncode:
            return row | {"status": (process.stdout.strip() or f"status {process.returncode}").splitlines()[-1]}
        seconds = [epoch.seconds for epoch in history.read(out / "history.csv")]
        accuracy = foreign.read_json(out / "metrics.json")["test_accuracy"]
    steady = median(seconds[WARM_UP:])
    return row | {"status": "ok", "epoch_s": steady, "seconds": seconds, "test_accuracy": accuracy}


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print one line per run."""
    table = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for name in ("network", "package", "device", "setting", "s per epoch", "first epoch", "accuracy"):
        table.add_column(name)
    for row in rows:
        chosen = [row[name] for name in ("network", "package", "device", "setting")]
        if row["status"] == "ok":
            chosen += [f"{row['epoch_s']:.3f}", f"{row['seconds'][0]:.1f}", f"{100 * row['test_accuracy']:.2f} %"]
        table.add_row(*chosen)
    console.print(table)
    for message in dict.fromkeys(row["status"] for row in rows if row["status"] != "ok"):
        console.print(message)


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=6, help="the number of epochs, 3 or more")
    parser.add_argument("--network", default="cnn", choices=list(NETWORKS), help="the network")
    parser.add_argument(
        "--out", type=Path, help="the file for the results; default: benchmarks/results/gpu_NETWORK.json"
    )
    options = parser.parse_args(argv)
    if options.epochs <= WARM_UP:
        raise SystemExit(f"--epochs: {options.epochs}; expected {WARM_UP + 1} or more")
    if machine.gpu() is None:
        raise SystemExit("nvidia-smi finds no GPU on this machine")
    described = {"environment": environment.describe(machine.cores()), "epochs": options.epochs}
    out = options.out or RESULTS / f"gpu_{options.network}.json"
    rows: list[dict[str, Any]] = []
    for case in CASES:
        rows.append(run(case, options.network, options.epochs))
        print(*rows[-1].values(), flush=True)
        write_json(out, {**described, "rows": rows})  # what is measured is kept
    show(rows, Console(highlight=False, width=120))


if __name__ == "__main__":
    sys.exit(run_command("python -m benchmarks.gpu", main))
