"""Where jobs run: here, or on a Ray cluster. Both take the same jobs and leave the same answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from .job import Job

NAMES = ("local", "ray")


class Engine(Protocol):
    """Runs jobs, and gives each back as it ends, with None or a sentence that says how it failed."""

    def run(self, jobs: Iterable[Job], at_once: int = 1) -> Iterator[tuple[Job, str | None]]: ...


def start(name: str, shared: Path, answers: Path, threads: int, heard: Callable[[Job, int], None]) -> Engine:
    """The engine of that name.

    Args:
        name: one of NAMES.
        shared: the folder that `jobs.share` filled.
        answers: the folder that gets each job's answer, at `job.name`.
        threads: for each library in each process.
        heard: called with a job and its epochs done, now and then.

    Raises:
        UserError: Ray is not installed.
    """
    if name == "ray":
        from .ray import Ray

        return Ray(shared, answers, threads)
    from .local import Local

    return Local(shared, answers, threads, heard)
