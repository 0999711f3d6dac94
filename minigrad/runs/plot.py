"""The curves of one run, or of several side by side, drawn anew from their history.csv; no framework is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import curves, folder, history
from .errors import UserError
from .files import expand


def plot(folders: Sequence[str], out: str | None, *, overwrite: bool) -> None:
    """Draw the runs in `folders`, of any of the three packages.

    Args:
        folders: run folders, or the history.csv in them.
        out: the file to write, a PNG, SVG or PDF by its suffix; None writes
            curves.png, of one run into its folder in place of the one that is
            there, of several into the current folder.
        overwrite: a file that is there may be replaced.

    Raises:
        UserError: a run can't be read or has no epochs, one is given twice, or `out` can't be written.
    """
    if not folders:
        raise UserError("RUN: none is given; expected the folder of a run, or of several")
    files = [find_history(run) for run in folders]
    places = [file.parent.resolve() for file in files]
    for i, run in enumerate(folders):
        if places[i] in places[:i]:
            raise UserError(f"RUN {run}: is given twice; expected each run once")
    runs = dict(zip(names(places), map(read, files), strict=True))
    alone = next(iter(runs)) if len(runs) == 1 else ""
    default = files[0].with_name(folder.CURVES) if alone else Path(folder.CURVES)
    path = Path(out) if out is not None else default
    if path.suffix.lower() not in curves.FORMATS:
        raise UserError(f"--out {path}: has the suffix {path.suffix!r}; expected one of {', '.join(curves.FORMATS)}")
    with folder.claim_file(out, default, overwrite=overwrite, redraw=bool(alone)) as path:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            curves.draw_runs(path, runs, alone)
        except OSError as error:  # a full disk, or a name so long that its draft has none
            raise UserError(f"--out {path}: can't be written ({error.strerror}); expected another file") from error
        print(f"curves of {alone or f'{len(runs)} runs'} in {path}")


def find_history(run: str) -> Path:
    """The history.csv of the folder `run`, or `run` itself.

    Raises:
        UserError: there is none.
    """
    path = expand(run)
    try:
        there, file = path.exists(), path / folder.HISTORY if path.is_dir() else path
        if file.name == folder.HISTORY and file.is_file():
            return file
    except (OSError, ValueError) as error:  # a name too long, or a folder that may not be entered
        raise UserError(f"RUN {run!r}: can't be read; expected the folder of a run") from error
    found = f"holds no {folder.HISTORY}" if file != path else f"is no {folder.HISTORY}" if there else "is not there"
    raise UserError(f"RUN {run}: {found}; expected the folder of a run, or the {folder.HISTORY} in it")


def read(file: Path) -> list[history.Epoch]:
    """All epochs of the run.

    Raises:
        UserError: the file is damaged, or there are none.
    """
    epochs = history.read(file)
    if not epochs:
        raise UserError(f"{file}: has no epochs; expected the history of a run that has trained")
    return epochs


def names(folders: Sequence[Path]) -> list[str]:
    """Names for the folders, no two of them equal: each one's own, after as many parents as tell it from the others."""

    def name(path: Path) -> str:
        depth = 1
        while any(other != path and other.parts[-depth:] == path.parts[-depth:] for other in folders):
            depth += 1
        return str(Path(*path.parts[-depth:]))

    return [name(path) for path in folders]
