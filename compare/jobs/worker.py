"""A contender's process: python -m compare.jobs.worker JOB.json START_TIME [turns].

Reads the job, runs its stage, and writes the answer into the job's folder.
A process that takes turns then waits for further jobs. Its output is only a log.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from minigrad.recipes import Recipe
from minigrad.runs import write_json
from minigrad.runs.signals import end_with_parent

from .. import contenders
from ..contenders.base import Contender
from ..parity import recorder
from ..timing import sweep, training
from . import job as jobs
from . import shared
from .task import Task
from .turns import Turns, connect

STAGES: dict[jobs.Stage, Callable[[Task], Any]] = {
    "parity": recorder.run_parity,
    "matrix": recorder.run_matrix,
    "closed": training.run_closed,
    "default": training.run_default,
    "open": training.run_open,
    "again": training.run_again,
    "sweep": sweep.run,
}


def main(path: Path, start_time: float, turns: Turns) -> None:
    """Run the job in the file at `path`, and the others that the parent sends.

    Args:
        path: the file of the job.
        start_time: when the parent started this process, as `time.time()`.
        turns: the turns of this process.
    """
    end_with_parent()
    contender: Contender | None = None
    while True:
        job = json.loads(path.read_text(encoding="utf-8"))
        if contender is None:
            contender = contenders.find(job["contender"])()
            contender.load()
            import_seconds = time.time() - start_time
        recipe, folder = Recipe.from_dict(job["recipe"]), Path(job["shared"])
        if recipe.model.schedule == "reduce_on_plateau":  # needs a validation loss, and the contenders do not validate
            recipe = replace(recipe, model=replace(recipe.model, schedule="constant"))
        weights, data = shared.read_weights(folder, recipe.seed_everything), shared.read_data(folder)
        task = Task(contender, recipe, data, weights, path.parent, job["options"], import_seconds, turns)
        write_json(path.parent / jobs.ANSWER, STAGES[job["stage"]](task))
        if not (reply := turns.end(answered=job["stage"])):
            return
        path = Path(reply)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), connect() if sys.argv[3:] == ["turns"] else Turns())
    os._exit(0)  # the answer is written; a normal exit of torch or TensorFlow takes over a second
