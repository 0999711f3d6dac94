"""Sets of files that belong together and have the same first part in their names, such as `mnist_train.csv` and
`mnist_test.csv`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..runs.errors import UserError

# From the first part of the names, such as `emnist-letters`, to the path of each member by its key.
FileSets = dict[str, dict[str, Path]]


def group(folder: Path, pattern: re.Pattern[str]) -> FileSets:
    """Group the files in a folder.

    Args:
        folder: the folder.
        pattern: matches the names, in any case. The group `stem` is the first part, and all other groups together are the
            key of the member.

    Returns:
        The sets by their first part. If a file exists plain and gzipped, the plain one is a member.
    """
    sets: FileSets = {}
    try:
        paths = sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path))
    except OSError as error:
        raise UserError(f"data.path: {folder}: cannot be read ({error.strerror}); expected a folder") from error
    for path in paths:
        if match := pattern.fullmatch(path.name.lower()):
            stem = path.name[: len(match["stem"] or "")]
            key = "".join(value for name, value in match.groupdict().items() if name != "stem")
            sets.setdefault(stem, {}).setdefault(key, path)
    return sets


def choose(sets: FileSets, keys: Iterable[str], where: Path, wanted: str | None) -> tuple[str, dict[str, Path]] | None:
    """Choose one of the sets.

    Args:
        sets: the sets, as returned by `group`.
        keys: the members that are needed.
        where: the folder, for messages.
        wanted: the first part of the names, or the name of a file in the set; None chooses the only set.

    Returns:
        The first part and the members; None if there is no such set. If members are missing in all sets, one of these
        incomplete sets is returned.

    Raises:
        UserError: there are several complete sets, and `wanted` is None.
    """
    if wanted is not None:
        return next(
            (
                (stem, members)
                for stem, members in sets.items()
                if wanted == stem or wanted in [path.name for path in members.values()]
            ),
            None,
        )
    complete = {stem: members for stem, members in sets.items() if all(key in members for key in keys)}
    if len(complete) > 1:
        raise several(where, [stem or next(iter(complete[stem].values())).name for stem in complete])
    return next(iter((complete or sets).items()), None)


def several(where: Path, names: list[str]) -> UserError:
    """Return the error for a folder with several data sets."""
    return UserError(
        f"data.path: {where} contains several data sets, {', '.join(names[:-1])} and {names[-1]}; expected one of them,"
        f" such as --data.path {where / names[0]}"
    )
