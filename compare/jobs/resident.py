"""Worker processes that stay and take turns: one computes while the others wait."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from .job import Job, remove
from .local import launch, sentence

Message = dict[str, Any]


class WorkerFailed(Exception):
    """A process has ended; the text is a sentence with the last line of its log."""


class Resident:
    """The process of one contender, which runs one or several jobs in turns.

    Args:
        job: the first job.
        answers: the folder of all answers.
        shared: the folder that `shared.write` filled.
        threads: number of threads of each library.
    """

    def __init__(self, job: Job, answers: Path, shared: Path, threads: int) -> None:
        self.job, self.answers, self.shared, self.threads = job, answers, shared, threads
        self.process: subprocess.Popen[bytes] | None = None

    def turn(self, job: Job | None = None) -> Message:
        """Let the process compute until it ends its turn.

        Args:
            job: the next job, once the process has answered the one before. The first turn starts the process.

        Returns:
            The message with which it ends its turn; see `turns.Turns.end`.

        Raises:
            WorkerFailed: the process has ended.
        """
        if self.process is None:
            self.process = launch(self.job, self.answers / self.job.name, self.shared, self.threads, turns=True)
        else:
            self._send(str(_written(job, self.answers, self.shared)) if job else "")
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            self.process.wait()
            raise WorkerFailed(sentence(self.answers / self.job.name, self.process.returncode))
        return json.loads(line)  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    stream.close()

    def _send(self, text: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # the process has ended; reading its next message reports it
            pass


def _written(job: Job, answers: Path, shared: Path) -> Path:
    """Write a job's file for a process that is running, and return it."""
    remove(answers / job.name)
    return job.write(answers / job.name, shared)
