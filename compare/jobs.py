"""Run each contender in a process of its own, all on one copy of the data and the starting weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import recipes
from minigrad.classifier import Classifier
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import weights as weights_file
from minigrad.runs import write_json

from . import contenders
from .environment import pin


@dataclass(frozen=True)
class Workshop:
    """Where the processes meet: the shared files, a folder a job, and their environment."""

    folder: Path
    recipe: Recipe
    threads: int

    def run(self, name: str, stage: str) -> tuple[Path, str | None]:
        """Run one stage of one contender; returns its folder, and a sentence if it failed."""
        out = self.folder / stage / name
        out.mkdir(parents=True)
        job = {"contender": name, "stage": stage, "recipe": self.recipe.as_dict(), "shared": str(self.folder)}
        write_json(out / "job.json", job)
        environment = os.environ | pin(self.threads) | dict(contenders.find(name).environment)
        environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
        if stage == "parity":
            environment["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN's own order of summation
        with (out / "log.txt").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "compare.worker", str(out / "job.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is ours to pass on
            )
            try:
                status = process.wait()
            except BaseException:
                process.kill()
                process.wait()
                raise
        return out, f"failed: {last_line(out / 'log.txt', status)}" if status else None


def last_line(log: Path, status: int) -> str:
    """What a process said last before it ended with `status`."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return (
        lines[-1] if lines and status > 0 else f"ended by signal {-status}" if status < 0 else f"exit status {status}"
    )


def share(folder: Path, data: Dataset, weights: Mapping[str, np.ndarray]) -> None:
    """Lay out the data and the starting weights for the processes to map."""
    arrays = {
        "x_train": data.train.images,
        "y_train": data.train.labels,
        "x_test": data.test.images,
        "y_test": data.test.labels,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "data.json").write_text(json.dumps({"classes": data.classes}))
    np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]


def starting_weights(recipe: Recipe, data: Dataset) -> dict[str, np.ndarray]:
    """The weights that all start from, float64: minigrad's initial ones by the seed, or those of `model.weights`.

    Raises:
        UserError: the weights file doesn't fit.
    """
    net = Classifier(
        recipe.model, data.input_shape, data.classes, data.input_scale, recipe.seed_everything, dtype=np.float64
    )
    if recipe.model.weights is not None:
        shapes = recipes.plan(recipe.model, data.input_shape, data.classes).shapes(recipe.model)
        net.load_state_dict(weights_file.read_for(recipe.model.weights, shapes, data.input_scale))
    return net.state_dict()


def excuses(names: list[str], recipe: Recipe) -> dict[str, str]:
    """For each contender that can't take part, the sentence why."""
    found: dict[str, Any] = {
        name: contenders.find(name).misfit(recipe) or contenders.find(name).missing() for name in names
    }
    return {name: why for name, why in found.items() if why is not None}
