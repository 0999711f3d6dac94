"""The temporary folder of a comparison, for the data that its processes share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from minigrad.runs.folder import LOCK
from minigrad.runs.signals import deferred

PREFIX = "digits-three-ways-compare-"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a folder in the system's temporary folder, and remove it at the end.

    The folder is locked, and the lock ends with the process. So the next
    command can remove the folder of a command that was killed.

    Yields:
        The folder.
    """
    folder = None
    try:
        with deferred():
            remove_abandoned()
            folder, lock = _create()
        yield folder
    finally:
        if folder is not None:
            with deferred():
                shutil.rmtree(folder, ignore_errors=True)
                lock.release()


def remove_abandoned() -> None:
    """Remove the folders of commands that were killed: those whose lock nobody holds."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder.lstat().st_uid != os.getuid() or not (folder / LOCK).is_file() or folder.is_symlink():
                continue
            with FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder)
        except (OSError, Timeout):  # it is another user's, or in use
            continue


def _create() -> tuple[Path, FileLock]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (OSError, Timeout):
            if folder.is_dir() and not (folder / LOCK).exists():
                raise  # such as a full disk
            continue
        if (folder / LOCK).exists():
            return folder, lock
        # Between its creation and its lock, another command has removed the folder.
        lock.release()
