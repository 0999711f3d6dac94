"""What a comparison runs, in which order: nothing here starts a process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from minigrad.recipes import Recipe
from minigrad.runs import UserError, folder

from . import contenders
from .jobs.job import FILES as JOB_FILES
from .jobs.job import Job
from .parity import comparison as parity

ANSWERS, MADE, PARITY = "jobs", "plan.json", "parity.json"
CHART, CROSSOVER, REPORT = "comparison.png", "crossover.png", "report.html"
FILES = (folder.RECIPE, folder.RESULTS, CHART, CROSSOVER, REPORT, f"{ANSWERS}/{MADE}", f"{ANSWERS}/{PARITY}")
QUICK_WIDTHS = (10, 100, 1000)
FULL_WIDTHS, FULL_BATCHES = (10, 32, 64, 128, 256, 512, 1024, 2048, 4096), (32, 128, 512)


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        contenders: who can take part, in order.
        seeds: of the closed division; each gives weights, batches and dropout of its own.
        open_seeds: of the open division; may be empty.
        points: (width, batch size) of the sweep; may be empty.
        target: the accuracy on the validation set to be reached; None takes the highest whole percent that all reach.
    """

    recipe: Recipe
    contenders: tuple[str, ...]
    seeds: tuple[int, ...]
    open_seeds: tuple[int, ...]
    points: tuple[tuple[int, int], ...]
    target: float | None

    def parity(self) -> list[Job]:
        """minigrad's job first, since the others are held against it."""
        names = [parity.REFERENCE, *(name for name in self.contenders if name != parity.REFERENCE)]
        return [self._job("parity", name, self.seeds[0]) for name in names]

    def races(self, division: str) -> list[Job]:
        """Interleaved: seed by seed, all contenders, each time another one first."""
        seeds = self.seeds if division == "closed" else self.open_seeds
        return [
            self._job(division, name, seed)
            for turn, seed in enumerate(seeds)
            for name in _turned(self._racing(division), turn)
        ]

    def sweep(self) -> list[Job]:
        """A job a contender that knows networks of one hidden layer of any width."""
        if not self.points:
            return []
        narrow = replace(self.recipe, model=replace(self.recipe.model, hidden=[1]))
        able = [name for name in self.contenders if not contenders.find(name).misfit(narrow)]
        points = {"points": self.points}
        # Whoever is first also measures what the machine can do at all.
        return [self._job("sweep", name, self.seeds[0], **points, products=i == 0) for i, name in enumerate(able)]

    def _racing(self, division: str) -> list[str]:
        if division == "closed":
            return list(self.contenders)
        return [name for name in self.contenders if contenders.find(name).opens(self.recipe)]

    def _job(self, stage: str, name: str, seed: int, **options: Any) -> Job:
        return Job(stage, name, seed, self.recipe, options)

    def files(self) -> list[str]:
        """All that the run writes, relative to its folder."""
        planned = [*self.parity(), *self.races("closed"), *self.races("open"), *self.sweep()]
        return [*FILES, *(f"{ANSWERS}/{job.name}/{name}" for job in planned for name in JOB_FILES)]

    def as_dict(self) -> dict[str, Any]:
        """All of it but the recipe, JSON-able."""
        found = asdict(replace(self, recipe=None))  # type: ignore[arg-type]
        del found["recipe"]
        return found


def _turned(names: Sequence[str], by: int) -> list[str]:
    """`names` in a circle, begun `by` places on."""
    by %= len(names) or 1
    return [*names[by:], *names[:by]]


def chosen(flag: str, given: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those asked for, once each, in the usual order.

    Raises:
        UserError: one of them is not known.
    """
    given, known = list(given), list(known)
    for name in given:
        if name not in known:
            raise UserError(f"{flag}: {name}; expected some of {', '.join(known)}")
    return [name for name in known if name in given]
