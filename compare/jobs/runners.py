"""Runners start the jobs' processes, on this machine or on a Ray cluster. Both produce the same answers."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from minigrad.runs import UserError

from .job import Job


class Runner(Protocol):
    """Runs jobs."""

    def run(self, jobs: Iterable[Job], at_once: int = 1) -> Iterator[tuple[Job, str | None]]:
        """Run `jobs` in this order, `at_once` at the same time.

        Yields:
            Each job when it has ended, with None, or with a sentence if it failed.
        """
        ...


def check_ray() -> None:
    """Raise UserError if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("--engine: ray, but Ray is not installed; expected pip install '.[ray]' first")


def start(name: str, shared: Path, answers: Path, threads: int) -> Runner:
    """Return the runner of that name.

    Args:
        name: "local" or "ray".
        shared: the folder that `shared.write` filled.
        answers: the folder of all answers; each job writes to the folder `job.name` in it.
        threads: number of threads of each library in each process.

    Raises:
        UserError: Ray is not installed.
    """
    if name == "ray":
        check_ray()
        from .ray import RayRunner

        return RayRunner(shared, answers, threads)
    from .local import LocalRunner

    return LocalRunner(shared, answers, threads)
