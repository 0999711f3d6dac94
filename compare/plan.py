"""The jobs of a comparison, and their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from minigrad.recipes import Recipe
from minigrad.runs import UserError, folder

from . import contenders
from .jobs.job import FILES as JOB_FILES
from .jobs.job import Job, Stage
from .parity.comparison import REFERENCE
from .results.schema import Division, PlanSettings

ANSWERS, SETTINGS, PARITY = "jobs", "plan.json", "parity.json"
CHART, CROSSOVER, REPORT = "comparison.png", "crossover.png", "report.html"
FILES = (folder.RECIPE, folder.RESULTS, CHART, CROSSOVER, REPORT, f"{ANSWERS}/{SETTINGS}", f"{ANSWERS}/{PARITY}")
QUICK_WIDTHS = (10, 100, 1000)
FULL_WIDTHS, FULL_BATCHES = (10, 32, 64, 128, 256, 512, 1024, 2048, 4096), (32, 128, 512)
# Rounds per point of the sweep. Of those with a verdict, one may be disturbed; the overhead has none.
SWEEP_ROUNDS, FLOOR_ROUNDS = 16, 3


@dataclass(frozen=True)
class Plan:
    """The contenders, seeds and sweep points of a comparison.

    Attributes:
        recipe: the recipe that all contenders train.
        contenders: those that can take part, in order.
        seeds: the seeds of every division. Each seed has its own weights, batches and dropout.
        divisions: the divisions, "closed" first.
        points: (width, batch size) pairs of the sweep; may be empty.
        target: the validation accuracy to be reached; None means the highest whole percent that all reach.
    """

    recipe: Recipe
    contenders: tuple[str, ...]
    seeds: tuple[int, ...]
    divisions: tuple[Division, ...]
    points: tuple[tuple[int, int], ...]
    target: float | None

    def parity(self) -> list[Job]:
        """Return the jobs of the parity stage, minigrad's first, since the others are compared with it."""
        names = [REFERENCE, *(name for name in self.contenders if name != REFERENCE)]
        return [self._job("parity", name, self.seeds[0]) for name in names]

    def group(self, division: Division, seed: int) -> list[Job]:
        """Return the jobs of one division and seed, one per contender, for each seed starting with another contender."""
        return [self._job(division, name, seed) for name in _rotated(self.contenders, self.seeds.index(seed))]

    def trainings(self, division: Division) -> list[Job]:
        """Return all jobs of a division, seed by seed."""
        return [job for seed in self.seeds if division in self.divisions for job in self.group(division, seed)]

    def sweep(self) -> list[Job]:
        """Return one job per contender that supports networks of one hidden layer of any width, with the first seed.

        The last point has width 1 and the smallest batch size, where there is hardly any arithmetic, so that overhead
        remains.
        """
        if not self.points:
            return []
        narrow = replace(self.recipe, model=replace(self.recipe.model, hidden=[1]))
        smallest = 2 if self.recipe.model.batch_norm else 1  # a variance needs two samples
        points = [[*point, SWEEP_ROUNDS] for point in self.points] + [[1, smallest, FLOOR_ROUNDS]]
        supported = [name for name in self.contenders if not contenders.find(name).unsupported(narrow)]
        return [self._job("sweep", name, self.seeds[0], points=points) for name in supported]

    def files(self) -> list[str]:
        """Return all files that the run writes, relative to its folder."""
        trainings = [job for division in self.divisions for job in self.trainings(division)]
        again = [replace(job, stage="again") for job in trainings]
        jobs = [*self.parity(), *trainings, *again, *self.sweep()]
        rounds = {rounds_file(job.stage, job.seed) for job in [*trainings, *self.sweep()]}
        return [*FILES, *sorted(rounds), *(f"{ANSWERS}/{job.name}/{name}" for job in jobs for name in JOB_FILES)]

    def settings(self) -> PlanSettings:
        """Return the plan without the recipe, JSON-serializable."""
        return {
            "contenders": list(self.contenders),
            "seeds": list(self.seeds),
            "divisions": list(self.divisions),
            "points": [list(point) for point in self.points],
            "target": self.target,
        }

    def _job(self, stage: Stage, name: str, seed: int, **options: Any) -> Job:
        return Job(stage, name, seed, self.recipe, options)


def rounds_file(stage: str, seed: int) -> str:
    """Return the file of the rounds of a stage with one seed, relative to the run folder."""
    return f"{ANSWERS}/{stage}/rounds-{seed}.json"


def _rotated(names: Sequence[str], count: int) -> list[str]:
    """Return `names` rotated left by `count`."""
    count %= len(names) or 1
    return [*names[count:], *names[:count]]


def select(flag: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return `names` without duplicates, in the order of `known`.

    Raises:
        UserError: a name is not known; `flag` is named in the message.
    """
    names, known = list(names), list(known)
    for name in names:
        if name not in known:
            raise UserError(f"{flag}: {name}; expected some of {', '.join(known)}")
    return [name for name in known if name in names]
