"""Files that are written completely or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def expand(path: str | Path) -> Path:
    """Return `path` with a leading `~` replaced by the home folder; an unknown user's `~name` stays."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises for an unknown user)


def draft_of(path: Path) -> Path:
    """Return the path beside `path` at which this process writes that file before it renames it."""
    return path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")


def abandoned_drafts(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the drafts of the files `names`, relative to `folder`, that killed processes left."""
    paths = {folder / name for name in names}
    drafts = []
    for parent in {path.parent for path in paths}:
        for draft in parent.glob(".*") if parent.is_dir() else ():
            match = re.fullmatch(r"\.(.+)\.([1-9][0-9]{0,8})((?:\.[^.]*)?)", draft.name, re.DOTALL)
            if match and parent / (match[1] + match[3]) in paths and not is_running(int(match[2])):
                drafts.append(draft)
    return drafts


def remove_drafts(folder: Path, names: Iterable[str]) -> None:
    """Remove the drafts that killed processes left of the files `names`, relative to `folder`.

    The caller has locked the folder, and only this package writes those files.
    """
    for draft in abandoned_drafts(folder, names):
        with suppress(OSError):  # it is a folder, or is in use
            draft.unlink()


def is_running(process: int) -> bool:
    """Return whether a process of this number exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, and rename it to `path` if the block succeeds.

    Whenever the process is killed, the old or the new file is there, and never
    a part of one. The suffix is kept, since libraries choose a format by it.
    """
    draft = draft_of(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, completely or not at all."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, completely or not at all; NaN raises a ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
