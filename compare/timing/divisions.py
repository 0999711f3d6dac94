"""Times the divisions and the sweep: in rounds on this machine, or unpaired on a Ray cluster. Finished groups are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minigrad.runs import write_json

from ..jobs import job as jobs
from ..jobs.job import Job
from ..jobs.resident import Message, Resident
from ..jobs.runners import Runner
from ..plan import ANSWERS, Plan, rounds_file
from ..results import collect, ratios
from ..results.schema import Contender, Division, GroupRounds, Results, Round
from . import noise
from .rounds import Group

if TYPE_CHECKING:
    from ..report.terminal import LiveTable

# For the estimate of the time left only: approximate seconds of a turn of the sweep, of a turn that starts a process without
# its first epoch, and of one that evaluates; and of a step, by its overhead and its floating-point operations.
SWEEP_TURN, START, EVALUATE = 0.1, 2.2, 0.9
STEP, FLOPS = 4e-4, 5e10


class Timing:
    """Runs the jobs of all divisions, and of the sweep in the same processes as the last seed of the closed division.

    Args:
        plan: the plan of the comparison.
        out: the run folder.
        shared: the folder that `shared.write` filled.
        threads: number of threads of each library in each process.
        results: the status of contenders that fail is set.
        table: shows the progress.

    Attributes:
        gave_up: whether so many rounds were disturbed that the rest was left out.
    """

    def __init__(self, plan: Plan, out: Path, shared: Path, threads: int, results: Results, table: LiveTable) -> None:
        self.plan, self.out, self.answers, self.shared = plan, out, out / ANSWERS, shared
        self.threads, self.results, self.table = threads, results, table
        self.gave_up = False
        self._failed: set[tuple[str, str]] = set()  # stage and contender
        self._lost = 0  # rounds of the closed division that stayed disturbed
        self._step_us: dict[str, list[float]] = defaultdict(list)  # of the rounds so far, by contender
        work = results["work"]
        step = STEP + work["flops"] / work["updates"] / FLOPS
        self._epoch = step * work["updates"] / plan.recipe.trainer.max_epochs  # approximate seconds

    def run(self) -> None:
        """Run everything in rounds."""
        for division in self.plan.divisions:
            sweep = self.plan.sweep() if division == "closed" else []
            self.table.begin(division, self._expected(division, sweep))
            for seed in self.plan.seeds:
                if self.gave_up or (division == "closed" and self._is_hopeless()):
                    self.gave_up = True
                    return
                self._run_group(self.plan.group(division, seed), sweep if seed == self.plan.seeds[-1] else [])

    def run_unpaired(self, runner: Runner) -> None:
        """Run every job by itself, on machines that the runner chooses."""
        for division in self.plan.divisions:
            planned = [*self.plan.trainings(division), *(self.plan.sweep() if division == "closed" else [])]
            self.table.begin(division, len(planned))
            waiting = [job for job in planned if jobs.read_answer(self.answers, job) is None]
            for job, failed in runner.run(waiting):
                if failed:
                    self._set_failed(job, failed)
                self._show_answers([job] if job.stage == division else [])
                self.table.turn(job.contender, "")

    def _expected(self, division: Division, sweep: Sequence[Job]) -> float:
        """Return the approximate seconds of a division and a sweep, on a machine of average speed."""
        turns = 1 + sum(1 + point[2] for point in sweep[0].options["points"]) if sweep else 0
        training = START + self.plan.recipe.trainer.max_epochs * self._epoch + EVALUATE
        return len(self.plan.trainings(division)) * training + len(sweep) * turns * SWEEP_TURN

    def _run_group(self, trainings: Sequence[Job], sweep: Sequence[Job]) -> None:
        """Run the contenders that have not failed with one seed, unless their rounds are complete."""
        trainings = self._waiting(trainings)
        group = Group(lambda: Resident(self.answers, self.shared, self.threads), self._after_turn, self._proceed)
        try:
            if trainings:
                self.gave_up = not group.train(trainings)
                self._write_rounds(group, trainings)
            if not self.gave_up and (sweep := self._waiting(sweep)):
                group.sweep(sweep)
                self._write_rounds(group, sweep)
            if trainings and not self.gave_up:
                group.repeat(trainings)
                self._write_rounds(group, trainings)
        finally:
            group.close()
        for job in trainings:
            jobs.remove(self.answers / replace(job, stage="again").name)
        self._show_answers(trainings)
        if trainings and trainings[0].stage == "closed":
            good = sum(not r["disturbed"] for r in group.rounds if r["stage"] == "closed")
            self._lost += max(0, self.plan.recipe.trainer.max_epochs - 1 - good)

    def _waiting(self, planned: Sequence[Job]) -> list[Job]:
        """Return the jobs of the contenders that have not failed; none if they have run in rounds that count."""
        planned = [job for job in planned if not self._has_failed(job)]
        if not planned:
            return []
        path = self.out / rounds_file(planned[0].stage, planned[0].seed)
        finished = collect.read_rounds(path)
        if (
            finished is not None
            and set(finished["names"]) >= {job.contender for job in planned}
            and all(jobs.read_answer(self.answers, job) is not None for job in planned)
            and not ratios.disturbed_too_often(finished["rounds"], len(finished["rounds"]))
        ):
            return []
        path.unlink(missing_ok=True)
        return planned

    def _allowed(self) -> float:
        """Return the number of rounds of the closed division that may stay disturbed."""
        return noise.MOST_DISTURBED * len(self.plan.seeds) * (self.plan.recipe.trainer.max_epochs - 1)

    def _is_hopeless(self) -> bool:
        """Return whether too many rounds were disturbed, or no more may be and the machine is still busy."""
        return self._lost > self._allowed() or (0 < self._lost == self._allowed() and noise.now().disturbed)

    def _proceed(self, rounds: Sequence[Round]) -> bool:
        """Return whether the closed division can still be measured. The first seed is always trained to its end."""
        if rounds[0]["stage"] != "closed" or rounds[0]["seed"] == self.plan.seeds[0]:
            return True
        return self._lost + sum(r["disturbed"] for r in rounds) <= self._allowed()

    def _after_turn(self, job: Job, message: Message | None, failed: str | None) -> None:
        """Show a turn in the table, and keep the status of a contender that has failed."""
        if message is None:
            self._set_failed(job, failed or "failed")
            return
        is_round = "step_us" in message and message.get("epoch") != 1
        if is_round and job.stage == "closed":
            self._step_us[job.contender].append(message["step_us"])
            self.table.step(job.contender, float(np.median(self._step_us[job.contender])))
        if job.stage == "sweep":
            self.table.turn(job.contender, "width sweep", SWEEP_TURN)
        elif job.stage != "again":
            activity = f"seed {job.seed}, epoch {message['epoch']}" if "epoch" in message else f"seed {job.seed}"
            seconds = self._epoch if is_round else EVALUATE if "answered" in message else START + self._epoch
            self.table.turn(job.contender, activity, seconds)

    def _set_failed(self, job: Job, failed: str) -> None:
        if job.stage == "again":  # its answer exists already
            return
        self._failed.add((job.stage, job.contender))
        row = self._row(job)
        row["status"] = row["status"] or (failed if job.stage == "closed" else f"{job.stage}: {failed}")
        self.table.failed(job, failed)

    def _has_failed(self, job: Job) -> bool:
        """Return whether the contender has failed in the job's stage or in the closed division."""
        return not self._failed.isdisjoint({("closed", job.contender), (job.stage, job.contender)})

    def _show_answers(self, trainings: Sequence[Job]) -> None:
        for job in trainings:
            if (answer := jobs.read_answer(self.answers, job)) is not None:
                self.table.answered(job, answer)

    def _row(self, job: Job) -> Contender:
        return next(row for row in self.results["contenders"] if row["name"] == job.contender)

    def _write_rounds(self, group: Group, planned: Sequence[Job]) -> None:
        """Write the rounds of a stage and seed."""
        names = [job.contender for job in planned if not self._has_failed(job)]
        content: GroupRounds = {"names": names, "rounds": [r for r in group.rounds if r["stage"] == planned[0].stage]}
        write_json(self.out / rounds_file(planned[0].stage, planned[0].seed), content)
