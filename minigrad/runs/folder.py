"""The run folder: where it is, who may write to it, and the protection of files that are already there.

A command claims its folder before it does any work. The claim creates the
folder, locks it until the command ends, and fails if the command would have
to replace files that it may not replace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from . import manifest
from .errors import SYSTEM_ERRORS, UnwritableError, UserError
from .files import draft_of, expand, remove_drafts
from .manifest import CONFUSION, CURVES, HISTORY, METRICS, MISTAKES, PREDICTIONS, RECIPE, RELIABILITY, RESULTS, WEIGHTS
from .signals import deferred

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = [
    "CONFUSION", "CURVES", "HISTORY", "LOCK", "METRICS", "MISTAKES", "PREDICTIONS", "RECIPE", "RELIABILITY", "RESULTS",
    "WEIGHTS", "claim_file", "claim_files", "claim_run", "holds_run", "is_finished", "newest", "prepare", "refuse_empty",
]  # fmt: skip

LOCK = ".run.lock"
FLAGS = ("--out", "--resume")
# The absolute paths of the folders that this process has locked. A function may claim a folder that its caller holds.
_held: set[Path] = set()


def newest(kind: str) -> Path:
    """Return the newest `runs/KIND-N`, or `runs/KIND-1` if there is none."""
    return Path("runs") / f"{kind}-{max(_taken(kind), default=1)}"


def holds_run(folder: Path) -> bool:
    """Return whether `folder` holds a run, finished or not."""
    return (folder / RECIPE).exists() and RECIPE in manifest.owned(folder)


def is_finished(folder: Path) -> bool:
    """Return whether the run in `folder` has ended: `metrics.json` is its last file."""
    return (folder / METRICS).exists()


@contextmanager
def claim_run(
    out: str | Path | None,
    kind: str,
    files: Iterable[str] = (),
    *,
    resume: bool = False,
    overwrite: bool = False,
    flags: tuple[str, str] = FLAGS,
) -> Iterator[Path]:
    """Claim the folder of a run for the duration of the run.

    A new folder is created at once, and removed again if nothing was written.
    No file is changed before `prepare`.

    Args:
        out: the folder; None takes the next free `runs/KIND-N`, or with `resume` the newest.
        kind: KIND in that default.
        files: the files that the run will write, relative to the folder.
        resume: continue the run in the folder, if there is one.
        overwrite: the run in the folder may be replaced.
        flags: the command's options for `out` and `resume`, for the messages.

    Yields:
        The folder, which exists and is locked.

    Raises:
        UserError: the folder holds a run, and not exactly one of `resume` and `overwrite` is given; another command is
            writing there; a file that this package did not write is in the way; or the folder cannot be written.
    """
    if resume and overwrite:
        raise UserError(f"{flags[1]} and --overwrite: one continues a run, the other replaces it; expected one of them")
    if out is None and resume:
        out = newest(kind)
    try:
        with _claim(out, kind, flags[0]) as folder:
            if holds_run(folder) and not (resume or overwrite):
                raise UserError(
                    f"{flags[0]} {folder}: already holds a run; expected another folder, {flags[1]} or --overwrite"
                )
            _refuse_loss(folder, files, flags[0], replace=resume or overwrite)
            yield folder
    except UnwritableError as error:
        kept = f"; the run's complete files are kept, {flags[0]} {folder} {flags[1]} continues"
        raise UserError(f"{error}{kept if folder.exists() and holds_run(folder) else ''}") from error


@contextmanager
def claim_files(
    out: str | Path | None,
    kind: str,
    files: Iterable[str] = (),
    *,
    overwrite: bool = False,
    flag: str = "--out",
) -> Iterator[Path]:
    """Claim a folder to which a command adds files; it may hold a run.

    Args:
        out: the folder; None takes the next free `runs/KIND-N`.
        kind: KIND in that default.
        files: the files that the command will write, relative to the folder.
        overwrite: files of these names may be replaced if this package wrote them.
        flag: the command's option for `out`, for the messages.

    Yields:
        The folder, which exists and is locked.

    Raises:
        UserError: a file is already there, another command is writing there, or the folder cannot be written.
    """
    with _claim(out, kind, flag) as folder:
        _refuse_loss(folder, files, flag, replace=overwrite)
        yield folder


def prepare(folder: Path, files: Iterable[str], *, overwrite: bool = False) -> None:
    """Add `files` to the manifest of `folder`; with `overwrite`, remove the files of the earlier run first.

    Call this after the recipe, the data and the weights have been checked, so
    that an invalid input never destroys an earlier run.

    Raises:
        UserError: the folder cannot be created or written, or a file that this package did not write is in the way.
    """
    files = list(files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_loss(folder, files, "--out", replace=True)
        manifest.add(folder, files)  # before the earlier run is removed, which is kept if nothing can be written
        if overwrite:
            manifest.remove_files(folder)
            manifest.add(folder, files)
    except OSError as error:
        raise UserError(f"{folder}: can't be written ({error.strerror}); expected a writable folder") from error


@contextmanager
def claim_file(
    out: str | Path | None, default: Path, *, overwrite: bool = False, redraw: bool = False
) -> Iterator[Path]:
    """Claim the one file that a command writes.

    Args:
        out: the file that the user names; it does not become a file of the run. None takes `default`.
        default: the default file. In a run folder it becomes a file of the run.
        overwrite: the file may be replaced.
        redraw: a `default` that is a file of the run may be replaced without `overwrite`.

    Yields:
        The path; the file is not changed.

    Raises:
        UserError: the file exists and may not be replaced, or it cannot be written.
    """
    refuse_empty(out, "--out", "a file")
    path = expand(default if out is None else out)
    in_run = out is None and holds_run(path.parent)
    _check_path(path, "--out", "a file")
    if path.is_dir():
        raise UserError(f"--out {path}: is a folder; expected a file to write")
    if os.path.lexists(path) and not (overwrite or (redraw and in_run)):
        raise UserError(f"--out {path}: already exists; expected another file or --overwrite")
    _refuse_unwritable(path, path.parent, "--out")
    if not in_run:
        _try_to_write(path)
        yield path
        return
    with claim_files(path.parent, "", [path.name], overwrite=True) as folder:
        prepare(folder, [path.name])
        yield path


@contextmanager
def _claim(out: str | Path | None, kind: str, flag: str) -> Iterator[Path]:
    refuse_empty(out, flag, "a folder")
    folder, created, lock = Path(out or ""), list[Path](), None
    try:
        # Without an interruption between the creation of the folder and the beginning of the block that removes it.
        with deferred():
            folder, created, lock = _next_free(kind, flag) if out is None else _lock_folder(expand(out), flag)
            if lock is not None:
                _held.add(folder.absolute())
                remove_drafts(folder, {*manifest.owned(folder), manifest.NAME})
        yield folder
    except OSError as error:  # of a library that writes into the folder
        if error.errno in SYSTEM_ERRORS and _is_inside(error.filename, folder):
            raise UnwritableError(folder if error.filename is None else os.fsdecode(error.filename), error) from error
        raise
    finally:
        if lock is not None:
            with deferred():
                _release(folder, created, lock)


def _release(folder: Path, created: list[Path], lock: FileLock) -> None:
    _held.discard(folder.absolute())
    with suppress(OSError):
        # Before the release: a process that waits for the lock then sees that the file was removed.
        (folder / LOCK).unlink(missing_ok=True)
        if folder in created and [path.name for path in folder.iterdir()] == [manifest.NAME]:
            (folder / manifest.NAME).unlink()  # the command ended before it wrote a file
        for path in created:
            path.rmdir()  # raises an OSError if the folder is not empty
    lock.release()


def _is_inside(path: object, folder: Path) -> bool:
    """Return whether an OSError about `path` concerns `folder`; if `path` is None, the write to an open file failed."""
    return path is None or (
        isinstance(path, (str, bytes)) and Path(os.fsdecode(path)).absolute().is_relative_to(folder.absolute())
    )


def _next_free(kind: str, flag: str) -> tuple[Path, list[Path], FileLock | None]:
    """Create and lock the next `runs/KIND-N`. Commands that start at the same time get different numbers."""
    runs = Path("runs")
    _refuse_unwritable(runs, runs, flag)
    missing, number = _missing(runs), max(_taken(kind), default=0)
    while True:
        number += 1
        folder = runs / f"{kind}-{number}"
        try:
            folder.mkdir(parents=True)
            lock = _lock(folder)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"{flag} {folder}: can't be written ({error.strerror}); expected a writable folder"
            ) from error
        if lock is not None:
            return folder, [folder, *missing], lock


def _lock_folder(folder: Path, flag: str) -> tuple[Path, list[Path], FileLock | None]:
    """Create the folder if it does not exist, and lock it unless this process already holds it."""
    _check_path(folder, flag, "a folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{flag} {folder}: is a file; expected a folder for the run")
    _refuse_unwritable(folder, folder, flag)
    if folder.absolute() in _held:
        return folder, [], None
    created = _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
    except OSError as error:
        raise UserError(f"{flag} {folder}: can't be written ({error.strerror}); expected a writable folder") from error
    if lock is None:
        raise UserError(
            f"{flag} {folder}: another command is writing there; expected another folder, or that command to end"
        )
    return folder, created, lock


def _lock(folder: Path) -> FileLock | None:
    """Lock a folder for this process; None if another process holds it. The lock ends with the process."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _missing(folder: Path) -> list[Path]:
    """Return the folders that `mkdir(parents=True)` would create, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _taken(kind: str) -> list[int]:
    return [int(m[1]) for path in Path("runs").glob(f"{kind}-*") if (m := re.fullmatch(rf"{kind}-(\d+)", path.name))]


def _refuse_loss(folder: Path, files: Iterable[str], flag: str, *, replace: bool) -> None:
    """Check that none of `files` exists, or with `replace`, that this package wrote those that exist."""
    owned = manifest.owned(folder)
    for name in files:
        if not os.path.lexists(folder / name):
            continue
        if not manifest.is_owned(folder, name, owned):
            raise UserError(
                f"{flag} {folder}: holds {name}, which this package did not write; expected another folder, or that file moved"
                " away"
            )
        if not replace:
            raise UserError(f"{flag} {folder}: already holds {name}; expected another folder or --overwrite")


def refuse_empty(out: str | Path | None, flag: str, expected: str) -> None:
    """Check that an output is not the empty text, which would be the current folder.

    Raises:
        UserError: it is; the message names the option `flag`.
    """
    if out == "":
        raise UserError(f"{flag}: ''; expected {expected}")


def _check_path(path: Path, flag: str, expected: str) -> None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # a name that is too long, or contains a zero byte
        raise UserError(f"{flag} {str(path)!r}: can't be a path; expected {expected}") from error


def _try_to_write(path: Path) -> None:
    """Create and remove a draft of the file and its folders: in some folders, such as /proc, only this shows the error."""
    folders = _missing(path.parent)
    with deferred():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft_of(path).touch()
            draft_of(path).unlink()
        except OSError as error:
            raise UserError(
                f"--out {path}: can't be written ({error.strerror}); expected a file in a writable folder"
            ) from error
        finally:
            for folder in folders:
                with suppress(OSError):
                    folder.rmdir()


def _refuse_unwritable(path: Path, folder: Path, flag: str) -> None:
    base = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not base.is_dir() or not os.access(base, os.W_OK | os.X_OK):
        raise UserError(f"{flag} {path}: can't be written; expected a folder that you may write to")
