"""Files that are written completely or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import UnwritableError, UserError, printable


def expand(path: str | Path) -> Path:
    """Return `path` with a leading `~` replaced by the home folder; an unknown user's `~name` stays.

    Raises:
        UserError: `path` is the empty text, which would be the current folder.
    """
    if path == "":
        raise UserError("'' is not a path; expected the name of a file or a folder")
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

    Raises:
        UnwritableError: the disk is full, or the folder was removed or does not permit writing.
    """
    draft = draft_of(path)
    try:
        with writing(path):
            yield draft
            draft.replace(path)
    finally:
        with suppress(OSError):  # such as a folder that is read-only by now; it would hide the first error
            draft.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A context in which the file or folder `path` is written: an OSError becomes an `UnwritableError` that names it."""
    try:
        yield
    except OSError as error:
        raise UnwritableError(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, completely or not at all."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, completely or not at all; NaN raises a ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


# A spreadsheet treats a cell that begins with one of these as a formula; some locales have full-width ones.
FORMULA_SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def spreadsheet_safe(text: str) -> str:
    """Return a text from outside, such as a file name, for a cell of a CSV file that may be opened in a spreadsheet.

    A text that a spreadsheet would execute as a formula gets a leading
    apostrophe, as OWASP recommends against CSV injection. Line breaks, control
    characters and bytes that are not UTF-8 are escaped, so that the text
    stays on one line.
    """
    cell = printable(text)
    return f"'{cell}" if cell.lstrip().startswith(FORMULA_SIGNS) else cell
