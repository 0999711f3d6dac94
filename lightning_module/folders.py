"""Where a command writes, and which checkpoint it starts from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import UserError, folder

from .checks import refuse_foreign

# What a Lightning user knows --out and --resume by.
FLAGS = ("--trainer.default_root_dir", "--ckpt_path last")
# DDP starts the command again for each rank; this tells them that the folder is chosen.
FOLDER = "MINIGRAD_RUN_FOLDER"
# The one file that a command adds to a run.
ADDED = {"test": folder.METRICS, "predict": folder.PREDICTIONS}


def is_first_rank() -> bool:
    """Whether this process is the one of the run that writes."""
    return not getattr(rank_zero_only, "rank", 0)


def choose(command: str, config: Any, recipe: Recipe) -> Path:
    """The run folder. The first rank chooses and protects it; the others write where it does.

    Raises:
        UserError: something is there that the command would replace.
        SystemExit: `fit` was asked to go on with a finished run.
    """
    asked = config.trainer.default_root_dir
    if not is_first_rank() or FOLDER in os.environ:
        return Path(os.environ.get(FOLDER) or asked or folder.numbered("lightning", newest=True))
    if command == "fit":
        resume = config.ckpt_path is not None
        out = folder.choose(asked, "lightning", resume=resume, overwrite=config.overwrite, flags=FLAGS)
        if config.ckpt_path == "last" and folder.is_finished(out):
            print(f"{out} holds a finished run, which is left as it is")
            raise SystemExit(0)
        if resume and (out / folder.RECIPE).exists():
            recipes.refuse_changes(out / folder.RECIPE, recipe)
    elif command == "export":
        source = source_of(config)
        if source is None:
            raise UserError("export: neither --ckpt_path nor --model.weights is given; expected a trained network")
        out = Path(asked) if asked is not None else source.parent
    else:
        out = folder.choose_for(asked, "lightning", ADDED.get(command), overwrite=config.overwrite, flags=FLAGS)
    os.environ[FOLDER] = str(out)
    return out


def source_of(config: Any) -> Path | None:
    """The file of a trained network that the command was given."""
    given = config.ckpt_path or config.model.weights
    return Path(given) if given else None


def find_checkpoint(command: str, out: Path, asked: str | None) -> Path | None:
    """`last` and `best` are files in the run folder; `fit` without a last one starts afresh.

    Raises:
        UserError: the checkpoint is missing, or is not one of tensors and primitives.
    """
    if asked is None:
        return None
    path = out / f"{asked}.ckpt" if asked in ("last", "best") else Path(asked)
    if command == "fit" and asked == "last" and not path.exists():
        return None
    refuse_foreign(path)
    return path
