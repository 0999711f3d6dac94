"""The learning curves of one run, or of several side by side, drawn from their history.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..recipes import Parser
from . import curves, folder, history
from .errors import UnwritableError, UserError
from .files import expand, writing


def main(argv: Sequence[str], prog: str = "python -m minigrad plot") -> None:
    """Run the command `plot`. keras_model has the same command, with another name `prog` in messages."""
    parser = Parser(prog=prog, description="Draw loss, accuracy and learning rate of runs, side by side.")
    parser.add_argument("runs", type=str, nargs="+", metavar="RUN", help="a run folder of any of the three packages")
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        metavar="FILE",
        help="the picture; null writes curves.png into the folder of a single run, or of several runs into this folder",
    )
    parser.add_flag("--overwrite", "replace the file")
    options = parser.parse_args(argv)
    plot(options.runs, options.out, overwrite=options.overwrite)


def plot(folders: Sequence[str], out: str | None = None, *, overwrite: bool = False) -> None:
    """Draw the learning curves of runs, of any of the three packages.

    Args:
        folders: run folders, or the history.csv in them.
        out: the file to write: PNG, SVG or PDF, by its suffix. The default None writes curves.png; for a single run into
            its folder, replacing the file of the run, and for several runs into the current folder.
        overwrite: replace an existing file. Default False.

    Raises:
        UserError: a run can't be read or has no epochs, a run is given twice, or `out` can't be written.
    """
    if not folders:
        raise UserError("RUN: none is given; expected the folder of at least one run")
    files = [find_history(run) for run in folders]
    parents = [file.parent.resolve() for file in files]
    for i, run in enumerate(folders):
        if parents[i] in parents[:i]:
            raise UserError(f"RUN {run}: is given twice; expected each run once")
    runs = dict(zip(names(parents), map(read, files), strict=True))
    single = next(iter(runs)) if len(runs) == 1 else ""
    default = files[0].with_name(folder.CURVES) if single else Path(folder.CURVES)
    path = Path(out) if out is not None else default
    if path.suffix.lower() not in curves.FORMATS:
        raise UserError(f"--out {path}: has the suffix {path.suffix!r}; expected one of {', '.join(curves.FORMATS)}")
    with folder.claim_file(out, default, overwrite=overwrite, redraw=bool(single)) as path:
        try:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            curves.draw_runs(path, runs, single)
        except UnwritableError as error:
            raise UserError(f"--out {error}") from error
        print(f"curves of {single or f'{len(runs)} runs'} in {path}")


def find_history(run: str) -> Path:
    """Return the history.csv of a run.

    Args:
        run: the run folder, or the history.csv itself.

    Raises:
        UserError: there is no such file.
    """
    if not run:
        raise UserError("RUN: ''; expected the folder of a run")
    try:
        path = expand(run)
        exists, file = path.exists(), path / folder.HISTORY if path.is_dir() else path
        if file.name == folder.HISTORY and file.is_file():
            return file
    except (OSError, ValueError) as error:  # a name that is too long, or a folder without permission
        raise UserError(f"RUN {run!r}: can't be read; expected the folder of a run") from error
    is_folder = file != path
    problem = (
        f"holds no {folder.HISTORY}" if is_folder else f"is not a {folder.HISTORY}" if exists else "does not exist"
    )
    raise UserError(f"RUN {run}: {problem}; expected the folder of a run, or the {folder.HISTORY} in it")


def read(file: Path) -> list[history.Epoch]:
    """Read the epochs of a run.

    Raises:
        UserError: the file is damaged, or contains no epochs.
    """
    epochs = history.read(file)
    if not epochs:
        raise UserError(f"{file}: has no epochs; expected the history of a run that has trained")
    return epochs


def names(folders: Sequence[Path]) -> list[str]:
    """Return a different name for each folder: its own name, with as many of its parents as make it unique."""

    def name(path: Path) -> str:
        depth = 1
        while any(other != path and other.parts[-depth:] == path.parts[-depth:] for other in folders):
            depth += 1
        return str(Path(*path.parts[-depth:]))

    return [name(path) for path in folders]
