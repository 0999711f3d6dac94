"""Runs the stages of a comparison in order: parity, closed division, open division, sweep. Finished jobs are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from .results import collect, environment, schema, source_code, typed
from .results.schema import Contender, Parity, ParityStage, Results

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
        self.results: Results = {
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
            "environment": {**environment.describe(threads), "others_share": None},
            "finished": None,
            "parity": None,
            "contenders": [_contender(name, unavailable.get(name)) for name in names],
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
            self.runner = runners.start(self.runner_name, temporary, self.answers, self.threads, self.table.epoch)
            try:
                self._run_stages()
            except KeyboardInterrupt:
                self._set_missing_status("stopped")
                self._write()
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
        self.table.begin("parity", self.plan.parity())
        self.results["parity"] = self._parity()
        if not schema.agreed(self.results):
            self._set_missing_status(NOT_TIMED)
            return
        load = environment.OtherLoad()
        load.start()
        stages = {
            "closed": self.plan.trainings("closed"),
            "open": self.plan.trainings("open"),
            "sweep": self.plan.sweep(),
        }
        for stage, planned in stages.items():
            self.table.begin(stage, planned)
            for job, failed in self._run_jobs(planned):
                if failed:
                    self._row(job.contender)["status"] = f"{stage}: {failed}" if stage != "closed" else failed
                self.table.done(job, failed, jobs.read_answer(self.answers, job))
        self.results["environment"]["others_share"] = load.share()

    def _run_jobs(self, planned: Sequence[Job]) -> Iterator[tuple[Job, str | None]]:
        """Yield all finished jobs, then run the others, of contenders that have not failed."""
        yield from ((job, None) for job in planned if self._is_answered(job))
        # Evaluated when the runner takes the next job, since a contender may have failed by then.
        waiting = (job for job in planned if self._row(job.contender)["status"] is None and not self._is_answered(job))
        yield from self.runner.run(waiting)

    def _parity(self) -> Parity:
        """Record all contenders, and compare them. The recordings are large, so they are removed afterwards."""
        path = self.answers / PARITY
        planned = self.plan.parity()
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
            self.table.done(job, failed, None)
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

    def _write(self) -> None:
        """Write results.json and the reports."""
        if schema.agreed(self.results):
            collect.fill(self.results, self.plan, self.answers, self.data)
        self.results["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.out / folder.RESULTS, self.results)
        if self.results["parity"] is not None:
            figures.draw(self.out / CHART, self.results)
            if sweep := self.results.get("sweep"):
                figures.draw_crossover(self.out / CROSSOVER, sweep, schema.titles(self.results))
            networks = collect.networks(self.plan, self.answers)
            page.write(self.out / REPORT, self.results, self.plan.recipe, self.data, networks)


def _contender(name: str, unavailable: str | None) -> Contender:
    """Return a contender's row before anything has run."""
    kind = contenders.find(name)
    return {
        "name": name,
        "title": kind.title,
        "trains_by": kind.trains_by,
        "lines_of_code": sum(source_code.count_lines(reference) for reference in kind.user_code),
        "division": "closed",
        "status": unavailable,
    }
