"""What is to be run: one job a contender, stage and seed, each a process of its own on one copy of the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.classifier import Classifier
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe
from minigrad.runs import weights as weights_file
from minigrad.runs import whole_file, write_json

from . import contenders
from .environment import pin

ANSWER, JOB, LOG, EPOCH = "answer.json", "job.json", "log.txt", "epoch.txt"
NETWORK, LOGITS = "network.npz", "logits.npz"
RECORDINGS = ("float64.npz", "float32.npz", "masked.npz")
FILES = (JOB, ANSWER, LOG, EPOCH, NETWORK, LOGITS, *RECORDINGS)  # all that a job's folder can hold
ARRAYS = ("x_train", "y_train", "x_validation", "y_validation", "x_test", "y_test")


@dataclass(frozen=True, eq=False)
class Job:
    """One stage of one contender. Its answer lies in a folder of its own, whole or not at all."""

    stage: str
    contender: str
    seed: int
    recipe: Recipe
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.stage}/{self.contender}/{self.seed}"

    def environment(self, threads: int) -> dict[str, str]:
        """What its process finds set, beside what is set around us."""
        found = pin(threads) | dict(contenders.find(self.contender).environment) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        if self.stage in ("parity", "matrix"):
            found["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN's own order of summation
        return found

    def write(self, out: Path, shared: Path) -> Path:
        """Lay the job out in the folder `out`, for a worker to read."""
        out.mkdir(parents=True, exist_ok=True)
        recipe = replace(self.recipe, seed_everything=self.seed).as_dict()
        asked = {"contender": self.contender, "stage": self.stage, "recipe": recipe, "shared": str(shared)}
        write_json(out / JOB, asked | {"options": dict(self.options)})
        return out / JOB


def remove(out: Path) -> None:
    """Remove what an earlier process left in a job's folder `out`, and the folders that are then empty."""
    for name in FILES:
        (out / name).unlink(missing_ok=True)
    with suppress(OSError):  # there is no such folder, or it holds other files
        for folder in (out, out.parent, out.parent.parent):
            folder.rmdir()


def answer(folder: Path, job: Job) -> dict[str, Any] | None:
    """What a job answered, or None while it has not, or was asked with other options."""
    out = folder / job.name
    if not (out / ANSWER).exists():
        return None
    asked = json.loads((out / JOB).read_text(encoding="utf-8"))["options"]
    if asked != json.loads(json.dumps(dict(job.options))):  # where a tuple is a list
        return None
    return json.loads((out / ANSWER).read_text(encoding="utf-8"))


def share(folder: Path, data: Dataset, weights: Mapping[int, Mapping[str, np.ndarray]]) -> None:
    """Lay out the data, and each seed's starting weights, for the processes to map."""
    for part in ("train", "validation", "test"):
        split = getattr(data, part)
        np.save(folder / f"x_{part}.npy", split.images)
        np.save(folder / f"y_{part}.npy", split.labels)
    (folder / "data.json").write_text(json.dumps({"classes": data.classes}))
    for seed, arrays in weights.items():
        np.savez(folder / f"weights-{seed}.npz", **arrays)  # type: ignore[arg-type]


def shared_data(folder: Path) -> Dataset:
    """The data set that `share` laid out, mapped, not copied."""
    mapped = [np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in ARRAYS]
    train, validation, test = (Split(*mapped[i : i + 2]) for i in (0, 2, 4))
    return Dataset(train, validation, test, int(json.loads((folder / "data.json").read_text())["classes"]))


def shared_weights(folder: Path, seed: int) -> dict[str, np.ndarray]:
    """The weights that all start from with this seed, float64."""
    with np.load(folder / f"weights-{seed}.npz") as archive:
        return dict(archive)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz, whole or not at all."""
    with whole_file(path) as draft:
        np.savez(draft, **arrays)  # type: ignore[arg-type]


def starting_weights(recipe: Recipe, data: Dataset) -> dict[str, np.ndarray]:
    """The weights that all start from, float64: minigrad's initial ones by the seed, or those of `model.weights`.

    Raises:
        UserError: the weights file doesn't fit.
    """
    net = Classifier(
        recipe.model, data.input_shape, data.classes, data.input_scale, recipe.seed_everything, dtype=np.float64
    )
    if recipe.model.weights is not None:
        net.load_state_dict(weights_file.load_for(recipe.model.weights, weights_file.NetworkSpec.of(recipe, data)))
    return net.state_dict()


def excuses(names: list[str], recipe: Recipe) -> dict[str, str]:
    """For each contender that can't take part, the sentence why."""
    found: dict[str, Any] = {
        name: contenders.find(name).misfit(recipe) or contenders.find(name).missing() for name in names
    }
    return {name: why for name, why in found.items() if why is not None}
