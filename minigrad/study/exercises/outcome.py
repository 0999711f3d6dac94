"""The result of a check, which the checking process sends as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

LONGEST = 4000  # characters of a text in a report


@dataclass(frozen=True)
class Outcome:
    """The result of a check.

    Attributes:
        solved: whether the exercise is solved.
        message: what is wrong, in a sentence; after success, what was reached, or nothing.
        values: (name, text) pairs: the inputs of the case that failed, and the actual and the expected value.
        hint: what the usual cause is; empty if it is not known.
        trace: the lines of the learner's files at which an exception was raised, as (file, line, function, code).
    """

    solved: bool
    message: str = ""
    values: list[tuple[str, str]] = field(default_factory=list)
    hint: str = ""
    trace: list[tuple[str, int, str, str]] = field(default_factory=list)

    def to_json(self) -> bytes:
        """Return the outcome as JSON. The middle of a very long text is left out."""
        return json.dumps({name: _shortened(value) for name, value in asdict(self).items()}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Outcome | None:
        """Read an outcome; None if `data` is not one, since the learner's program may write to any file descriptor."""
        try:
            content: Any = json.loads(data)
            values = [(str(name), str(text)) for name, text in content["values"]]
            trace = [
                (str(file), int(line), str(function), str(code)) for file, line, function, code in content["trace"]
            ]
            return cls(content["solved"] is True, str(content["message"]), values, str(content["hint"]), trace)
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def _shortened(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_shortened(item) for item in value]
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[: LONGEST // 2]} ... {value[-LONGEST // 2 :]}"
    return value


class Wrong(Exception):
    """The learner's solution is wrong.

    Args:
        message: what is wrong, in a sentence.
        values: see `Outcome`.
        hint: see `Outcome`.
        certain: whether a known mistake gives the same numbers, so that no other case says more.
    """

    def __init__(
        self, message: str, values: list[tuple[str, str]] | None = None, hint: str = "", certain: bool = False
    ) -> None:
        super().__init__(message)
        self.message, self.values, self.hint, self.certain = message, values or [], hint, certain


class TimeUp(BaseException):
    """The time limit of a check is exceeded. A signal handler raises it; `except Exception` does not catch it."""


def describe(error: BaseException) -> str:
    """Return the type and the message of an exception, as the last line of a traceback has them."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception of the learner may have a __str__ that fails
        text = ""
    return f"{type(error).__name__}: {text}".rstrip(". ") if text else type(error).__name__
