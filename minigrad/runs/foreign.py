"""Reading files that someone else may have written: their limits, and one place that reports what a parser raises.

Every reader checks sizes before it allocates memory for them. Third-party
parsers raise all kinds of exceptions for damaged files; `parsing` turns each
of them into one sentence.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UserError

MIB = 2**20
MAX_EXPANSION, FREE_EXPANSION = 100, 128 * MIB  # of compressed files, see `expanded_limit`
MAX_JSON = 4 * MIB  # bytes of a JSON file
MAX_METADATA = MIB  # bytes of the header of a safetensors file, which contains the metadata
MAX_HISTORY = 8 * MIB  # bytes of a history.csv
MAX_YAML = 100_000  # characters of a YAML file
MAX_VALUES = 2_000  # in a YAML file or a recipe
MAX_DEPTH = 32  # of nested lists and mappings, in JSON and YAML
SHORT_YAML = 100  # characters; a text below it cannot be nested so deeply that it does harm


class Invalid(ValueError):
    """A value in a file is not what it must be. `parsing` reports the message."""


@contextmanager
def parsing(name: object, expected: str, fault: str = "is damaged") -> Iterator[None]:
    """Report whatever a parser raises for the content of a file as one `UserError`.

    The block must contain only the call of a parser and the validation of
    its result, so that an error in other code keeps its traceback.

    Args:
        name: the file, or the option and the file, at the beginning of the message.
        expected: what was expected instead, at the end of the message.
        fault: what is wrong with the file. An OSError replaces it by its own reason.

    Raises:
        UserError: the block has raised an exception. A UserError, an ImportError and an interruption pass unchanged.
    """
    try:
        yield
    except (UserError, ImportError):
        raise
    except OSError as error:
        reason = f"cannot be read ({error.strerror})" if error.strerror else fault
        raise UserError(f"{name}: {reason}; expected {expected}") from error
    except Exception as error:
        raise UserError(f"{name}: {fault} ({reason_of(error)}); expected {expected}") from error


@contextmanager
def part_of_file() -> Iterator[None]:
    """Turn a `UserError` about values of a file, such as those of its recipe, into `Invalid`.

    The surrounding `parsing` then adds the name of the file.
    """
    try:
        yield
    except UserError as error:
        raise Invalid(str(error)) from error


def reason_of(error: Exception) -> str:
    """Return the message of an exception on one line of at most 200 characters."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return shown(" ".join(str(error).split())) or type(error).__name__


def shown(value: object, length: int = 200) -> str:
    """Return a value from a file for a message, shortened to `length` characters."""
    text = str(value)
    return text if len(text) <= length else f"{text[:length]}…"


def expanded_limit(compressed: int) -> int:
    """Return the number of bytes to which a compressed file of `compressed` bytes may expand.

    Images and labels become up to about 50 times smaller. Even if all images are equal, a data set as large as MNIST
    stays below the allowance.
    """
    return max(FREE_EXPANSION, MAX_EXPANSION * compressed)


def read_text(path: Path, limit: int) -> str:
    """Return the UTF-8 text of a regular file of at most `limit` bytes."""
    if not path.is_file() and path.exists():
        raise Invalid("it is not a file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Invalid(f"it is larger than {limit:,} bytes")
    return content.decode("utf-8-sig")


def parse_json(text: str, *, infinite: bool = False) -> Any:
    """Parse JSON of at most `MAX_DEPTH` nested lists and objects.

    Args:
        text: the JSON text.
        infinite: whether Infinity is accepted, as `json.dumps` writes it. NaN and repeated keys are always refused.

    Raises:
        ValueError: the text is not JSON, or not accepted. Other exceptions are possible: call it within `parsing`.
    """

    def constant(name: str) -> float:
        if not infinite or name == "NaN":
            raise Invalid(f"it contains {name}")
        return float(name)

    content = json.loads(text, parse_constant=constant, object_pairs_hook=_unique)
    check_values(content, limit=None, strings=False)
    return content


def read_json(path: Path, limit: int = MAX_JSON) -> Any:
    """Read a JSON file of at most `limit` bytes as `parse_json` does; call it within `parsing`."""
    return parse_json(read_text(path, limit))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise Invalid("a key is repeated")
    return content


def check_values(content: Any, *, limit: int | None = MAX_VALUES, strings: bool = True) -> None:
    """Check nested lists and dicts before other code visits them, perhaps recursively.

    Args:
        content: plain values, of which no list or dict contains itself.
        limit: the largest number of values in all; None does not limit it.
        strings: whether to check strings too, since jsonargparse parses them as YAML.

    Raises:
        Invalid: there are too many values, or they are nested too deeply.
    """
    level, count = [content], 0
    for _ in range(MAX_DEPTH + 1):
        count += len(level)
        if limit is not None and count > limit:
            raise Invalid(f"it contains more than {limit:,} values")
        if strings:
            for value in level:
                if isinstance(value, str):
                    check_yaml(value)
        level = [
            part
            for value in level
            if isinstance(value, (list, tuple, dict))
            for part in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise Invalid(f"it is nested more than {MAX_DEPTH} levels deep")


def check_yaml(text: str) -> None:
    """Check a YAML text without building its values. A syntax error is left to the parser.

    Raises:
        Invalid: the text is too long, contains too many values, is nested too deeply, or repeats a value by an alias.
    """
    if len(text) < SHORT_YAML and "&" not in text:
        return
    import yaml

    if len(text) > MAX_YAML:
        raise Invalid(f"it is longer than {MAX_YAML:,} characters")
    depth = count = 0
    anchors: set[str] = set()
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            count += 1
            if isinstance(event, yaml.AliasEvent):
                if event.anchor in anchors:
                    raise Invalid(f"it contains the alias *{shown(event.anchor, 40)}; write the value out")
            elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                anchors.add(event.anchor)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.ScalarEvent) and len(event.value) < len(text):
                check_yaml(event.value)  # jsonargparse parses strings in the file again
            if depth > MAX_DEPTH:
                raise Invalid(f"it is nested more than {MAX_DEPTH} levels deep")
            if count > MAX_VALUES:
                raise Invalid(f"it contains more than {MAX_VALUES:,} values")
    except yaml.YAMLError:
        return


def whole_number(name: str, value: Any, low: int = 0, high: int = 2**53) -> int:
    """Return `value` if it is an integer from `low` to `high`, otherwise raise `Invalid`."""
    if type(value) is not int or not low <= value <= high:
        raise Invalid(f"{name} is {shown(value, 40)}; expected a whole number from {low} to {high}")
    return value


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, infinite: bool = False) -> float:
    """Return `value` as a float if it is a number from `low` to `high`, otherwise raise `Invalid`.

    Args:
        name: what the number is, for the message.
        value: the value; a bool is not a number.
        low: the smallest number.
        high: the largest number.
        infinite: whether infinity is accepted. NaN never is.
    """
    valid = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not valid or not abs(value) <= (math.inf if infinite else sys.float_info.max) or not low <= value <= high:
        raise Invalid(f"{name} is {shown(value, 40)}; expected a {'' if infinite else 'finite '}number")
    return float(value)
