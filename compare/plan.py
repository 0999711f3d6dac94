"""The jobs of a comparison, and their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from minigrad.recipes import Recipe
from minigrad.runs import UserError, folder

from . import contenders
from .jobs.job import FILES as JOB_FILES
from .jobs.job import Job, Stage
from .parity.comparison import REFERENCE
from .results.schema import PlanSettings

Division = Literal["closed", "open"]
ANSWERS, SETTINGS, PARITY = "jobs", "plan.json", "parity.json"
CHART, CROSSOVER, REPORT = "comparison.png", "crossover.png", "report.html"
FILES = (folder.RECIPE, folder.RESULTS, CHART, CROSSOVER, REPORT, f"{ANSWERS}/{SETTINGS}", f"{ANSWERS}/{PARITY}")
QUICK_WIDTHS = (10, 100, 1000)
FULL_WIDTHS, FULL_BATCHES = (10, 32, 64, 128, 256, 512, 1024, 2048, 4096), (32, 128, 512)


@dataclass(frozen=True)
class Plan:
    """The contenders, seeds and sweep points of a comparison.

    Attributes:
        recipe: the recipe that all contenders train.
        contenders: those that can take part, in order.
        seeds: the seeds of the closed division. Each seed has its own weights, batches and dropout.
        open_seeds: the seeds of the open division; may be empty.
        points: (width, batch size) pairs of the sweep; may be empty.
        target: the validation accuracy to be reached; None means the highest whole percent that all reach.
    """

    recipe: Recipe
    contenders: tuple[str, ...]
    seeds: tuple[int, ...]
    open_seeds: tuple[int, ...]
    points: tuple[tuple[int, int], ...]
    target: float | None

    def parity(self) -> list[Job]:
        """Return the jobs of the parity stage, minigrad's first, since the others are compared with it."""
        names = [REFERENCE, *(name for name in self.contenders if name != REFERENCE)]
        return [self._job("parity", name, self.seeds[0]) for name in names]

    def trainings(self, division: Division) -> list[Job]:
        """Return the jobs of a division, interleaved: for each seed all contenders, each time starting with another one."""
        seeds = self.seeds if division == "closed" else self.open_seeds
        return [
            self._job(division, name, seed)
            for i, seed in enumerate(seeds)
            for name in _rotated(self._names(division), i)
        ]

    def sweep(self) -> list[Job]:
        """Return one job per contender that supports networks of one hidden layer of any width."""
        if not self.points:
            return []
        narrow = replace(self.recipe, model=replace(self.recipe.model, hidden=[1]))
        supported = [name for name in self.contenders if not contenders.find(name).unsupported(narrow)]
        # The first job also measures the speed of the machine.
        return [
            self._job("sweep", name, self.seeds[0], points=self.points, products=i == 0)
            for i, name in enumerate(supported)
        ]

    def files(self) -> list[str]:
        """Return all files that the run writes, relative to its folder."""
        jobs = [*self.parity(), *self.trainings("closed"), *self.trainings("open"), *self.sweep()]
        return [*FILES, *(f"{ANSWERS}/{job.name}/{name}" for job in jobs for name in JOB_FILES)]

    def settings(self) -> PlanSettings:
        """Return the plan without the recipe, JSON-serializable."""
        return {
            "contenders": list(self.contenders),
            "seeds": list(self.seeds),
            "open_seeds": list(self.open_seeds),
            "points": [list(point) for point in self.points],
            "target": self.target,
        }

    def _names(self, division: Division) -> list[str]:
        if division == "closed":
            return list(self.contenders)
        return [name for name in self.contenders if contenders.find(name).open_changes(self.recipe)]

    def _job(self, stage: Stage, name: str, seed: int, **options: Any) -> Job:
        return Job(stage, name, seed, self.recipe, options)


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
