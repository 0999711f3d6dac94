"""Worker processes that stay and take turns: one computes while the others wait."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
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
        answers: the folder of all answers.
        shared: the folder that `shared.write` filled.
        threads: number of threads of each library.
    """

    def __init__(self, answers: Path, shared: Path, threads: int) -> None:
        self.answers, self.shared, self.threads = answers, shared, threads
        self.process: subprocess.Popen[bytes] | None = None

    def turn(self, job: Job | None = None) -> Message:
        """Let the process compute until it ends its turn.

        Args:
            job: the job that begins; None continues. The first job starts the process, and another one can begin when
                the process has answered the one before.

        Returns:
            The message with which the process ends its turn; see `turns.Turns.end`.

        Raises:
            WorkerFailed: the process has ended.
        """
        if self.process is None:
            assert job is not None
            self.log = self.answers / job.name
            self.process = launch(job, self.log, self.shared, self.threads, turns=True)
        else:
            self._send(job)
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            self.process.wait()
            raise WorkerFailed(sentence(self.log, self.process.returncode))
        return json.loads(line)  # type: ignore[no-any-return]

    def kill(self) -> None:
        """Begin to end the process; `close` waits for its end."""
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        """End the process."""
        self.kill()
        if self.process is not None:
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()

    def _send(self, job: Job | None) -> None:
        """Begin a turn of the running process."""
        assert self.process is not None
        assert self.process.stdin is not None
        path: Path | str = ""
        if job is not None:
            remove(self.answers / job.name)
            path = job.write(self.answers / job.name, self.shared)
        with suppress(BrokenPipeError):  # the process has ended; reading its next message reports it
            self.process.stdin.write(json.dumps(str(path)).encode() + b"\n")
            self.process.stdin.flush()
