"""python -m benchmarks.ports: does `python -m compare diff` find and explain the mistakes of a port?

Each model of `tests/compare/ports` exists in PyTorch and in Keras. The correct
pairs must be equal in float64 and float32 once the weights are copied,
including gradients and an update of the optimizer; a difference would be a
false alarm. Then each mistake is planted in one side. It is found if the
models differ, and explained if the first explanation names it. The table is
printed, and written to `benchmarks/results/ports.json`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

import compare
from compare.porting.request import CopyWeights
from compare.porting.result import DiffResult
from compare.results import environment
from minigrad.runs import run_command, write_json

from .harness import THREADS, pin

ROOT = Path(__file__).parents[1]
OUT, FOLDER = ROOT / "benchmarks/results/ports.json", ROOT / "tests/compare/ports"


class Port(NamedTuple):
    """A pair of models, and the mistake that one of them has; None if both are correct."""

    model: str
    mistake: str | None = None
    torch: str = "model"
    keras: str = "model"
    copy_weights: CopyWeights = "left"


PORTS = (
    Port("mlp"),
    Port("lenet"),
    Port("lenet", None, "model_padded_pooling", "model_padded_pooling"),
    Port("resnet18"),
    Port("mobilenet_v2", copy_weights="right"),
    Port("transformer"),
    Port("transformer", keras="model_library_gelu"),
    Port("mlp", "activation", keras="model_wrong_activation"),
    Port("mlp", "softmax in the model", keras="model_softmax"),
    Port("mlp", "missing bias", keras="model_missing_bias"),
    Port("mlp", "dropout active", keras="model_active_dropout"),
    Port("mlp", "reshaped kernel", "model_seeded", "model_reshaped_kernel", "none"),
    Port("mlp", "transposed weight", "model_seeded", "model_transposed_kernel", "none"),
    Port("mlp", "activation", "model_wrong_activation"),
    Port("mlp", "softmax in the model", "model_softmax"),
    Port("mlp", "missing bias", "model_missing_bias"),
    Port("mlp", "dropout active", "model_active_dropout"),
    Port("lenet", "flatten order", keras="model_flatten_order"),
    Port("lenet", "channels swapped", keras="model_swapped_channels"),
    Port("lenet", "input not scaled", keras="model_scaled_twice"),
    Port("lenet", "activation", keras="model_wrong_activation"),
    Port("lenet", "softmax in the model", keras="model_softmax"),
    Port("lenet", "missing bias", keras="model_missing_bias"),
    Port("lenet", "reshaped kernel", "model_seeded", "model_reshaped_kernel", "none"),
    Port("lenet", "channels swapped", "model_seeded", "model_swapped_kernel", "none"),
    Port("lenet", "padding counted in the average", "model_padding_counted", "model_padded_pooling"),
    Port("resnet18", "batch norm epsilon", keras="model_wrong_epsilon"),
    Port("resnet18", "batch norm momentum", keras="model_wrong_momentum"),
    Port("resnet18", "asymmetric padding", keras="model_same_padding"),
    Port("resnet18", "channels swapped", keras="model_swapped_channels"),
    Port("resnet18", "input not scaled", keras="model_scaled_twice"),
    Port("resnet18", "softmax in the model", keras="model_softmax"),
    Port("mobilenet_v2", "batch norm epsilon", "model_wrong_epsilon", copy_weights="right"),
    Port("mobilenet_v2", "batch norm momentum", "model_wrong_momentum", copy_weights="right"),
    Port("mobilenet_v2", "asymmetric padding", "model_symmetric_padding", copy_weights="right"),
    Port("mobilenet_v2", "activation", "model_wrong_activation", copy_weights="right"),
    Port("mobilenet_v2", "softmax in the model", keras="model_softmax", copy_weights="right"),
    Port("transformer", "layer norm epsilon", keras="model_wrong_epsilon"),
    Port("transformer", "gelu approximation", keras="model_tanh_gelu"),
    Port("transformer", "activation", keras="model_wrong_activation"),
    Port("transformer", "missing bias", keras="model_missing_bias"),
    Port("transformer", "dropout active", keras="model_active_dropout"),
    Port("transformer", "softmax in the model", keras="model_softmax"),
)


def measure(port: Port) -> dict[str, Any]:
    """Compare one pair, and return what was found."""
    sides = [f"{name}:{FOLDER}/{name}_{port.model}.py:{getattr(port, name)}" for name in ("torch", "keras")]
    result = compare.diff(*sides, copy_weights=port.copy_weights, steps=1)
    first = result.explanations[0] if result.explanations else None
    notes = [note for stage in result.stages for note in stage.notes]
    return {
        "model": port.model,
        "mistake": port.mistake,
        "torch": port.torch,
        "keras": port.keras,
        "equal": result.equal,
        "explanation": first.mistake if first else None,
        "sentence": first.sentence if first else "",
        "notes": notes,
        "largest": largest(result),
        "seconds": result.seconds,
        "peak_mb": result.peak_mb,
    }


def largest(result: DiffResult) -> float | None:
    """Return the largest difference of an output in float64; None if one is not a number."""
    gaps = [d.gap for d in result.differences if d.stage == "forward" and d.dtype == "float64"]
    return None if None in gaps else max((gap for gap in gaps if gap is not None), default=None)


def verdict(row: dict[str, Any]) -> str:
    """Return what the command made of a pair: equal, false alarm, not found, found, explained."""
    if row["mistake"] is None:
        return "equal" if row["equal"] else "false alarm"
    if row["equal"]:
        setting = row["mistake"].split()[-1]
        by_convention = any("by convention" in note and setting in note for note in row["notes"])
        return "reported as a convention" if by_convention else "not found"
    named = (row["explanation"] or "").replace("in_proj_", "")  # the bias of an attention layer
    return "explained" if named == row["mistake"] else "found"


def main(argv: Sequence[str]) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser("python -m benchmarks.ports", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="*", default=None, help="only these models; by default all")
    parser.add_argument("--out", type=Path, default=OUT, help="the file for the results")
    options = parser.parse_args(argv)
    described, rows, console = environment.describe(THREADS), [], Console(highlight=False, soft_wrap=True)
    for port in PORTS:
        if options.models and port.model not in options.models:
            continue
        row = measure(port)
        rows.append({**row, "verdict": verdict(row)})
        console.print(
            f"{port.model}: {port.mistake or 'correct'}: {verdict(row)}; {row['sentence']} {row['seconds']:.0f} s"
        )
    write_json(options.out, {"environment": described, "rows": rows})
    console.print(f"written to {options.out}")


if __name__ == "__main__":
    pin("benchmarks.ports")
    sys.exit(run_command("python -m benchmarks.ports", main))
