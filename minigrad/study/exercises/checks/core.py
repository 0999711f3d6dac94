"""Calls the learner's function and the right one with the same arguments, and compares all results.

A known mistake is a wrong implementation with a hint. If a result of the
learner is wrong, each mistake is called with the same arguments. The hint is
shown if the mistake returns what the learner's function returned.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..outcome import Wrong, describe
from . import values
from .values import show

Outputs = dict[str, Any]  # the results of a call, by a description such as "pullback(g)"


@dataclass(frozen=True)
class Mistake:
    """A wrong implementation, with the interface of the right one, and the hint for it."""

    target: Any
    hint: str


@dataclass(frozen=True)
class Case:
    """The arguments of one call.

    Attributes:
        inputs: arguments by name; each call gets copies.
        shown: whether the failure lists them.
        replay: whether the mistakes are called; False if one of them would not end.
    """

    inputs: dict[str, Any]
    shown: bool = True
    replay: bool = True


@dataclass(frozen=True)
class Part:
    """A function that the learner writes, and how it is checked.

    Attributes:
        names: what the file must define.
        call: calls a target, which is the learner's module or a replacement for it, with the inputs of a case.
        right: the right target.
        cases: returns the cases.
        mistakes: the known mistakes.
        hints: the hint for an exception, by the name of its type.
        rtol, atol: |actual - expected| <= atol + rtol |expected| is required.
    """

    names: tuple[str, ...]
    call: Callable[..., Outputs]
    right: Any
    cases: Callable[[np.random.Generator], Iterable[Case]]
    mistakes: Sequence[Mistake] = ()
    hints: dict[str, str] = field(default_factory=dict)
    rtol: float = 1e-9
    atol: float = 1e-11


def check_parts(module: Any, parts: Iterable[Part]) -> None:
    """Check all parts of an exercise.

    Raises:
        Wrong: a result is wrong. Of several failures of a part, the first one that a known mistake explains is reported.
    """
    for part in parts:
        for name in part.names:
            if not hasattr(module, name):
                raise Wrong(f"The file does not define {name!r}.", hint=f"Keep the name {name!r} of the exercise.")
        first: Wrong | None = None
        mistakes = list(part.mistakes)
        for case in part.cases(np.random.default_rng(0)):
            try:
                _check_case(part, case, module, mistakes)
                mistakes = [mistake for mistake in mistakes if not _is_excluded(part, case, mistake)]
            except Wrong as wrong:
                if wrong.certain:
                    raise
                first = first or wrong
        if first:
            raise first


def _call(part: Part, case: Case, target: Any) -> Outputs | None:
    """Return the outputs of the right target or of a mistake; None if it is not possible with this case."""
    try:
        with np.errstate(all="ignore"):
            return part.call(target, **copy.deepcopy(case.inputs))
    except Exception:
        if target is part.right:
            raise
        return None


def _check_case(part: Part, case: Case, module: Any, mistakes: Sequence[Mistake]) -> None:
    inputs = copy.deepcopy(case.inputs)
    listed = [(name, show(value)) for name, value in case.inputs.items()] if case.shown else []
    try:
        actual = part.call(module, **inputs)
    except Wrong as wrong:
        raise Wrong(wrong.message, listed + wrong.values, wrong.hint) from wrong.__cause__
    except NotImplementedError:
        raise
    except Exception as error:
        raise Wrong(f"{describe(error)}.", listed, part.hints.get(type(error).__name__, "")) from error
    _check_unchanged(case.inputs, inputs)
    expected = _call(part, case, part.right) or {}
    for label, value in expected.items():
        if problem := values.difference(actual.get(label), value, part.rtol, part.atol):
            hint = _hint(part, case, mistakes, label, actual, expected)
            raise Wrong(f"{label} {problem.sentence}", listed + problem.values, hint, certain=bool(hint))


def _same(part: Part, a: Outputs, b: Outputs, labels: Iterable[str]) -> bool:
    return all(values.difference(a.get(label), b.get(label), part.rtol, part.atol) is None for label in labels)


def _is_excluded(part: Part, case: Case, mistake: Mistake) -> bool:
    """Return whether this case, which the learner has passed, would have failed with the mistake."""
    wrong = _call(part, case, mistake.target) if case.replay else None
    right = _call(part, case, part.right) or {}
    return wrong is not None and not _same(part, wrong, right, right)


def _check_unchanged(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name, array in before.items():
        if isinstance(array, np.ndarray) and not np.array_equal(array, after[name], equal_nan=True):
            raise Wrong(
                f"The function changes its argument {name}.",
                [(f"{name} before", show(array)), (f"{name} after", show(after[name]))],
                f"Compute new arrays, or work on a copy: {name}.copy(). Operators such as += change an array in place.",
            )


def _hint(part: Part, case: Case, mistakes: Sequence[Mistake], label: str, actual: Outputs, expected: Outputs) -> str:
    """Return the hint of the mistake that gives the learner's results, or at least the one at `label`, which is wrong."""
    partly = ""
    for mistake in mistakes if case.replay else ():
        wrong = _call(part, case, mistake.target)
        if wrong is None or not _same(part, actual, wrong, [label]) or _same(part, wrong, expected, [label]):
            continue
        if _same(part, actual, wrong, expected):
            return mistake.hint
        partly = partly or mistake.hint
    return partly
