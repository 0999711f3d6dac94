"""Runs the stages of a comparison in order: parity, the divisions, the sweep. Finished jobs are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import datasets, recipes
from minigrad.datasets import Dataset
from minigrad.runs import Stopped, UserError, folder, foreign, write_json, write_text
from minigrad.runs.foreign import parsing

from . import contenders
from .jobs import job as jobs
from .jobs import runners, shared
from .jobs.job import Job
from .jobs.resident import Message, Resident
from .jobs.temporary import temporary_folder
from .parity import comparison
from .plan import ANSWERS, CHART, CROSSOVER, PARITY, REPORT, SETTINGS, Plan, rounds_file
from .report import figures, page, terminal
from .results import collect, environment, ratios, schema, source_code, typed
from .results.schema import Contender, Division, GroupRounds, Parity, ParityStage, Results, Round
from .timing.noise import MOST_DISTURBED
from .timing.rounds import Group

NOT_TIMED = "not timed, since the contenders do not agree"
BEGIN_UNITS = 20  # a turn that begins or ends a training takes about as long as this number of rounds


class ComparisonRun:
    """One run of a comparison.

    Args:
        plan: the plan of the comparison.
        data: the data set, already checked.
        out: the run folder.
        threads: number of threads of each library in each process.
        runner: one of `runners.NAMES`.
        unavailable: for each contender that cannot take part, a sentence with the reason.
        names: all requested contenders, in order.
        quiet: whether nothing is printed.
    """

    def __init__(
        self,
        plan: Plan,
        data: Dataset,
        out: Path,
        threads: int,
        runner: str,
        unavailable: dict[str, str],
        names: list[str],
        quiet: bool = False,
    ) -> None:
        self.plan, self.data, self.out, self.threads, self.runner_name = plan, data, out, threads, runner
        self.answers, self.quiet = out / ANSWERS, quiet
        self.step_us: dict[str, list[float]] = defaultdict(list)  # of the finished rounds, by contender
        self.lost_rounds, self.gave_up = 0, False  # closed rounds that stayed disturbed; whether they are too many
        self.results: Results = {
            "schema": schema.SCHEMA,
            "status": "not measured",
            "status_reason": "The comparison was stopped.",
            "command": environment.command(),
            "recipe": plan.recipe.as_dict(),
            "plan": {**plan.settings(), "engine": runner},
            "data": {
                "train": len(data.train.labels),
                "validation": len(data.validation.labels),
                "test": len(data.test.labels),
                "input_shape": list(data.input_shape),
                "classes": data.classes,
                "class_names": list(data.class_names),
                "digest": data.digest,
            },
            "environment": environment.describe(threads),
            "finished": None,
            "parity": None,
            "contenders": [_contender(name, unavailable.get(name)) for name in names],
            "ratios": [],
            "rounds": [],
        }

    def run(self, *, resume: bool, overwrite: bool) -> Results:
        """Run all stages, and write the results and reports.

        Args:
            resume: continue the run in the folder, if there is one.
            overwrite: replace the run in the folder.

        Raises:
            UserError: `resume` of a run with another recipe, data set or number of threads.
            Stopped: after Ctrl-C, SIGTERM or SIGHUP; finished jobs are kept.
        """
        weights = {
            seed: shared.starting_weights(replace(self.plan.recipe, seed_everything=seed), self.data)
            for seed in self.plan.seeds
        }
        self._prepare_folder(resume, overwrite)
        with (
            temporary_folder() as temporary,
            terminal.LiveTable(self.results, self.quiet) as self.table,
        ):
            shared.write(temporary, self.data, weights)
            self.temporary = temporary
            self.runner = runners.start(self.runner_name, temporary, self.answers, self.threads)
            try:
                self._run_stages()
            except KeyboardInterrupt:
                self._set_missing_status("stopped")
                self._write(stopped=True)
                raise Stopped(
                    f"finished jobs are kept in {self.out}; continue with --out {self.out} --resume"
                ) from None
        self._set_missing_status("ok")
        self._write()
        terminal.show(self.results, self.table.console)
        self.table.console.print(f"\n{self.out}: results.json, comparison.png, report.html", soft_wrap=True)
        return self.results

    def _prepare_folder(self, resume: bool, overwrite: bool) -> None:
        """Create the run folder, or check that the run in it has the same settings."""
        settings = {
            **dict(recipes.flat(self.plan.recipe)),
            "threads": self.threads,
            "data": self.results["data"]["digest"],
            "engine": self.runner_name,
        }
        path = self.answers / SETTINGS
        if resume and path.exists():
            with parsing(path, "the settings of this comparison"):
                earlier = foreign.read_json(path)
                typed.check(earlier, dict[str, Any])
            for key, value in settings.items():
                if earlier.get(key) != value:
                    raise UserError(
                        f"--resume: {key} is {value}, but the run in {self.out} has {foreign.shown(earlier.get(key), 60)};"
                        f" expected --config {self.out / folder.RECIPE}, or another --out"
                    )
            folder.prepare(self.out, self.plan.files())
            return
        datasets.report(self.data)
        folder.prepare(self.out, self.plan.files(), overwrite=overwrite)
        self.answers.mkdir(exist_ok=True)
        write_json(path, settings)
        write_text(self.out / folder.RECIPE, recipes.dump(self.plan.recipe))

    def _run_stages(self) -> None:
        """Run the parity stage, and the others if the contenders agree."""
        planned = self.plan.parity()
        self.table.begin("parity", len(planned))
        self.results["parity"] = self._parity(planned)
        if not schema.agreed(self.results):
            self._set_missing_status(NOT_TIMED)
            return
        sweep = self.plan.sweep()
        for division in self.plan.divisions:
            last = self.plan.seeds[-1] if division == "closed" else None
            if self.runner_name != "local":
                self._run_unpaired(division, [*self.plan.trainings(division), *(sweep if last is not None else [])])
                continue
            self.table.begin(division, self._units(division, sweep if last is not None else []))
            for seed in self.plan.seeds:
                self._run_group(self.plan.group(division, seed), sweep if seed == last else [])
                if self.gave_up:
                    return

    def _units(self, division: Division, sweep: Sequence[Job]) -> int:
        """Return the number of units of work of a division and a sweep: one per turn, and more for those at the ends."""
        rounds = sum(point[2] for point in sweep[0].options["points"]) if sweep else 0
        epochs = self.plan.recipe.trainer.max_epochs
        return len(self.plan.trainings(division)) * (2 * BEGIN_UNITS + epochs - 1) + len(sweep) * rounds

    def _run_group(self, trainings: Sequence[Job], sweep: Sequence[Job]) -> None:
        """Run the contenders that have not failed, in rounds, with one seed; then the sweep in the same processes."""
        trainings, sweep = ([job for job in planned if not self._failed(job)] for planned in (trainings, sweep))
        waiting = [[] if self._has_rounds(planned) else planned for planned in (trainings, sweep)]
        group = Group(lambda: Resident(self.answers, self.temporary, self.threads), self._after_turn, self._proceed)
        for planned in waiting:
            if planned:
                (self.out / rounds_file(planned[0].stage, planned[0].seed)).unlink(missing_ok=True)
        try:
            if waiting[0]:
                self.gave_up = not group.train(waiting[0])
                self._write_rounds(group, waiting[0])
            if waiting[1] and not self.gave_up:
                group.sweep(waiting[1])
                self._write_rounds(group, waiting[1])
            if waiting[0] and not self.gave_up:
                group.repeat(waiting[0])
                self._write_rounds(group, waiting[0])
        finally:
            group.close()
        self._end_group(waiting[0])

    def _end_group(self, trainings: Sequence[Job]) -> None:
        """Show the finished trainings, and count the rounds of the closed division that stayed disturbed."""
        for job in trainings:
            jobs.remove(self.answers / replace(job, stage="again").name)
            if (answer := jobs.read_answer(self.answers, job)) is not None:
                self.table.line(terminal.answered(job, self._row(job.contender)["title"], answer))
        if trainings and trainings[0].stage == "closed":
            rounds = collect.read_rounds(self.out / rounds_file("closed", trainings[0].seed))
            good = sum(not r["disturbed"] for r in rounds["rounds"]) if rounds else 0
            self.lost_rounds += max(0, self.plan.recipe.trainer.max_epochs - 1 - good)

    def _proceed(self, rounds: Sequence[Round]) -> bool:
        """Return whether the closed division can still be measured. The first seed is always trained to its end."""
        if rounds[0]["stage"] != "closed" or rounds[0]["seed"] == self.plan.seeds[0]:
            return True
        planned = len(self.plan.seeds) * (self.plan.recipe.trainer.max_epochs - 1)
        return self.lost_rounds + sum(r["disturbed"] for r in rounds) <= MOST_DISTURBED * planned

    def _after_turn(self, job: Job, message: Message | None, failed: str | None) -> None:
        """Show a turn in the table, and keep the status of a contender that has failed."""
        if failed or message is None:
            self._set_failed(job, failed or "failed")
            return
        is_round = "step_us" in message and message.get("epoch") != 1
        if is_round and job.stage == "closed":
            self.step_us[job.contender].append(message["step_us"])
            self.table.step(job.contender, float(np.median(self.step_us[job.contender])))
        text = (
            "width sweep" if job.stage == "sweep" else f"seed {job.seed}, epoch {message['epoch']}" if is_round else ""
        )
        self.table.turn(job.contender, text, 1 if is_round else 0 if job.stage in ("sweep", "again") else BEGIN_UNITS)

    def _run_unpaired(self, division: Division, planned: Sequence[Job]) -> None:
        """Run jobs on machines of their own, without rounds."""
        self.table.begin(division, len(planned))
        for job, failed in self.runner.run([job for job in planned if not self._is_answered(job)]):
            if failed:
                self._set_failed(job, failed)
            elif job.stage == division and (answer := jobs.read_answer(self.answers, job)) is not None:
                self.table.line(terminal.answered(job, self._row(job.contender)["title"], answer))
            self.table.turn(job.contender, "", 1)

    def _set_failed(self, job: Job, failed: str) -> None:
        if job.stage == "again":  # its answer exists already
            return
        self._row(job.contender)["status"] = failed if job.stage == "closed" else f"{job.stage}: {failed}"
        self.table.line(f"  {job.stage:7} {self._row(job.contender)['title']:14} {failed}")

    def _failed(self, job: Job) -> bool:
        return self._row(job.contender)["status"] is not None

    def _has_rounds(self, planned: Sequence[Job]) -> bool:
        """Return whether these jobs have run in rounds, all together."""
        if not planned or not all(self._is_answered(job) for job in planned):
            return False
        rounds = collect.read_rounds(self.out / rounds_file(planned[0].stage, planned[0].seed))
        return rounds is not None and set(rounds["names"]) == {job.contender for job in planned}

    def _write_rounds(self, group: Group, planned: Sequence[Job]) -> None:
        """Write the rounds of a stage and seed, whose existence shows that they are complete."""
        names = [job.contender for job in planned if not self._failed(job)]
        content: GroupRounds = {"names": names, "rounds": [r for r in group.rounds if r["stage"] == planned[0].stage]}
        write_json(self.out / rounds_file(planned[0].stage, planned[0].seed), content)

    def _parity(self, planned: Sequence[Job]) -> Parity:
        """Record all contenders, and compare them. The recordings are large, so they are removed afterwards."""
        path = self.answers / PARITY
        names = [job.contender for job in planned]
        if path.exists():
            with parsing(path, "the result of the parity stage"):
                earlier = typed.escaped(foreign.read_json(path))
                typed.check(earlier, ParityStage)
            if earlier["names"] == names:
                return earlier["parity"]  # type: ignore[no-any-return]
        waiting = [job for job in planned if not self._is_answered(job)]
        failures: dict[str, str | None] = {}
        for job, failed in self.runner.run(waiting, min(self.threads, len(waiting)) or 1):
            failures[job.contender] = failed
            self.table.turn(job.contender, failed or "", 1)
        if failures.get(comparison.REFERENCE):
            raise UserError(f"minigrad's own run {failures[comparison.REFERENCE]}; nothing can be compared")
        folders = {job.contender: self.answers / job.name for job in planned}
        parity = comparison.compare_all(self.plan.recipe, folders, failures)
        for name, row in parity["contenders"].items():
            self.table.parity(name, row)
        write_json(path, {"names": names, "parity": parity})
        for recordings in folders.values():
            jobs.remove(recordings)
        return parity

    def _row(self, name: str) -> Contender:
        return next(row for row in self.results["contenders"] if row["name"] == name)

    def _set_missing_status(self, status: str) -> None:
        for row in self.results["contenders"]:
            row["status"] = row["status"] or status

    def _is_answered(self, job: Job) -> bool:
        return jobs.read_answer(self.answers, job) is not None

    def _write(self, stopped: bool = False) -> None:
        """Write results.json and the reports."""
        if self.results["parity"] is not None and not schema.agreed(self.results):
            self.results["status_reason"] = "Nothing was timed, since the contenders do not agree."
        if schema.agreed(self.results):
            collect.fill(self.results, self.plan, self.out, self.data)
        if self.gave_up:
            self.results["status"] = "not measured"
            self.results["status_reason"] = ratios.reason([r for r in self.results["rounds"] if r["stage"] == "closed"])
        if stopped:
            self.results |= {"status": "not measured", "status_reason": "The comparison was stopped."}
        self.results["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.out / folder.RESULTS, self.results)
        if self.results["parity"] is not None:
            figures.draw(self.out / CHART, self.results)
            if self.results.get("sweep"):
                figures.draw_crossover(self.out / CROSSOVER, self.results)
            networks = collect.networks(self.plan, self.out)
            page.write(self.out / REPORT, self.results, self.plan.recipe, self.data, networks)


def _contender(name: str, unavailable: str | None) -> Contender:
    """Return a contender's row before anything has run."""
    kind = contenders.find(name)
    return {
        "name": name,
        "title": kind.title,
        "trains_by": kind.trains_by,
        "lines_of_code": source_code.count_lines(kind.program),
        "division": "closed",
        "status": unavailable,
    }
