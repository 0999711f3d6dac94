"""One job: a stage of one contender with one seed. It runs in a process of its own and writes its answer to files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from minigrad.recipes import Recipe
from minigrad.runs import foreign, write_json
from minigrad.runs.foreign import Invalid, parsing

from .. import contenders
from ..machine import thread_settings
from ..results import typed
from ..results.schema import DIVISIONS, Run, SweepAnswer, check_run

Stage = Literal["parity", "matrix", "closed", "default", "open", "again", "sweep"]
ANSWER, JOB, LOG = "answer.json", "job.json", "log.txt"
NETWORK, LOGITS = "network.npz", "logits.npz"
RECORDINGS = ("float64.npz", "float32.npz", "masked.npz", "tolerance.npz")
FILES = (JOB, ANSWER, LOG, NETWORK, LOGITS, *RECORDINGS)  # all files that a job's folder can hold


@dataclass(frozen=True, eq=False)
class Job:
    """One stage of one contender with one seed.

    Attributes:
        stage: what the worker does.
        contender: name of the contender.
        seed: replaces the recipe's seed.
        recipe: the recipe.
        options: further arguments of the stage, JSON-serializable.
    """

    stage: Stage
    contender: str
    seed: int
    recipe: Recipe
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The job's folder below the folder of all answers."""
        return f"{self.stage}/{self.contender}/{self.seed}"

    def environment(self, threads: int) -> dict[str, str]:
        """Return the environment variables of the worker process, in addition to those of this process."""
        variables = thread_settings(threads) | dict(contenders.find(self.contender).environment)
        variables["TF_CPP_MIN_LOG_LEVEL"] = "3"
        if self.stage in ("parity", "matrix"):
            variables["TF_ENABLE_ONEDNN_OPTS"] = "0"  # oneDNN sums in another order
        return variables

    def write(self, out: Path, shared: Path) -> Path:
        """Write the job into the folder `out` for a worker, and return the file.

        Args:
            out: the folder that the worker writes its answer to.
            shared: the folder that `shared.write` filled.
        """
        out.mkdir(parents=True, exist_ok=True)
        recipe = replace(self.recipe, seed_everything=self.seed).as_dict()
        content = {"contender": self.contender, "stage": self.stage, "recipe": recipe, "shared": str(shared)}
        write_json(out / JOB, content | {"options": dict(self.options)})
        return out / JOB


def remove(out: Path) -> None:
    """Remove the files of an earlier process from a job's folder `out`, and the folders that are then empty."""
    for name in FILES:
        (out / name).unlink(missing_ok=True)
    with suppress(OSError):  # the folder is missing, or holds other files
        for folder in (out, out.parent, out.parent.parent):
            folder.rmdir()


def read_answer(folder: Path, job: Job) -> dict[str, Any] | None:
    """Return a job's answer, or None if there is none or it was given for other options."""
    out = folder / job.name
    if not (out / ANSWER).exists():
        return None
    kind: Any = Run if job.stage in DIVISIONS else SweepAnswer if job.stage == "sweep" else dict[str, Any]
    with parsing(out, f"the {JOB} and the {ANSWER} of a finished job"):
        options = foreign.read_json(out / JOB)["options"]
        if options != json.loads(json.dumps(dict(job.options))):  # JSON turns tuples into lists
            return None
        answer = typed.escaped(foreign.read_json(out / ANSWER))
        typed.check(answer, kind)
        if job.stage in DIVISIONS:
            check_run(answer)
        if job.stage == "sweep" and len(answer["points"]) != len(job.options["points"]):
            raise Invalid("another number of points")
    return answer  # type: ignore[no-any-return]
