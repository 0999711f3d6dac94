"""What a break is: a training with a mistake, a question about it, and statements about what happened.

A statement about numbers is a pair (condition, sentence), computed from the
two runs. Only statements whose condition holds are printed.
"""

from __future__ import annotations

import difflib
import inspect
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from .experiment import Run, Training

Statement = tuple[bool, str]
Test = Callable[[Run, Run], bool]  # of the correct and the broken run
GUESSING = math.log(10)  # the loss of equal probabilities for 10 classes


@dataclass(frozen=True)
class Break:
    """A training with a known mistake.

    Attributes:
        summary: the mistake, for the list.
        question: describes the mistake and asks what will happen.
        choices: possible answers, each with the test whether it is what happened. The first that passes is the answer.
        correct: the correct training.
        broken: the training with the mistake.
        statements: what happened, by numbers of the two runs.
        why: the explanation, which holds for every run.
        recognize: the symptom to look for.
        fix: what to do.
        score_name: the name of the score, for tables and pictures.
        score_note: a sentence that explains the score.
    """

    summary: str
    question: str
    choices: tuple[tuple[str, Test], ...]
    correct: Training
    broken: Training
    statements: Callable[[Run, Run], list[Statement]]
    why: str
    recognize: str
    fix: str
    score_name: str = "accuracy"
    score_note: str = "The accuracy is that of the 360 test images."

    def code(self) -> dict[str, list[str]]:
        """Return the lines that differ: those of the correct and those of the broken training."""
        lines: dict[str, list[str]] = {"correct": [], "broken": []}
        for part in fields(Training):
            parts = getattr(self.correct, part.name), getattr(self.broken, part.name)
            if parts[0] != parts[1]:
                correct, broken = ([f"{part.name} = {x}"] if isinstance(x, float) else _body(x) for x in parts)
                for line in difflib.ndiff(correct, broken):
                    if line[0] in "+-":
                        lines["broken" if line[0] == "+" else "correct"].append(line[2:])
        return {kind: textwrap.dedent("\n".join(part)).splitlines() for kind, part in lines.items()}

    def answer(self, correct: Run, broken: Run) -> int | None:
        """Return the position of the choice that describes what happened; None if there is none."""
        return next((i for i, (_, test) in enumerate(self.choices) if test(correct, broken)), None)


def _body(function: Callable[..., Any]) -> list[str]:
    """Return the lines of a function without its first line."""
    body = textwrap.dedent("".join(inspect.getsourcelines(function)[0][1:])).splitlines()
    return [line.partition("  # type:")[0] for line in body]


def percent(x: float, decimals: int = 0) -> str:
    """Return a share as text, such as "12 %"."""
    return f"{100 * x:.{decimals}f} %"


def learns(_: Run, broken: Run) -> bool:
    """The broken training reaches a low loss and a good accuracy."""
    return broken.last.loss < 0.5 * broken.loss_before and broken.last.score > 0.6


def diverges(_: Run, broken: Run) -> bool:
    """The loss becomes much larger than before the training."""
    return broken.largest_loss > 2 * broken.loss_before and not broken.last.score > 0.6


def stays(_: Run, broken: Run) -> bool:
    """The loss stays near that of guessing."""
    return abs(broken.last.loss - GUESSING) < 0.1 * GUESSING


def accuracies(correct: Run, broken: Run) -> Statement:
    """Compare the accuracies on the test images."""
    scores = correct.last.score, broken.last.score
    return scores[1] < scores[
        0
    ], f"The accuracy on the test images is {percent(scores[1], 1)}, instead of {percent(scores[0], 1)}."


def all_dead(broken: Run) -> Statement:
    """State that no hidden unit and no weight gets a gradient any more."""
    last = broken.last
    passive = last.dead == broken.units and last.gradient("hidden") == last.gradient("output") == 0
    return passive, (
        f"At the end, all {broken.units} hidden units are 0 for every training image, and the gradients of both weights are"
        " exactly 0: the training cannot recover."
    )
