"""The exercises in their order, and the files that belong to each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from ...runs.errors import UserError

DATA = Path(__file__).parent
WORKER = "minigrad.study.exercises.worker"


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        name: the name of its file without `.py`, such as "01_slope".
        chapter: the chapter of the guide that prepares it.
        seconds: the time limit of its check.
        needs: the earlier exercises whose solutions it imports.
        requires: the libraries that it needs, and the extra that installs them; none for most.
        worker: the module that checks it, run by `python -m`.
    """

    name: str
    chapter: str
    seconds: int = 10
    needs: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    extra: str = ""
    worker: str = WORKER

    @property
    def file(self) -> str:
        """The name of the learner's file."""
        return f"{self.name}.py"

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return int(self.name[:2])

    @property
    def stub(self) -> str:
        """The text of the file as `start` writes it."""
        return (DATA / "stubs" / self.file).read_text(encoding="utf-8")

    @property
    def solution(self) -> str:
        """The text of the completed file."""
        return (DATA / "solutions" / self.file).read_text(encoding="utf-8")

    @property
    def hint(self) -> str:
        """The hint, in paragraphs."""
        return (DATA / "hints" / f"{self.name}.txt").read_text(encoding="utf-8")


ENGINE = ("03_square", "04_backward", "05_broadcasting", "06_matmul", "09_sgd")
CLASSIFIER = ("04_backward", "05_broadcasting", "06_matmul", "08_cross_entropy", "09_sgd", "10_adam")
COMPARED = "compare.parity.exercise"  # the worker of the exercises that are compared with minigrad step by step

EXERCISES = (
    Exercise("01_slope", "1-slope"),
    Exercise("02_predict", "2-chain-rule"),
    Exercise("03_square", "2-chain-rule"),
    Exercise("04_backward", "3-first"),
    Exercise("05_broadcasting", "4-broadcasting"),
    Exercise("06_matmul", "5-by-hand"),
    Exercise("07_softmax", "7-softmax"),
    Exercise("08_cross_entropy", "7-softmax"),
    Exercise("09_sgd", "8-optimizers"),
    Exercise("10_adam", "8-optimizers"),
    Exercise("11_xor", "8-optimizers", 20, ENGINE),
    Exercise("12_digits", "8-optimizers", 60, CLASSIFIER),
    Exercise("13_mnist", "8-optimizers", 120, (*CLASSIFIER, "12_digits")),
    Exercise("14_torch", "9-frameworks", 120, requires=("torch",), extra="lightning", worker=COMPARED),
    Exercise("15_keras", "9-frameworks", 180, requires=("keras", "tensorflow"), extra="keras", worker=COMPARED),
)
BY_NAME = {exercise.name: exercise for exercise in EXERCISES}


def find(text: str) -> Exercise:
    """Return an exercise by its name, the name of its file, its number, or its name without the number.

    Raises:
        UserError: there is no such exercise.
    """
    name = Path(text).name.removesuffix(".py")
    for exercise in EXERCISES:
        if name in (exercise.name, exercise.name[3:]) or (name.isdecimal() and int(name) == exercise.number):
            return exercise
    similar = difflib.get_close_matches(name, [n for e in EXERCISES for n in (e.name, e.name[3:])], n=1)
    suggestion = f"; did you mean {similar[0]}?" if similar else ""
    raise UserError(
        f"{text!r} is not an exercise; expected a number from 1 to 15, or a name such as 01_slope{suggestion}"
    )
