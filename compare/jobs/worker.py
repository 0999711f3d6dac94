"""A contender's process: python -m compare.jobs.worker JOB.json.

Reads the job, runs its stage, and writes the answer into the job's folder.
Its output is only a log.
"""

from __future__ import annotations

import time

START_TIME = time.perf_counter()  # before NumPy is loaded, which every contender needs

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from minigrad.recipes import Recipe
from minigrad.runs import write_json
from minigrad.runs.signals import end_with_parent

from .. import contenders
from ..parity import recorder
from ..timing import sweep, training
from . import job as jobs
from . import shared
from .task import Task

STAGES: dict[jobs.Stage, Callable[[Task], Any]] = {
    "parity": recorder.run_parity,
    "matrix": recorder.run_matrix,
    "closed": training.run_closed,
    "open": training.run_open,
    "sweep": sweep.run,
}


def main(path: Path) -> None:
    """Run the job in the file at `path`."""
    end_with_parent()
    job = json.loads(path.read_text(encoding="utf-8"))
    contender = contenders.find(job["contender"])()
    contender.load()
    import_seconds = time.perf_counter() - START_TIME

    recipe, folder = Recipe.from_dict(job["recipe"]), Path(job["shared"])
    if recipe.model.schedule == "reduce_on_plateau":  # needs a validation loss, and the contenders do not validate
        recipe = replace(recipe, model=replace(recipe.model, schedule="constant"))
    weights = shared.read_weights(folder, recipe.seed_everything)
    task = Task(contender, recipe, shared.read_data(folder), weights, path.parent, job["options"], import_seconds)
    write_json(path.parent / jobs.ANSWER, STAGES[job["stage"]](task))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)  # the answer is written; a normal exit of torch or TensorFlow takes over a second
