"""Jobs as processes of this machine, one at a time unless more are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from .job import ANSWER, EPOCH, LOG, Job, remove

LOOK = 0.5  # seconds between two looks at a running process; each takes a little from what is timed


class Local:
    """Processes here; those that run at once share the threads."""

    def __init__(self, shared: Path, answers: Path, threads: int, heard: Callable[[Job, int], None]) -> None:
        self.shared, self.answers, self.threads, self.heard = shared, answers, threads, heard

    def run(self, jobs: Iterable[Job], at_once: int = 1) -> Iterator[tuple[Job, str | None]]:
        """Run the jobs in this order, `at_once` of them side by side."""
        waiting, running = iter(jobs), dict[Job, subprocess.Popen[bytes]]()
        threads = max(1, self.threads // at_once)
        try:
            while True:
                for job in islice(waiting, at_once - len(running)):
                    running[job] = begin(job, self.answers / job.name, self.shared, threads)
                if not running:
                    return
                for job in _ended(running, None if at_once > 1 else LOOK):
                    yield job, failure(self.answers / job.name, running.pop(job).returncode)
                for job in running:
                    epoch = self.answers / job.name / EPOCH
                    self.heard(job, len(epoch.read_bytes()) if epoch.exists() else 0)
        finally:
            for process in running.values():
                process.kill()
                process.wait()


def begin(job: Job, out: Path, shared: Path, threads: int) -> subprocess.Popen[bytes]:
    """Start a job's process, its answer to be left in `out`, emptied first."""
    remove(out)
    path = job.write(out, shared)
    with (out / LOG).open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "compare.jobs.worker", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | job.environment(threads),
            start_new_session=True,  # Ctrl-C is ours to pass on
        )


def _ended(running: dict[Job, subprocess.Popen[bytes]], patience: float | None) -> list[Job]:
    """The jobs that have ended; where there is one, wait for it instead of looking often."""
    if patience is None:
        time.sleep(0.05)
    else:
        (process,) = running.values()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            return []
    return [job for job, process in running.items() if process.poll() is not None]


def failure(out: Path, status: int) -> str | None:
    """None if the process that ended with `status` left its answer, else a sentence with what it said last."""
    if not status and (out / ANSWER).exists():
        return None
    lines = [line.strip() for line in (out / LOG).read_text(errors="replace").splitlines() if line.strip()]
    if status < 0:
        return f"failed: ended by signal {-status}"
    return f"failed: {lines[-1] if lines else f'exit status {status}'}"
