"""Files that are written completely or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def expand(path: str | Path) -> Path:
    """Return `path` with a leading `~` replaced by the home folder; an unknown user's `~name` stays."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises for an unknown user)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, and rename it to `path` if the block succeeds.

    Whenever the process is killed, the old or the new file is there, and never
    a part of one. The suffix is kept, since libraries choose a format by it.
    """
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
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
