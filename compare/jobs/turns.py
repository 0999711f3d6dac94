"""The worker's side of taking turns: between two turns the process waits, and does not use the CPU."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, TextIO

from .. import machine

SETTLED = 0.1  # CPU seconds per second below which a process counts as waiting
SETTLE_SECONDS = 0.5  # longest time to wait for the threads of a framework, which may spin for a while after their work
PAUSE = 0.002  # seconds


class Turns:
    """The turns of this process.

    Args:
        messages: the stream to the parent; None if the process does not share the machine, so that turns do not end.
        replies: the stream from the parent.
    """

    def __init__(self, messages: TextIO | None = None, replies: TextIO | None = None) -> None:
        self.messages, self.replies = messages, replies
        # CPU seconds of the process and its children: until the turn began; while they waited before.
        self.start, self.waited = 0.0, 0.0

    def end(self, **message: Any) -> str:
        """End this turn with a message to the parent, and wait for the next turn.

        Args:
            message: JSON-serializable. `cpu`, the CPU seconds of this turn, and `waited`, those of the time before it,
                are added.

        Returns:
            The parent's reply: the file of another job, or an empty text to continue. A process that does not take turns
            returns an empty text at once.
        """
        if self.messages is None or self.replies is None:
            return ""
        _settle()
        children = machine.children()
        end = machine.cpu_seconds(children)
        message |= {"cpu": end - self.start, "waited": self.waited}
        self.messages.write(json.dumps(message) + "\n")
        self.messages.flush()
        reply = self.replies.readline()
        if not reply:  # the parent needs no more turns
            os._exit(0)
        self.start = machine.cpu_seconds(children)
        self.waited = self.start - end
        return str(json.loads(reply))


def connect() -> Turns:
    """Return the turns of a process whose standard streams are pipes to its parent; what it prints goes to its log."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return Turns(messages, sys.stdin)


def _settle() -> None:
    """Return when the process has stopped using the CPU."""
    end = time.perf_counter() + SETTLE_SECONDS
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - before < SETTLED * PAUSE:
            return
