"""Runs contenders in rounds: in each round every contender trains one epoch, while the others wait.

A state of the machine that lasts for seconds affects all contenders of a round
alike, and cancels in their ratios. All contenders of a seed are processes that
start for this seed, so that memory layout and start-up differ between seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ..jobs.job import Job
from ..jobs.resident import Message, Resident, WorkerFailed
from ..results.schema import Round
from . import noise
from .noise import NoiseMeter

OnTurn = Callable[[Job, Message | None, str | None], None]


class Group:
    """The processes of all contenders with one seed.

    Args:
        create: creates the process of a contender.
        on_turn: called after each turn with the job, the message of the process (None if it failed), and a sentence
            if it failed.
        proceed: called after each round of a training with all rounds so far; if it returns False, the training ends.

    Attributes:
        rounds: all rounds so far, in order.
    """

    def __init__(
        self, create: Callable[[], Resident], on_turn: OnTurn, proceed: Callable[[Sequence[Round]], bool]
    ) -> None:
        self.create, self.on_turn, self.proceed = create, on_turn, proceed
        self.rounds: list[Round] = []
        self._residents: dict[str, Resident] = {}
        self._failed: set[str] = set()
        self._meter, self._cpu_seconds = NoiseMeter(), 0.0
        self._unjudged: list[Round] = []  # the rounds of the meter's interval

    def train(self, jobs: Sequence[Job]) -> bool:
        """Train one epoch per contender, which warms up, and the others in rounds; then let all answer.

        Args:
            jobs: one per contender, of the same division and seed.

        Returns:
            Whether the training was completed.
        """
        self._each(jobs, begin=True)
        for _ in range(1, jobs[0].recipe.trainer.max_epochs):
            self._round(jobs)
            if self.rounds and not self.proceed(self.rounds):
                return False
        self._judge()
        self._each(jobs)
        return True

    def sweep(self, jobs: Sequence[Job]) -> None:
        """Measure all points of the sweep in rounds."""
        for i, (width, batch_size, rounds) in enumerate(jobs[0].options["points"]):
            self._each(jobs, begin=not i)
            for _ in range(rounds):
                self._round(jobs, [width, batch_size])
            self._judge()
        self._each(jobs)

    def repeat(self, jobs: Sequence[Job]) -> None:
        """Repeat the disturbed rounds of `train`, unless there are so many that others would be disturbed too.

        The networks are built and trained once more, which does not affect the answers. No other job can follow.
        """
        planned = sum(r["stage"] == jobs[0].stage for r in self.rounds)
        limit = math.ceil(planned * noise.MOST_DISTURBED)
        if not 0 < planned - self._undisturbed(jobs[0].stage) <= limit:
            return
        again = [replace(job, stage="again", options={"division": job.stage}) for job in jobs]
        self._each(again, begin=True)
        for _ in range(limit):
            if self._undisturbed(jobs[0].stage) >= planned:
                self._judge()
                if self._undisturbed(jobs[0].stage) >= planned:
                    break
            self._round(again)
        self._judge()

    def _undisturbed(self, stage: str) -> int:
        """Return the number of rounds of a stage that are not disturbed, or not yet judged."""
        return sum(r["stage"] == stage and not r["disturbed"] for r in self.rounds)

    def close(self) -> None:
        """End all processes, at the same time, since freeing their memory takes a while."""
        for resident in self._residents.values():
            resident.kill()
        for resident in self._residents.values():
            resident.close()
        self._residents = {}

    def _round(self, jobs: Sequence[Job], point: list[int] | None = None) -> None:
        """Let each contender train one epoch, each time starting with another one."""
        started, shift = datetime.now(UTC).isoformat(timespec="milliseconds"), len(self.rounds) % len(jobs)
        if not self._unjudged:
            self._meter.start()
            self._cpu_seconds = 0.0
        messages = self._each([*jobs[shift:], *jobs[:shift]])
        if not messages:  # all contenders have failed
            return
        result: Round = {
            "stage": jobs[0].options.get("division", jobs[0].stage),
            "seed": jobs[0].seed,
            "point": point,
            "started": started,
            "others": 0.0,
            "waiting": sum(message["waited"] for message in messages.values()),
            "steal": 0.0,
            "disturbed": False,
            "step_us": {name: message["step_us"] for name, message in messages.items()},
        }
        self.rounds.append(result)
        self._unjudged.append(result)
        if self._meter.seconds() > noise.SHORTEST:
            self._judge()

    def _judge(self) -> None:
        """Set the noise of the rounds since the last call.

        An interval at the end that is too short has the noise of the interval before it.
        """
        if not self._unjudged:
            return
        seconds, earlier = self._meter.seconds(), self.rounds[: -len(self._unjudged)]
        measured = self._meter.stop(self._cpu_seconds)
        values = {"others": measured.others, "steal": measured.steal, "disturbed": measured.disturbed}
        if seconds < noise.SHORTEST and earlier and earlier[-1]["stage"] == self._unjudged[0]["stage"]:
            values = {key: earlier[-1][key] for key in values}  # type: ignore[literal-required]
        for result in self._unjudged:
            result.update(values)  # type: ignore[typeddict-item]
        self._unjudged = []

    def _each(self, jobs: Sequence[Job], begin: bool = False) -> dict[str, Message]:
        """Let each contender take one turn; return the messages of those that have not failed.

        Args:
            jobs: one per contender.
            begin: whether the turn begins the job.
        """
        messages = {}
        for job in jobs:
            if job.contender in self._failed:
                continue
            resident = self._residents.setdefault(job.contender, self.create())
            try:
                message = resident.turn(job if begin else None)
            except WorkerFailed as error:
                self._failed.add(job.contender)
                self.on_turn(job, None, str(error))
                continue
            self._cpu_seconds += message["cpu"]
            messages[job.contender] = message
            self.on_turn(job, message, None)
        return messages
