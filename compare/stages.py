"""Runs the stages of a comparison in order: parity, the divisions, the sweep. Finished jobs are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minigrad import datasets, recipes
from minigrad.datasets import Dataset
from minigrad.runs import Stopped, UserError, folder, foreign, write_json, write_text
from minigrad.runs.foreign import parsing

from . import contenders
from .jobs import job as jobs
from .jobs import runners, shared
from .jobs.job import Job
from .jobs.temporary import temporary_folder
from .parity import comparison
from .plan import ANSWERS, CHART, CROSSOVER, PARITY, REPORT, SETTINGS, Plan
from .report import figures, page, terminal
from .results import collect, environment, ratios, schema, source_code, typed
from .results.schema import Contender, Parity, ParityStage, Results
from .timing.divisions import Timing
from .timing.work import required_work

NOT_TIMED = "not timed, since the contenders do not agree"


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
        self.timing: Timing | None = None
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
            "work": required_work(plan.recipe, data),
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
        if schema.measured(self.results) and self.results["status"] == "not measured":
            line = f"\nWhen the machine is quiet, repeat the command with --out {self.out} --resume."
            self.table.console.print(line, markup=False, soft_wrap=True)
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
        self.timing = Timing(self.plan, self.out, self.temporary, self.threads, self.results, self.table)
        if self.runner_name == "local":
            self.timing.run()
        else:
            self.timing.run_unpaired(self.runner)

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
        if self.timing is not None and self.timing.gave_up:
            self.results["status"] = "not measured"
            self.results["status_reason"] = ratios.reason([r for r in self.results["rounds"] if r["stage"] == "closed"])
        if stopped:
            for ratio in self.results["ratios"]:
                ratio["verdict"] = "undecided"
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
    program = source_code.program(kind.program)
    return {
        "name": name,
        "title": kind.title,
        "trains_by": kind.trains_by,
        "lines_of_code": None if program is None else source_code.count_lines(program),
        "division": "closed",
        "status": unavailable,
    }
