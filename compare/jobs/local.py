"""Runs jobs as processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from .job import ANSWER, LOG, Job, remove

POLL_SECONDS = 0.05  # time between two checks of the running processes


class LocalRunner:
    """Runs processes on this machine. Processes that run at the same time share the threads.

    Args:
        shared, answers, threads: as in `runners.start`.
    """

    def __init__(self, shared: Path, answers: Path, threads: int) -> None:
        self.shared, self.answers, self.threads = shared, answers, threads

    def run(self, jobs: Iterable[Job], at_once: int = 1) -> Iterator[tuple[Job, str | None]]:
        """Run the jobs in this order; see `Runner.run`."""
        waiting, running = iter(jobs), dict[Job, subprocess.Popen[bytes]]()
        threads = max(1, self.threads // at_once)
        try:
            while True:
                for job in islice(waiting, at_once - len(running)):
                    running[job] = launch(job, self.answers / job.name, self.shared, threads)
                if not running:
                    return
                time.sleep(POLL_SECONDS)
                for job in [job for job, process in running.items() if process.poll() is not None]:
                    yield job, failure(self.answers / job.name, running.pop(job).returncode)
        finally:
            for process in running.values():
                process.kill()
                process.wait()


def launch(job: Job, out: Path, shared: Path, threads: int, turns: bool = False) -> subprocess.Popen[bytes]:
    """Start a job's process. Its answer will be in the folder `out`, which is emptied first.

    Args:
        job: the job.
        out: the job's folder.
        shared: the folder that `shared.write` filled.
        threads: number of threads of each library.
        turns: whether the process takes turns with others; its standard streams are then pipes.
    """
    remove(out)
    path = job.write(out, shared)
    with (out / LOG).open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "compare.jobs.worker", str(path), repr(time.time()), *(["turns"] if turns else [])],
            stdin=subprocess.PIPE if turns else subprocess.DEVNULL,
            stdout=subprocess.PIPE if turns else log,
            stderr=log,
            # Its temporary files are in the shared folder, which this process removes.
            env=os.environ | job.environment(threads) | {"TMPDIR": str(shared)},
            start_new_session=True,  # Ctrl-C reaches this process only, which then ends its workers
        )


def failure(out: Path, status: int) -> str | None:
    """Return None if a process that ended with `status` wrote its answer, else a sentence; see `sentence`."""
    return None if not status and (out / ANSWER).exists() else sentence(out, status)


def sentence(out: Path, status: int) -> str:
    """Return why a process failed: the signal that ended it, or the last line of its log."""
    lines = [line.strip() for line in (out / LOG).read_text(errors="replace").splitlines() if line.strip()]
    if status < 0:
        return f"failed: ended by signal {-status}"
    return f"failed: {lines[-1] if lines else f'exit status {status}'}"
