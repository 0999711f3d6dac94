"""Which folder a command writes to, which checkpoint it starts from, and the checks made before Lightning starts."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_only

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import Epoch, UserError, expand, folder, history, resuming, weights
from minigrad.runs.weights import NetworkSpec

# What a Lightning user knows --out and --resume by.
FLAGS = ("--out", "--ckpt_path last")
# DDP starts the command again for each rank; these tell them what the first one has chosen.
FOLDER, CHECKPOINT = "MINIGRAD_RUN_FOLDER", "MINIGRAD_CHECKPOINT"
LAST, BEST = "last.ckpt", "best.ckpt"
# The files that a command adds to a folder.
ADDED = {"test": (folder.METRICS, folder.CONFUSION, folder.MISTAKES), "predict": (folder.PREDICTIONS,)}
NO_LIMIT = (None, -1)  # what Lightning's max_epochs may say besides a number


def to_recipe(config: Any) -> Recipe:
    """The checked recipe in Lightning's config; without a limit of epochs it says Lightning's own, 1000.

    Raises:
        UserError: a value makes no sense.
    """
    values: dict[str, Any] = {name: config[name].as_dict() for name in ("model", "data", "early_stopping")}
    for linked in ("input_shape", "classes", "input_scale"):
        values["model"].pop(linked, None)
    values["data"].pop("seed", None)
    for sizes in ("channels", "hidden"):
        values["model"][sizes] = list(values["model"][sizes] or [])
    epochs, schedule = config.trainer.max_epochs, values["model"]["schedule"]
    if epochs == -1 and config.trainer.max_steps == -1 and schedule in ("cosine", "one_cycle"):
        raise UserError(
            f"trainer.max_epochs: -1 with model.schedule {schedule}; expected a limit, since the schedule ends with it"
        )
    values["trainer"] = {"max_epochs": 1000 if epochs in NO_LIMIT else epochs}
    recipe = recipes.with_paths(Recipe.from_dict({"seed_everything": int(config.seed_everything), **values}))
    return recipes.check(recipe)


def trained_network(config: Any, needed: bool) -> NetworkSpec | None:
    """What the weights or the checkpoint to be evaluated say that their network is; None where they don't.

    Raises:
        UserError: the weights don't say it, or can't be read, and it is needed.
    """
    if config.ckpt_path is not None:
        h = read_checkpoint(Path(config.ckpt_path)).get("hyper_parameters", {})
        if not {"input_shape", "classes", "input_scale"} <= h.keys():
            return None
        return NetworkSpec({}, tuple(h["input_shape"]), h["classes"], h["input_scale"])  # Lightning itself takes the rest
    if config.model.weights is not None:
        with contextlib.nullcontext() if needed else contextlib.suppress(UserError):  # loading them says it better
            return weights.read_network(config.model.weights)
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint, if it can be loaded without running code of its own.

    Raises:
        UserError: it is missing, damaged, holds more than tensors and
            primitives, or is no checkpoint of Lightning's.
    """
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: no such file; expected a checkpoint, last or best")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        why = "does not load with weights_only=True"
        raise UserError(f"--ckpt_path {path}: {why}; expected a checkpoint of tensors and primitives") from error
    if not isinstance(found, dict) or not {"state_dict", "pytorch-lightning_version"} <= found.keys():
        raise UserError(f"--ckpt_path {path}: holds no state_dict of Lightning's; expected a checkpoint")
    return found


class Choice(NamedTuple):
    """What a command was found to mean.

    Attributes:
        out: the folder that it writes to.
        checkpoint: the file that it starts from; None without one.
        resumes: whether it continues the run in `out`.
    """

    out: Path
    checkpoint: Path | None
    resumes: bool


def settle_flags(config: Any) -> None:
    """Have `--out` and `--trainer.default_root_dir` say the same, with `~` expanded.

    Raises:
        UserError: they name two folders.
    """
    out, root = config.pop("out", None), config.trainer.default_root_dir
    if None not in (out, root) and expand(out) != expand(root):
        raise UserError(
            f"--out: {out}, but --trainer.default_root_dir is {root}; expected one of them, or the same folder"
        )
    asked = out if out is not None else root
    config.trainer.default_root_dir = None if asked is None else str(expand(asked))


def is_first_rank() -> bool:
    """Return whether this process is the one of the run that writes."""
    return not getattr(rank_zero_only, "rank", 0)


def choose(command: str, config: Any, recipe: Recipe, files: Sequence[str], held: ExitStack) -> Choice:
    """Choose the folder and the checkpoint. The first rank claims the folder; the others follow it.

    An explicit folder always wins. Without one, a checkpoint inside a run
    folder continues that run, and any other starts a new run.

    Args:
        command: the subcommand.
        config: its config.
        recipe: the recipe in it.
        files: what `fit` will write.
        held: keeps the claim.

    Raises:
        UserError: something is there that the command would replace, or the checkpoint is missing or unreadable.
        SystemExit: `fit` was asked to continue a finished run, which has nothing left to do.
    """
    if FOLDER in os.environ:
        checkpoint = os.environ.get(CHECKPOINT)
        return Choice(Path(os.environ[FOLDER]), Path(checkpoint) if checkpoint else None, checkpoint is not None)
    where, resumes = _named(command, config)
    there = where if where is not None else folder.newest("lightning")
    if not is_first_rank():  # started by torchrun or SLURM
        if resumes and resuming.is_complete(there, recipe):
            raise SystemExit(0)
        return Choice(there, find_checkpoint(command, there, config), resumes)
    choice = _for_fit(config, recipe, files, held) if command == "fit" else _for_others(command, config, there, held)
    os.environ[FOLDER] = str(choice.out)
    if choice.checkpoint is not None:
        os.environ[CHECKPOINT] = str(choice.checkpoint)
    return choice


def _named(command: str, config: Any) -> tuple[Path | None, bool]:
    """The folder that the flags name, and whether `fit` is to continue the run in it."""
    asked, named = config.trainer.default_root_dir, config.ckpt_path
    where = None if asked is None else expand(asked)
    if command != "fit" or named is None:
        return where, False
    if named in ("last", "best"):
        return where, True
    home = run_of(expand(named))
    return (
        (home, home is not None) if where is None else (where, home is not None and where.resolve() == home.resolve())
    )


def _for_fit(config: Any, recipe: Recipe, files: Sequence[str], held: ExitStack) -> Choice:
    where, resumes = _named("fit", config)
    claim = folder.claim_run(where, "lightning", files, resume=resumes, overwrite=config.overwrite, flags=FLAGS)
    out = held.enter_context(claim)
    if resumes and resuming.is_complete(out, recipe):
        raise SystemExit(0)
    checkpoint = find_checkpoint("fit", out, config)
    resumes = resumes and checkpoint is not None
    if checkpoint is not None:
        print(f"{'continues the run' if resumes else 'starts a new run'} in {out} from {checkpoint}")
    return Choice(out, checkpoint, resumes)


def _for_others(command: str, config: Any, there: Path, held: ExitStack) -> Choice:
    """`test`, `predict`, `export` and `validate`, of which the last writes nothing."""
    asked, checkpoint = config.trainer.default_root_dir, find_checkpoint(command, there, config)
    if command == "validate":
        return Choice(there, checkpoint, False)
    if command == "export":
        source = checkpoint or (expand(config.model.weights) if config.model.weights else None)
        if source is None:
            raise UserError("export: neither --ckpt_path nor --model.weights is given; expected a trained network")
        asked = asked if asked is not None else str(source.parent)
    claim = folder.claim_files(asked, "lightning", ADDED.get(command, ()), overwrite=config.overwrite)
    return Choice(held.enter_context(claim), checkpoint, False)


def run_of(checkpoint: Path) -> Path | None:
    """Return the nearest folder around a checkpoint that holds a run; None if there is none."""
    return next((path for path in checkpoint.parents if folder.holds_run(path)), None)


def find_checkpoint(command: str, out: Path, config: Any) -> Path | None:
    """Find what `--ckpt_path` names; `last` and `best` are files in the run folder `out`.

    Returns:
        The file; None if none is asked for, or `fit` is to continue a run that has no epochs yet.

    Raises:
        UserError: the checkpoint is missing, or is not one of tensors and primitives.
    """
    named = config.ckpt_path
    if named is None:
        return None
    if command == "fit" and named == "last":
        return find_last(out, config)
    path = out / f"{named}.ckpt" if named in ("last", "best") else expand(named)
    read_checkpoint(path)
    return path


def find_last(out: Path, config: Any) -> Path | None:
    """Find the last checkpoint of the run in `out`, wherever a callback has put it.

    Raises:
        UserError: the run has epochs, but none of its checkpoints can be found.
    """
    if (out / LAST).exists():
        read_checkpoint(out / LAST)
        return out / LAST
    if not (out / folder.HISTORY).exists():
        return None
    rows, found = history.read(out / folder.HISTORY), list[tuple[int, float, Path]]()
    folders = [out, *(expand(c.init_args.dirpath) for c in config.trainer.callbacks or [] if _has_folder(c))]
    for path in {path for place in folders for path in place.rglob("*.ckpt")}:
        try:
            epochs = state_of_run(read_checkpoint(path)).get("epochs", [])
        except UserError:
            continue
        if epochs and [Epoch(**e) for e in epochs] == rows[: len(epochs)]:
            found.append((len(epochs), path.stat().st_mtime, path))
    if found:
        return max(found)[-1]
    resuming.refuse_lost_checkpoint(out, "checkpoint", "--ckpt_path last")
    return None


def history_of(checkpoint: Path, out: Path) -> list[Epoch]:
    """The history of the run that a checkpoint is of: around it, or in the folder `out`; empty if there is none."""
    path = (run_of(checkpoint) or out) / folder.HISTORY
    return history.read(path) if path.exists() else []


def state_of_run(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What RunFolder left in a checkpoint; empty if it was not there."""
    found = checkpoint.get("callbacks", {}).get("RunFolder", {})
    return found if isinstance(found, dict) else {}


def _has_folder(callback: Any) -> bool:
    return bool(callback.get("init_args") and callback.init_args.get("dirpath"))
