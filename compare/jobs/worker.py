"""One contender's process: python -m compare.jobs.worker JOB.json.

Reads the job, does its stage, and answers in files beside it. It prints
nothing that anyone parses.
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter()  # before NumPy is loaded, which is a part of every contender

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from minigrad.recipes import Recipe
from minigrad.runs import write_json

from .. import contenders
from ..parity import recording
from ..timing import sweep
from ..timing import training as race
from . import job as jobs

STAGES: dict[str, Callable[[race.Task], dict[str, Any]]] = {
    "parity": recording.stage,
    "matrix": recording.matrix,
    "closed": race.closed,
    "open": race.opened,
    "sweep": sweep.measure,
}


def end_with_parent() -> None:
    """Have the system end this process when the one that started it is gone, however that ended. Linux only."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main(path: Path) -> None:
    """Do the job in the file at `path`."""
    end_with_parent()
    job = json.loads(path.read_text(encoding="utf-8"))
    contender = contenders.find(job["contender"])()
    contender.load()
    import_seconds = time.perf_counter() - BEGAN

    recipe, shared = Recipe.from_dict(job["recipe"]), Path(job["shared"])
    if recipe.model.schedule == "reduce_on_plateau":  # it watches a validation loss, and here nobody validates
        recipe = replace(recipe, model=replace(recipe.model, schedule="constant"))
    data = jobs.shared_data(shared)
    weights = jobs.shared_weights(shared, recipe.seed_everything)
    task = race.Task(contender, recipe, data, weights, path.parent, job["options"], import_seconds)
    write_json(path.parent / jobs.ANSWER, STAGES[job["stage"]](task))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    os._exit(0)  # the answer is written; to tidy up takes torch and TensorFlow over a second
