"""Runs jobs on a Ray cluster: one task per job, with as many processors as threads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from minigrad.runs import signals, whole_file

from .job import ANSWER, Job
from .local import failure, launch
from .temporary import temporary_folder

Files = dict[str, bytes]


class RayRunner:
    """Runs tasks on the cluster of RAY_ADDRESS, or on one started on this machine.

    Each machine of the cluster needs this package and the contenders'
    frameworks. The data is sent once, and the answers come back as files.

    Args:
        shared, answers, threads: as in `runners.start`.
    """

    def __init__(self, shared: Path, answers: Path, threads: int) -> None:
        self.shared, self.answers, self.threads = shared, answers, threads

    def run(self, jobs: Iterable[Job], at_once: int = 1) -> Iterator[tuple[Job, str | None]]:
        """Submit all jobs; see `Runner.run`. `at_once` is ignored, since the cluster decides."""
        import ray

        jobs = list(jobs)
        if not jobs:
            return
        if not ray.is_initialized():
            with signals.deferred():  # Ray's handler of SIGTERM would end the process with exit status 15
                ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        task: Any = ray.remote(num_cpus=self.threads, max_retries=2)(run_job)
        data = ray.put(read_files(self.shared))
        waiting = {task.remote(data, job, self.threads): job for job in jobs}
        try:
            while waiting:
                (ended, *_), _ = ray.wait(list(waiting))
                job = waiting.pop(ended)
                try:
                    files, failed = ray.get(ended)
                except ray.exceptions.RayError as error:
                    yield job, f"failed: {str(error).splitlines()[0]}"
                    continue
                write_files(self.answers / job.name, files)
                yield job, failed
        finally:
            for pending in waiting:
                ray.cancel(pending, force=True)


def run_job(data: Files, job: Job, threads: int) -> tuple[Files, str | None]:
    """Run one job in a process on a machine of the cluster; return its files, and a sentence if it failed."""
    with temporary_folder() as folder:
        shared, out = folder / "shared", folder / "out"
        write_files(shared, data)
        process = launch(job, out, shared, threads)
        try:
            status = process.wait()
        finally:
            process.kill()
        return read_files(out), failure(out, status)


def read_files(folder: Path) -> Files:
    """Return the content of all files in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def write_files(folder: Path, files: Files) -> None:
    """Write the files, the answer last, because its existence shows that the others are complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == ANSWER):
        with whole_file(folder / name) as draft:
            draft.write_bytes(files[name])
