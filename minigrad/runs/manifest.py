"""`.files.json`: the list of files in a folder that this package wrote; it never removes or replaces any other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from . import foreign
from .files import write_json
from .foreign import Invalid, parsing

NAME = ".files.json"
RECIPE, HISTORY, CURVES = "recipe.yaml", "history.csv", "curves.png"
WEIGHTS, METRICS, PREDICTIONS = "weights.safetensors", "metrics.json", "predictions.csv"
CONFUSION, MISTAKES, RELIABILITY = "confusion.png", "mistakes.png", "reliability.png"
INPUTS, INPUT_ARRAYS = "inputs.png", "inputs.npz"
RESULTS = "results.json"

# Runs of earlier versions have no manifest. A folder with a recipe and one of the files EARLIER_SIGNS holds such a run.
# EARLIER lists the files that those versions wrote.
EARLIER_SIGNS = (HISTORY, WEIGHTS, METRICS, RESULTS, "config.yaml", "jobs/plan.json")
EARLIER = (
    *(RECIPE, HISTORY, CURVES, WEIGHTS, METRICS, PREDICTIONS, CONFUSION, MISTAKES, RESULTS),
    *("checkpoint.safetensors", "model.keras", "metrics.csv", "config.yaml", "best.ckpt", "last.ckpt"),
    *("weights.onnx", "weights.pt2", "weights.keras", "weights.tflite", "weights.int8.tflite", "weights.weights.h5"),
    *("model.onnx", "model.safetensors", "model.tflite", "model.int8.tflite", "model.weights.h5"),
    *(f"{stem}{suffix}" for stem in ("best", "last") for suffix in (".onnx", ".pt2", ".safetensors")),
    *(f"weights.savedmodel/{name}" for name in ("saved_model.pb", "fingerprint.pb", "variables/variables.index")),
    *("weights.savedmodel/variables/variables.data-00000-of-00001", "weights.savedmodel/assets"),
    *("comparison.png", "crossover.png", "report.html", "jobs/plan.json", "jobs/parity.json"),
)
EARLIER_STAGES = ("parity", "closed", "open", "sweep")
EARLIER_JOB_FILES = (
    *("job.json", "answer.json", "log.txt", "epoch.txt", "network.npz", "logits.npz"),
    *("float64.npz", "float32.npz", "masked.npz"),
)


def owned(folder: Path) -> set[str]:
    """Return the files in `folder` that this package wrote.

    Args:
        folder: any folder; it need not exist.

    Returns:
        Paths relative to `folder`, with forward slashes. Some of these files may not exist.

    Raises:
        UserError: the manifest is damaged, or lists a path outside the folder.
    """
    path = folder / NAME
    if not path.exists():
        is_earlier_run = (folder / RECIPE).is_file() and any((folder / name).exists() for name in EARLIER_SIGNS)
        return {*EARLIER, *_earlier_jobs(folder)} if is_earlier_run else set()
    with parsing(path, f"the list of files that a run wrote, all inside {folder}"):
        content = foreign.read_json(path)
        names = content["files"]
        if not isinstance(names, list) or not all(isinstance(name, str) and _is_inside(name) for name in names):
            raise Invalid("a name in it is not a path inside the folder")
    return set(names)


def _earlier_jobs(folder: Path) -> Iterator[str]:
    """Return the files jobs/STAGE/CONTENDER/SEED/NAME of a comparison of an earlier version."""
    for path in (folder / "jobs").glob("*/*/*/*"):
        stage, _, seed, name = path.relative_to(folder / "jobs").parts
        if stage in EARLIER_STAGES and seed.isdecimal() and name in EARLIER_JOB_FILES:
            yield path.relative_to(folder).as_posix()


def is_owned(folder: Path, name: str, owned: set[str]) -> bool:
    """Return whether `name` in `folder` is one of the files `owned`, or a folder that contains only such files."""
    path = folder / name
    if path.is_symlink() or not path.is_dir():
        return name in owned
    inside = [part.relative_to(folder).as_posix() for part in path.rglob("*") if not part.is_dir()]
    return bool(inside) and owned.issuperset(inside)


def add(folder: Path, names: Iterable[str]) -> None:
    """Add files to the manifest of `folder`, before they are written.

    Args:
        folder: the folder of the files.
        names: paths relative to `folder`.
    """
    before = owned(folder)
    if not (folder / NAME).exists():  # a run of an earlier version: keep the names of files that exist
        before = {name for name in before if os.path.lexists(folder / name)}
    after = before | {PurePosixPath(Path(name)).as_posix() for name in names}
    if after != before or not (folder / NAME).exists():
        write_json(folder / NAME, {"files": sorted(after)})


def remove_files(folder: Path) -> None:
    """Remove the files that this package wrote into `folder`, and folders in it that are then empty.

    The recipe is removed last. If the process is killed before, the folder
    still holds the old run, and not a mixture of the old and the new one.
    """
    for name in sorted(owned(folder), key=lambda name: (name == RECIPE, name)):
        path = folder / name
        # The files behind a symbolic link are not in this folder.
        if any(parent.is_symlink() for parent in path.parents if folder in parent.parents):
            continue
        if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
            path.unlink()
        for parent in path.parents:
            if folder not in parent.parents or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
    (folder / NAME).unlink(missing_ok=True)


def _is_inside(name: str) -> bool:
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name
