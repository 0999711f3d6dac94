"""The data set and the starting weights, written once and memory-mapped by all worker processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minigrad.classifier import Classifier
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe
from minigrad.runs import weights as weights_file
from minigrad.runs import whole_file, writing

ARRAYS = ("x_train", "y_train", "x_validation", "y_validation", "x_test", "y_test")


def write(folder: Path, data: Dataset, weights: Mapping[int, Mapping[str, np.ndarray]]) -> None:
    """Write the data, and the starting weights by seed, into `folder`."""
    with writing(folder):
        for part in ("train", "validation", "test"):
            split = getattr(data, part)
            np.save(folder / f"x_{part}.npy", split.images)
            np.save(folder / f"y_{part}.npy", split.labels)
        (folder / "data.json").write_text(json.dumps({"classes": data.classes, "class_names": data.class_names}))
        for seed, arrays in weights.items():
            np.savez(folder / f"weights-{seed}.npz", **arrays)  # type: ignore[arg-type]


def read_data(folder: Path) -> Dataset:
    """Return the data set in `folder`, memory-mapped."""
    mapped = [np.asarray(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in ARRAYS]
    train, validation, test = (Split(*mapped[i : i + 2]) for i in (0, 2, 4))
    described = json.loads((folder / "data.json").read_text())
    return Dataset(train, validation, test, described["classes"], class_names=tuple(described["class_names"]))


def read_weights(folder: Path, seed: int) -> dict[str, np.ndarray]:
    """Return the starting weights of a seed, float64."""
    with np.load(folder / f"weights-{seed}.npz") as archive:
        return dict(archive)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz file, completely or not at all."""
    with whole_file(path) as draft:
        np.savez(draft, **arrays)  # type: ignore[arg-type]


def starting_weights(recipe: Recipe, data: Dataset) -> dict[str, np.ndarray]:
    """Return the weights that all contenders start from, float64.

    These are minigrad's initial weights of the recipe's seed, or those of
    the file `model.weights`.

    Raises:
        UserError: the weights file does not fit the recipe.
    """
    net = Classifier(
        recipe.model, data.input_shape, data.classes, data.input_scale, recipe.seed_everything, dtype=np.float64
    )
    if recipe.model.weights is not None:
        net.load_state_dict(weights_file.load_for(recipe.model.weights, weights_file.NetworkSpec.of(recipe, data)))
    return net.state_dict()
