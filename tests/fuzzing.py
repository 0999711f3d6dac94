"""Damages files in many ways, and checks that a reader returns a value or refuses the file in one sentence.

Every input is a function of the reader's name and a number, so a failure can be repeated.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import resource
import signal
import struct
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigrad.runs import UserError

MB = 10**6
MEMORY = 400  # MB that one input may need
ADDRESS_SPACE = 6_000  # MB in addition to those of the process, so that a failure does not stop the machine
SECONDS = 5.0  # of the processor, that one input may take

Mutation = Callable[[bytes, random.Random], bytes]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


DEEP = "[" * 3000 + "]" * 3000
NUMBERS = [
    *(b"0", b"-1", b"1", b"2147483648", b"99999999999999", b"9223372036854775808", b"-9223372036854775809"),
    *(b"1" + b"0" * 30, b"7" * 5000, b"True", b"None", b"null", b"nan", b"NaN", b"inf", b"1e999", b"1.5", b"'a'", b""),
    *(b"20000", b"[1]", b"(1,2)", b"{}", b"&a [1]", b"*a", DEEP.encode()),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 1.5, -0.0, 1e308, float("nan")),
    *(float("inf"), -float("inf"), "", "x", "1", "1" * 5000, "\x1b[2J\x07", "[bold]x[/]", "[" * 500, "a" * 10**5),
    *([], [1], [None], [-1], [0.5], ["x"], [20000, 20000], [1] * 10_000, {}, {"a": 1}, {"": None}, nested(100)),
    *("../../x", "/etc/passwd", "&a [*a]", "\ud800", "%s", "{}", [[1, 2], [3]], {"a": {"b": {"c": []}}}),
]


def flip(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(dice.choice((1, 1, 2, 8))):
        changed[_place(len(changed), dice)] ^= 1 << dice.randrange(8)
    return bytes(changed)


def truncate(content: bytes, dice: random.Random) -> bytes:
    return content[: _place(len(content) + 1, dice)]


def splice(content: bytes, dice: random.Random) -> bytes:
    a, b = _place(len(content) + 1, dice), _place(len(content) + 1, dice)
    part = content[b : b + dice.choice((1, 4, 16, 64, 500))]
    part = dice.choice((part, b"\0" * len(part), b"\xff" * len(part), part * 3, b"", b"\n", b",", b'"'))
    return content[:a] + part + content[a + dice.choice((0, len(part))) :]


def numbers(content: bytes, dice: random.Random) -> bytes:
    """Replace a number in the text of the file."""
    matches = list(re.finditer(rb"-?\d+(\.\d+)?", content[:4000]))
    if not matches:
        return splice(content, dice)
    match = dice.choice(matches)
    return content[: match.start()] + dice.choice(NUMBERS) + content[match.end() :]


def integers(content: bytes, dice: random.Random) -> bytes:
    """Replace a binary integer near the beginning or the end of the file."""
    size = dice.choice("BHIQ")
    value = struct.pack(dice.choice("<>") + size, dice.choice((0, 1, 65, 2 ** (8 * struct.calcsize(size)) - 1)))
    at = dice.choice((dice.randrange(64), max(0, len(content) - dice.randrange(1, 80))))
    return content[:at] + value + content[at + len(value) :]


def _place(size: int, dice: random.Random) -> int:
    """Return a position, often near the beginning or the end, where the headers are."""
    return dice.choice(
        (dice.randrange(size), dice.randrange(min(size, 300)), size - 1 - dice.randrange(min(size, 300)))
    )


ANY = (flip, flip, truncate, splice, integers)
TEXT = (flip, truncate, splice, numbers, numbers)


def change_value(content: Any, dice: random.Random) -> Any:
    """Return plain values with one of them replaced, removed or added."""
    if isinstance(content, (dict, list)) and content and dice.random() < 0.85:
        key = dice.choice(list(content) if isinstance(content, dict) else range(len(content)))
        changed: Any = dict(content) if isinstance(content, dict) else list(content)
        roll = dice.random()
        if roll < 0.1:
            del changed[key]
        elif roll < 0.15 and isinstance(changed, dict):
            changed[dice.choice(("", "x", "\x1b[31m", "[red]", "__class__", "a" * 1000))] = dice.choice(VALUES)
        else:
            changed[key] = change_value(content[key], dice)
        return changed
    return dice.choice(VALUES)


def json_values(content: bytes, dice: random.Random) -> bytes:
    """Change a value of a JSON file."""
    return json.dumps(change_value(json.loads(content), dice)).encode()


def safetensors_header(content: bytes, dice: random.Random) -> bytes:
    """Change a value in the header of a safetensors file, often in the JSON texts of its metadata."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.get("__metadata__", {})
    if metadata and dice.random() < 0.7:
        key = dice.choice(list(metadata))
        text = metadata[key]
        roll = dice.random()
        metadata[key] = (
            json.dumps(change_value(json.loads(text), dice))
            if roll < 0.8
            else dice.choice((DEEP, "", "[]", "1", "null", text[:-1], '{"a": 1, "a": 2}', "1" * 5000))
        )
    else:
        header = change_value(header, dice)
    if dice.random() < 0.1:
        for name in header if isinstance(header, dict) else ():
            if name != "__metadata__" and isinstance(header[name], dict):
                header[name]["dtype"] = dice.choice(("F8_E4M3", "I32", "BOOL", "C64", "U8", "BF16", "F16", "F64", "X"))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def archive(inner: Sequence[Mutation] = ANY) -> Mutation:
    """Return a mutation of ZIP archives: a member, its name, its compression, or the list of members."""

    def change(content: bytes, dice: random.Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as before:
            members = [(info, before.read(info)) for info in before.infolist()]
        i = dice.randrange(len(members))
        info, data = members[i]
        roll = dice.random()
        if roll < 0.6:
            members[i] = (info, dice.choice(inner)(data, dice))
        elif roll < 0.7:
            info.compress_type = dice.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        elif roll < 0.8:
            del members[i]
        elif roll < 0.9:
            members.append(members[i])
        else:
            info.filename = dice.choice(("", "../x", "x", "\x1b[2J", "x_train", dice.choice(members)[0].filename))
        out = io.BytesIO()
        with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as after:
            warnings.simplefilter("ignore")  # about names that are repeated
            for info, data in members:
                after.writestr(info, data)
        return out.getvalue()

    return change


@dataclass
class Report:
    """What a reader did with damaged inputs."""

    reader: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    peak: float = 0.0  # MB
    slowest: float = 0.0  # seconds of the processor
    failures: Counter[str] = field(default_factory=Counter)

    def row(self) -> str:
        counts = f"{self.inputs:>8,} {self.accepted:>9,} {self.refused:>8,} {sum(self.failures.values()):>8,}"
        return f"{self.reader:24} {counts} {self.peak:>8.0f} {self.slowest:>8.2f}"


HEADER = f"{'reader':24} {'inputs':>8} {'accepted':>9} {'refused':>8} {'failures':>8} {'peak MB':>8} {'slowest':>8}"


class Slow(BaseException):
    """An input took too long; no reader catches it."""


def _stop(*_: object) -> None:
    raise Slow


def fuzz(
    reader: str,
    read: Callable[[Path], object],
    path: Path,
    files: Sequence[tuple[bytes, Sequence[Mutation]]],
    count: int,
) -> Report:
    """Give a reader `count` damaged files.

    Args:
        reader: its name.
        read: the reader.
        path: where each damaged file is written.
        files: valid files, and the mutations that apply to each.
        count: the number of inputs.
    """
    report = Report(reader)
    for content, _ in files:  # the first call also imports libraries
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            read(path)
    for i in range(count):
        dice = random.Random(f"{reader} {i}")
        content, mutations = files[i % len(files)]
        for _ in range(dice.choice((1, 1, 1, 2))):
            try:
                content = dice.choice(mutations)(content, dice)
            except Exception:
                content = dice.choice(ANY)(content, dice)  # the first mutation has left nothing that this one can read
        path.write_bytes(content)
        check(report, read, path, f"{reader} {i}")
    return report


def check(report: Report, read: Callable[[Path], object], path: Path, name: str) -> None:
    """Read one file, and add the outcome to the report."""
    report.inputs += 1
    before, start = _reset_peak(), time.process_time()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + ADDRESS_SPACE * MB, limits[1]))
    handler = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, 4 * SECONDS)
    problem = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
        report.accepted += 1
    except UserError as error:
        report.refused += 1
        if not str(error).isprintable() or len(str(error)) > 2100:
            problem = "a message that is not one printable line"
    except Slow:
        problem = "it did not end"
    except Exception as error:
        problem = f"{type(error).__name__}: {str(error)[:60]!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    seconds, peak = time.process_time() - start, (_status("VmHWM") - before) / MB
    report.slowest, report.peak = max(report.slowest, seconds), max(report.peak, peak)
    if not problem and (peak > MEMORY or seconds > SECONDS):
        problem = f"{peak:.0f} MB, {seconds:.1f} s" if peak > MEMORY else f"{seconds:.0f} s"
    if problem:
        report.failures[problem if len(report.failures) > 30 else f"{name}: {problem}"] += 1


def _reset_peak() -> int:
    """Reset the peak of the process's memory, and return its memory now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    with open("/proc/self/status") as status:  # noqa: PTH123 (faster)
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))


def require(reports: Sequence[Report], total: int) -> None:
    """Print the table of the reports, and check that there were no failures."""
    print(f"\n{HEADER}")
    for report in reports:
        print(report.row())
    failures = [failure for report in reports for failure in report.failures]
    assert not failures, "\n".join(failures[:20])
    assert sum(report.inputs for report in reports) == total
    assert all(report.accepted + report.refused == report.inputs for report in reports)
