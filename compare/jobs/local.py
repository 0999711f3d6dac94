"""Runs jobs as processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from .job import ANSWER, EPOCH, LOG, Job, remove

POLL_SECONDS = 0.5  # time between two checks of a running process; each check disturbs the measurement slightly


class LocalRunner:
    """Runs processes on this machine. Processes that run at the same time share the threads.

    Args:
        shared, answers, threads, on_epoch: as in `runners.start`.
    """

    def __init__(self, shared: Path, answers: Path, threads: int, on_epoch: Callable[[Job, int], None]) -> None:
        self.shared, self.answers, self.threads, self.on_epoch = shared, answers, threads, on_epoch

    def run(self, jobs: Iterable[Job], at_once: int = 1) -> Iterator[tuple[Job, str | None]]:
        """Run the jobs in this order; see `Runner.run`."""
        waiting, running = iter(jobs), dict[Job, subprocess.Popen[bytes]]()
        threads = max(1, self.threads // at_once)
        try:
            while True:
                for job in islice(waiting, at_once - len(running)):
                    running[job] = start_worker(job, self.answers / job.name, self.shared, threads)
                if not running:
                    return
                for job in _ended(running, None if at_once > 1 else POLL_SECONDS):
                    yield job, failure(self.answers / job.name, running.pop(job).returncode)
                for job in running:
                    epoch = self.answers / job.name / EPOCH
                    self.on_epoch(job, len(epoch.read_bytes()) if epoch.exists() else 0)
        finally:
            for process in running.values():
                process.kill()
                process.wait()


def start_worker(job: Job, out: Path, shared: Path, threads: int) -> subprocess.Popen[bytes]:
    """Start a job's process. Its answer will be in the folder `out`, which is emptied first."""
    remove(out)
    path = job.write(out, shared)
    with (out / LOG).open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "compare.jobs.worker", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its temporary files are in the shared folder, which this process removes.
            env=os.environ | job.environment(threads) | {"TMPDIR": str(shared)},
            start_new_session=True,  # Ctrl-C reaches this process only, which then ends its workers
        )


def _ended(running: dict[Job, subprocess.Popen[bytes]], timeout: float | None) -> list[Job]:
    """Return the jobs that have ended.

    If `timeout` is None, returns after a short pause. Otherwise there is one
    job only, and this waits up to `timeout` seconds for it.
    """
    if timeout is None:
        time.sleep(0.05)
    else:
        (process,) = running.values()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return []
    return [job for job, process in running.items() if process.poll() is not None]


def failure(out: Path, status: int) -> str | None:
    """Return None if a process that ended with `status` wrote its answer, else a sentence with the last line of its log."""
    if not status and (out / ANSWER).exists():
        return None
    lines = [line.strip() for line in (out / LOG).read_text(errors="replace").splitlines() if line.strip()]
    if status < 0:
        return f"failed: ended by signal {-status}"
    return f"failed: {lines[-1] if lines else f'exit status {status}'}"
