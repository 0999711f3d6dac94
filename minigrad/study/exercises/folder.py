"""The learner's folder: the files of the exercises, and a marker file that records which ones are solved."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...runs.errors import UserError, reason
from ...runs.files import write_json, write_text, writing
from .catalog import BY_NAME, EXERCISES, Exercise

MARKER = ".minigrad-exercises.json"
LOCK = ".minigrad-exercises.lock"
DEFAULT = "exercises"
ABOUT = "The exercises of minigrad: which ones are solved, by the hash of the files that were checked."
LARGEST = 100_000  # bytes of a marker file


@dataclass
class Folder:
    """A folder with the exercises.

    Attributes:
        path: the folder.
        solved: the hash of the files with which an exercise was solved, by its name.
    """

    path: Path
    solved: dict[str, str] = field(default_factory=dict)

    def file(self, exercise: Exercise) -> Path:
        """Return the path of the learner's file."""
        return self.path / exercise.file

    def is_solved(self, exercise: Exercise) -> bool:
        """Return whether the exercise is solved, and its files are those that were checked."""
        recorded = self.solved.get(exercise.name)
        try:
            return recorded is not None and recorded == self.digest(exercise)
        except UserError:  # a file is missing, or can't be read
            return False

    def is_unchanged(self, exercise: Exercise) -> bool:
        """Return whether the learner's file is the stub."""
        return self._content(exercise) == exercise.stub.encode()

    def record(self, exercise: Exercise, digest: str | None) -> None:
        """Write to the marker file that an exercise is solved with files of this hash, or not solved (None)."""
        if self.solved.get(exercise.name) == digest:
            return
        from filelock import FileLock

        with writing(self.path / MARKER), FileLock(self.path / LOCK, timeout=10):
            with suppress(UserError, FileNotFoundError):  # another check may have recorded an exercise meanwhile
                self.solved = read(self.path).solved
            self.solved.pop(exercise.name, None)
            if digest is not None:
                self.solved[exercise.name] = digest
            self.save()

    def save(self) -> None:
        """Write the marker file."""
        solved = {name: self.solved[name] for name in BY_NAME if name in self.solved}
        write_json(self.path / MARKER, {"about": ABOUT, "format": 1, "solved": solved})

    def _content(self, exercise: Exercise) -> bytes:
        """Return the content of the learner's file.

        Raises:
            UserError: the file is missing, is not a file, or can't be read.
        """
        path = self.file(exercise)
        try:
            if path.is_file():
                return path.read_bytes()
            kind = "is not a file" if path.exists() else "does not exist"
        except OSError as error:
            raise UserError(f"{path}: can't be read ({reason(error)}); expected a file that you may read") from error
        raise UserError(f"{path}: {kind}; expected the exercise, which `reset {exercise.name}` restores")

    def digest(self, exercise: Exercise) -> str:
        """Return the hash of everything that the check depends on: the stub, the file, and the files that it imports.

        Raises:
            UserError: the file or that of a needed exercise can't be read.
        """
        files = {e.name: self._content(e) for e in (*(BY_NAME[name] for name in exercise.needs), exercise)}
        remaining = list(files.values())
        while remaining:
            for name in _imported(remaining.pop()):
                path = self.path / f"{name}.py"
                if name not in files and path.is_file():
                    with suppress(OSError):
                        files[name] = path.read_bytes()
                        remaining.append(files[name])
        parts = [exercise.stub.encode(), *files.values()]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def add_missing(self) -> list[Exercise]:
        """Write the exercises whose files do not exist, and return them."""
        missing = [e for e in EXERCISES if not self.file(e).exists() and not self.file(e).is_symlink()]
        for exercise in missing:
            write_text(self.file(exercise), exercise.stub)
        return missing

    def reset(self, exercise: Exercise) -> Path | None:
        """Write the stub, after a copy of the learner's version, whose path is returned; None if there is nothing to keep."""
        path, backup = self.file(exercise), None
        if path.exists():
            content = self._content(exercise)
            if content == exercise.stub.encode():
                return None
            backup = self._write_backup(exercise, content)
        write_text(path, exercise.stub)
        self.record(exercise, None)
        return backup

    def _write_backup(self, exercise: Exercise, content: bytes) -> Path:
        for number in itertools.count(1):
            backup = self.path / f"{exercise.name}.backup-{number}.py"
            with suppress(FileExistsError), backup.open("xb") as file:
                file.write(content)
                return backup
        raise AssertionError("unreachable")


def _imported(program: bytes) -> list[str]:
    """Return the names in the lines of a program that import something: those of modules are among them."""
    lines = re.findall(rb"^.*(?:\bimport\b|\bmine\().*$", program, re.MULTILINE)
    return [name.decode() for name in re.findall(rb"\b[A-Za-z0-9_]+\b", b"\n".join(lines))]


def has_exercises(path: Path) -> bool:
    """Return whether a folder has a marker file or an exercise: the marker file, which is hidden, may have been lost."""
    return any((path / name).exists() for name in (MARKER, *(exercise.file for exercise in EXERCISES)))


def start(path: Path) -> tuple[Folder, list[Exercise]]:
    """Create a folder with the exercises, or add those that are missing in such a folder.

    Returns:
        The folder, and the exercises that were written.

    Raises:
        UserError: the folder contains other files, or `path` is a file.
    """
    folder = Folder(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file; expected the name of a new folder")
    if (path / MARKER).exists():
        try:
            folder = read(path)
        except UserError:
            folder.save()  # a damaged marker file: the exercises are checked again
    elif path.is_dir() and any(path.iterdir()) and not has_exercises(path):
        raise UserError(
            f"{path}: the folder is not empty, and not one with exercises; expected a new or an empty folder"
        )
    else:
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        folder.save()
    return folder, folder.add_missing()


def around(current: Path) -> Path | None:
    """Return the learner's folder that is `current` or contains it; None if there is none."""
    marked = (path for path in (current, *current.parents) if (path / MARKER).is_file())
    return next(marked, current if has_exercises(current) else None)


def find(current: Path) -> Folder:
    """Return the learner's folder: the current one, one above it, or `exercises` in the current one.

    Raises:
        UserError: there is none, or its marker file is missing or damaged.
    """
    for path in (current, *current.parents, current / DEFAULT):
        if (path / MARKER).is_file():
            return read(path)
    for path in (current, current / DEFAULT):
        if has_exercises(path):
            raise UserError(
                f"{path}: has exercises, but no record of solved ones; expected {MARKER}: run {_start(path)}, which writes one"
            )
    raise UserError(
        f"{current}: no exercises here, in a folder above, or in {DEFAULT}/; expected the folder that"
        " `python -m minigrad.study start` creates"
    )


def read(path: Path) -> Folder:
    """Read the marker file of a folder.

    Raises:
        UserError: it is not a marker file that `start` wrote.
    """
    marker = path / MARKER
    try:
        if marker.stat().st_size > LARGEST:
            raise ValueError
        content: Any = json.loads(marker.read_text(encoding="utf-8"))
        if content["format"] != 1 or not isinstance(content["solved"], dict) or not _hashes(content["solved"].values()):
            raise ValueError
        return Folder(path, {name: h for name, h in content["solved"].items() if name in BY_NAME})
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"{marker}: not a valid record of solved exercises; expected the file that `start` wrote: run"
            f" {_start(path)}, which writes a new one and keeps your solutions"
        ) from None


def _start(path: Path) -> str:
    return f"`python -m minigrad.study start {shlex.quote(str(path))}`"


def _hashes(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) for value in values)
