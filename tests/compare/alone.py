"""Trains a contender in a process of its own: `alone.train` in a test starts `python alone.py ASKED.json`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from compare import contenders
from compare.contenders import minigrad
from compare.contenders.base import Batches, Contender, Observer
from compare.jobs.shared import starting_weights
from compare.machine import thread_settings
from compare.parity.recorder import Recorder, measure_tolerances
from minigrad import datasets
from minigrad.recipes import Recipe


class EpochEnds(Observer):
    """Counts the steps, and keeps loss and weights at each epoch's end."""

    def __init__(self, epoch_steps: int) -> None:
        self.epoch_steps = epoch_steps
        self.looks: list[int] = []
        self.losses: list[float] = []
        self.weights: list[Any] = []

    def after_steps(self, steps: int, loss: Any, weights: Any, gradients: Any) -> None:
        self.looks.append(steps)
        if sum(self.looks) % self.epoch_steps == 0:
            self.losses.append(loss())
            self.weights.append(weights())


def asked(path: str, out: Path, how: str = "fit", dtype: str = "float32", epochs: int = 1, **keys: Any) -> dict:
    """Describe one training on the data at `path`.

    `how` is fit, fit_default, fit_open or record; `keys` are keys of the recipe's model and data.
    """
    fields = {name: keys.pop(name) for name in ("batch_size", "augment") if name in keys}
    recipe = Recipe.from_dict({"model": keys, "data": {"path": path, "validation_size": 0, "batch_size": 32} | fields})
    return {"recipe": recipe.as_dict(), "how": how, "dtype": dtype, "epochs": epochs, "out": str(out)}


def train(name: str, trainings: list[dict], script: str = __file__, **environment: str) -> list[dict]:
    """Run the trainings, and return what was measured in each. `record` also writes DTYPE.npz
    into its folder, and minigrad's tolerances in float32."""
    folder = Path(trainings[0]["out"])
    for one in trainings:
        Path(one["out"]).mkdir(parents=True, exist_ok=True)
    (folder / "asked.json").write_text(json.dumps({"name": name, "trainings": trainings}))
    settings = os.environ | thread_settings(1) | dict(contenders.find(name).environment) | environment
    if any(one["how"] == "record" for one in trainings):
        settings["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN sums in another order
    command = [sys.executable, script, str(folder / "asked.json")]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "answers.json").read_text())


def one(contender: Contender, asked: dict) -> dict:
    """Run one training, and measure it."""
    out, recipe = Path(asked["out"]), Recipe.from_dict(asked["recipe"])
    data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
    weights = starting_weights(recipe, data)
    batches = Batches(data.train, recipe.data.batch_size, recipe.seed_everything, asked["epochs"], recipe.data.augment)
    modules = set(sys.modules)
    contender.build(recipe, data, weights, asked["dtype"])
    if asked["how"] == "record":
        recorder = Recorder(batches.steps)
        contender.fit(batches, recorder)
        recorder.save(out / f"{asked['dtype']}.npz")
        if isinstance(contender, minigrad.Contender) and (out / "float32.npz").exists():
            measure_tolerances(contender, recipe, data, weights, out)
        return {"dtypes": sorted({str(w.dtype) for w in contender.state().values()})}
    observer = EpochEnds(batches.steps // batches.epochs)
    getattr(contender, asked["how"])(batches, observer)
    imported = sorted(set(sys.modules) - modules)
    state, logits = contender.state(), contender.predict(data.test.images)
    a, b = np.random.default_rng(0).normal(size=(2, 6, 6)).astype(np.float32)
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    told = [weights, *observer.weights]
    return {
        "looks": observer.looks,
        "losses": observer.losses,
        "accuracy": float((logits.argmax(1) == data.test.labels).mean()),
        "test_loss": float(-np.log(chances[np.arange(len(logits)), data.test.labels]).mean()),
        "sums": {name: float(np.abs(w).sum(dtype=np.float64)) for name, w in state.items()},
        "last_is_state": all(np.array_equal(observer.weights[-1][name], w) for name, w in state.items()),
        # If the weights of an epoch were not copies, later epochs would change them.
        "moved": [bool((a["output.weight"] != b["output.weight"]).any()) for a, b in pairwise(told)],
        "saved": (path := contender.save(out)).name,
        "bytes": path.stat().st_size,
        "described": contender.describe(),
        "imported": imported,
        "product_error": float(np.abs(np.asarray(contender.product(a, b)()) - a @ b).max()),
        "library": contender.library(),
    }


def main(contender: Contender, trainings: list[dict]) -> None:
    contender.load()
    answers = [one(contender, asked) for asked in trainings]
    (Path(trainings[0]["out"]) / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    main(contenders.find(given["name"])(), given["trainings"])
