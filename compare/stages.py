"""The order of events: parity first, then the races, interleaved, then the sweep; and what was finished is kept."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minigrad import datasets, recipes
from minigrad.datasets import Dataset
from minigrad.runs import Stopped, UserError, folder, write_json, write_text

from . import contenders
from .jobs import job as jobs
from .jobs import runners as engines
from .jobs.job import Job
from .parity import comparison as parity
from .plan import ANSWERS, CHART, CROSSOVER, MADE, PARITY, REPORT, Plan
from .report import figures as chart
from .report import page as html
from .report import terminal
from .results import collect as gather
from .results import environment
from .results import source_code as code


class Comparison:
    """One run of `python -m compare`.

    Args:
        plan: what is measured.
        data: loaded and checked.
        out: the run folder.
        threads: for each library in each process.
        engine: one of `engines.NAMES`.
        why: for each contender that can't take part, the sentence.
        names: all that were asked for, in order.
    """

    def __init__(
        self, plan: Plan, data: Dataset, out: Path, threads: int, engine: str, why: dict[str, str], names: list[str]
    ) -> None:
        self.plan, self.data, self.out, self.threads, self.engine_name = plan, data, out, threads, engine
        self.answers = out / ANSWERS
        self.results: dict[str, Any] = {
            "recipe": plan.recipe.as_dict(),
            "plan": plan.as_dict() | {"engine": engine},
            "data": {
                **{split: len(getattr(data, split).labels) for split in ("train", "validation", "test")},
                "input_shape": list(data.input_shape),
                "classes": data.classes,
                "digest": data.digest,
            },
            "environment": environment.describe(threads) | {"others_share": None},
            "finished": None,
            "parity": None,
            "contenders": [_begin(name, why.get(name)) for name in names],
        }
        self.rows = {row["name"]: row for row in self.results["contenders"]}

    def run(self, *, resume: bool, overwrite: bool) -> None:
        """Do it all, and leave a run folder.

        Raises:
            UserError: `resume` of a run with other data, recipe or threads.
            Stopped: Ctrl-C; what was finished is kept.
            SystemExit: status 1 if the contenders do not agree.
        """
        weights = {
            seed: jobs.starting_weights(replace(self.plan.recipe, seed_everything=seed), self.data)
            for seed in self.plan.seeds
        }
        self._settle(resume, overwrite)
        with tempfile.TemporaryDirectory(prefix="compare-") as shared, terminal.Progress(self.results) as self.progress:
            jobs.share(Path(shared), self.data, weights)
            self.engine = engines.start(self.engine_name, Path(shared), self.answers, self.threads, self.progress.epoch)
            self.busy = environment.Busy()
            try:
                self._stages()
            except KeyboardInterrupt:
                for row in self.results["contenders"]:
                    row["status"] = row["status"] or "stopped"
                self._write()
                raise Stopped(f"what was finished is in {self.out}; --out {self.out} --resume continues") from None
        for row in self.results["contenders"]:
            row["status"] = row["status"] or "ok"
        self._write()
        terminal.show(self.results, self.progress.console)
        self.progress.console.print(f"\n{self.out}: results.json, comparison.png, report.html", soft_wrap=True)
        if self.results["parity"]["passed"] is False:
            raise SystemExit(1)

    def _settle(self, resume: bool, overwrite: bool) -> None:
        """Make the run folder, or find it as this very run left it."""
        made = {
            **dict(recipes.flat(self.plan.recipe)),
            "threads": self.threads,
            "data": self.results["data"]["digest"],
            "engine": self.engine_name,
        }
        before = self.answers / MADE
        if resume and before.exists():
            found = json.loads(before.read_text(encoding="utf-8"))
            for key, value in made.items():
                if found.get(key) != value:
                    raise UserError(
                        f"--resume: {key} is {value}, but the run in {self.out} was made with {found.get(key)};"
                        f" expected --config {self.out / folder.RECIPE}, or another --out"
                    )
            folder.prepare(self.out, self.plan.files())
            return
        datasets.report(self.data)
        folder.prepare(self.out, self.plan.files(), overwrite=overwrite)
        self.answers.mkdir(exist_ok=True)
        write_json(before, made)
        write_text(self.out / folder.RECIPE, recipes.dump(self.plan.recipe))

    def _stages(self) -> None:
        """Parity, then, if they agree, the two divisions and the sweep."""
        self.progress.begin("parity", self.plan.parity())
        self.results["parity"] = self._parity()
        if self.results["parity"]["passed"] is False:
            for row in self.results["contenders"]:
                row["status"] = row["status"] or "not timed, since the contenders do not agree"
            return
        self.busy.start()
        stages = {"closed": self.plan.races("closed"), "open": self.plan.races("open"), "sweep": self.plan.sweep()}
        for stage, planned in stages.items():
            self.progress.begin(stage, planned)
            for job, failed in self._run(planned):
                if failed:
                    self.rows[job.contender]["status"] = f"{stage}: {failed}" if stage != "closed" else failed
                self.progress.done(job, failed, jobs.answer(self.answers, job))
        self.results["environment"]["others_share"] = self.busy.share()

    def _run(self, planned: Sequence[Job]) -> Iterator[tuple[Job, str | None]]:
        """All these jobs: those that are answered already, then the others, of contenders that have not failed."""
        yield from ((job, None) for job in planned if self._answered(job))
        # Looked at one by one, as they are taken: a contender may have failed by then.
        waiting = (job for job in planned if self.rows[job.contender]["status"] is None and not self._answered(job))
        yield from self.engine.run(waiting)

    def _parity(self) -> dict[str, Any]:
        """Hold everyone's recording against minigrad's. The recordings are large, and removed once they are compared."""
        path = self.answers / PARITY
        planned = self.plan.parity()
        names = [job.contender for job in planned]
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["names"] == names:
                return kept["parity"]
        waiting = [job for job in planned if not self._answered(job)]
        failures: dict[str, str | None] = {}
        for job, failed in self.engine.run(waiting, min(self.threads, len(waiting)) or 1):
            failures[job.contender] = failed
            self.progress.done(job, failed, None)
        if failures.get(parity.REFERENCE):
            raise UserError(f"minigrad's own run {failures[parity.REFERENCE]}; nothing can be compared")
        folders = {job.contender: self.answers / job.name for job in planned}
        found = parity.judge(self.plan.recipe, folders, failures)
        for name, row in found["contenders"].items():
            self.progress.parity(contenders.find(name).title, row)
        write_json(path, {"names": names, "parity": found})
        for path in folders.values():
            jobs.remove(path)
        return found

    def _answered(self, job: Job) -> bool:
        return jobs.answer(self.answers, job) is not None

    def _write(self) -> None:
        """Leave results.json, comparison.png and report.html."""
        if self.results["parity"] is not None and self.results["parity"]["passed"] is not False:
            gather.fill(self.results, self.plan, self.answers, self.data)
        self.results["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.out / folder.RESULTS, self.results)
        if self.results["parity"] is not None:
            chart.draw(self.out / CHART, self.results)
            if self.results.get("sweep"):
                chart.draw_crossover(self.out / CROSSOVER, self.results)
            networks = gather.networks(self.plan, self.answers)
            html.write(self.out / REPORT, self.results, self.plan.recipe, self.data, networks)


def _begin(name: str, why: str | None) -> dict[str, Any]:
    """A contender's row before anything ran."""
    found = contenders.find(name)
    lines = sum(code.lines(place) for place in found.user_code)
    said = {"name": name, "title": found.title, "trains_by": found.trains_by, "lines_of_code": lines}
    return {**said, "division": "closed", "status": why}
