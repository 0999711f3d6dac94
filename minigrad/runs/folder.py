"""The run folder: where it goes, and never losing the run that is already there."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from .errors import UserError

RECIPE, HISTORY, CURVES = "recipe.yaml", "history.csv", "curves.png"
WEIGHTS, METRICS, PREDICTIONS = "weights.safetensors", "metrics.json", "predictions.csv"
CONFUSION, MISTAKES = "confusion.png", "mistakes.png"
RESULTS = "results.json"

# Any of these makes a folder one that holds a run.
SIGNS = (RECIPE, HISTORY, WEIGHTS, METRICS, RESULTS)
# What `--overwrite` removes: our own files by name (a SavedModel is a folder), never the run folder.
OWN = (
    *SIGNS,
    CURVES,
    PREDICTIONS,
    CONFUSION,
    MISTAKES,
    "*.onnx",
    "*.pt2",
    "*.tflite",
    "*.savedmodel",
    "*.weights.h5",
    "*.keras",
    "best.safetensors",
    "last.safetensors",
    "model.safetensors",
    "checkpoint.*",
    "*.ckpt",
    "metrics.csv",
    "comparison.png",
    "crossover.png",
    "report.html",
    "tensorboard/**/events.out.tfevents.*",
)


def numbered(kind: str, *, newest: bool = False) -> Path:
    """`runs/KIND-N`: the next free number, or the newest that is there (the first if none is)."""
    taken = [int(m[1]) for p in Path("runs").glob(f"{kind}-*") if (m := re.fullmatch(rf"{kind}-(\d+)", p.name))]
    last = max(taken, default=0)
    return Path("runs") / f"{kind}-{max(last, 1) if newest else last + 1}"


def holds_run(folder: Path) -> bool:
    """Whether `folder` holds any file that a run leaves."""
    return any((folder / name).exists() for name in SIGNS)


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` came to its end: its last act is to write `metrics.json`."""
    return (folder / METRICS).exists()


def choose(
    out: str | None,
    kind: str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    flags: tuple[str, str] = ("--out", "--resume"),
) -> Path:
    """The folder that a run may write to; nothing is touched yet.

    Args:
        out: the folder asked for; None takes the next `runs/KIND-N`.
        kind: the command's name in that default.
        resume: go on with the run that is there, if any.
        overwrite: the run that is there may be replaced.
        flags: what the command calls `out` and `resume`, for the sentences.

    Raises:
        UserError: the folder holds a run and neither flag was given, both
            flags were given, or the path can't be a writable folder.
    """
    if resume and overwrite:
        raise UserError(
            f"{flags[1]} and --overwrite: one goes on with a run and the other replaces it; give one of them"
        )
    folder = Path(out) if out is not None else numbered(kind, newest=resume)
    _refuse_no_path(folder, flags[0], "a folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{flags[0]} {folder}: is a file; expected a folder for the run")
    if folder.is_dir() and holds_run(folder) and not (resume or overwrite):
        raise UserError(f"{flags[0]} {folder}: already holds a run; expected another folder, {flags[1]} or --overwrite")
    _refuse_unwritable(folder, folder, flags[0])
    return folder


def choose_file(out: str | None, default: Path, *, overwrite: bool = False) -> Path:
    """The one file that a command may write to; nothing is touched yet.

    Raises:
        UserError: it is there and `overwrite` was not given, or it can't be written.
    """
    path = Path(out) if out is not None else default
    _refuse_no_path(path, "--out", "a file")
    if path.is_dir():
        raise UserError(f"--out {path}: is a folder; expected a file to write")
    if path.exists() and not overwrite:
        raise UserError(f"--out {path}: is already there; expected another file or --overwrite")
    _refuse_unwritable(path, path.parent, "--out")
    return path


def _refuse_no_path(path: Path, flag: str, expected: str) -> None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        raise UserError(f"{flag} {str(path)!r}: can't be a path; expected {expected}") from error


def _refuse_unwritable(path: Path, folder: Path, flag: str) -> None:
    base = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not base.is_dir() or not os.access(base, os.W_OK | os.X_OK):
        raise UserError(f"{flag} {path}: can't be written; expected a folder that you may write to")


def choose_for(
    out: str | None,
    kind: str,
    file: str | None,
    *,
    overwrite: bool = False,
    flags: tuple[str, str] = ("--out", "--resume"),
) -> Path:
    """The folder for a command that adds one file to a run: its test's or its predictions'.

    Raises:
        UserError: that file is there and `overwrite` was not given, or the folder can't be written.
    """
    folder = choose(out, kind, resume=True, flags=flags)
    if out is None:
        folder = numbered(kind)
    elif file is not None and (folder / file).exists() and not overwrite:
        raise UserError(f"{flags[0]} {folder}: already holds a {file}; expected another folder or --overwrite")
    return folder


def prepare(folder: Path, *, overwrite: bool = False) -> None:
    """Make the folder, and with `overwrite` remove the files of the run it held.

    Called once the recipe, data and weights have proved good, so that a
    mistake never costs an earlier run.

    Raises:
        UserError: the folder can't be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            for path in (p for pattern in OWN for p in folder.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        raise UserError(f"{folder}: can't be written ({error.strerror}); expected a writable folder") from error
