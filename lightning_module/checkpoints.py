"""The run folder and the checkpoint of a command, chosen and checked before Lightning starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import Epoch, NetworkSpec, UserError, expand, folder, history, predictions, resuming, weights
from minigrad.runs.foreign import parsing, shown

from . import checkpoint_file

# The flags of this command that correspond to --out and --resume of the other packages.
FLAGS = ("--out", "--ckpt_path last")
# DDP runs the command again in each rank's process. The first rank passes its choice on in these variables.
FOLDER, CHECKPOINT = "MINIGRAD_RUN_FOLDER", "MINIGRAD_CHECKPOINT"
LAST, BEST = "last.ckpt", "best.ckpt"
# The files that `test` adds to a folder.
TEST_FILES = (folder.METRICS, folder.CONFUSION, folder.MISTAKES, folder.RELIABILITY)
# The temporary checkpoints of Lightning's BatchSizeFinder and LearningRateFinder, which remain if they are interrupted.
TEMPORARY = (".scale_batch_size_*.ckpt", ".lr_find_*.ckpt")


class Choice(NamedTuple):
    """The folder and the checkpoint of a command.

    Attributes:
        out: the folder that the command writes to.
        checkpoint: the file that it starts from; None without one.
        resumes: whether it continues the run in `out`.
    """

    out: Path
    checkpoint: Path | None
    resumes: bool


def settle_flags(config: Any) -> None:
    """Replace `out` in a subcommand's config by `trainer.default_root_dir`, with `~` expanded, and one callback by a list.

    Raises:
        UserError: both are set, to different folders.
    """
    if config.trainer.callbacks and not isinstance(config.trainer.callbacks, list):  # of `--trainer.callbacks NAME`
        config.trainer.callbacks = [config.trainer.callbacks]
    for callback in config.trainer.callbacks or []:
        for name, value in vars(callback.get("init_args") or Namespace()).items():
            if isinstance(value, Enum):  # such as the interval of a Timer, which YAML cannot contain
                callback.init_args[name] = value.value
    out, root = config.pop("out", None), config.trainer.default_root_dir
    for flag, value in (("--out", out), ("--trainer.default_root_dir", root)):
        folder.refuse_empty(value, flag, "a folder")
    if None not in (out, root) and expand(out) != expand(root):
        raise UserError(
            f"--out: {out}, but --trainer.default_root_dir is {root}; expected one of them, or the same folder"
        )
    path = out if out is not None else root
    config.trainer.default_root_dir = None if path is None else str(expand(path))


def remove_temporary(out: Path) -> None:
    """Remove the temporary checkpoints that a finder has left in a run folder, which the caller has locked."""
    for path in {path for pattern in TEMPORARY for path in out.glob(pattern)}:
        with contextlib.suppress(OSError):
            path.unlink()


def is_first_rank() -> bool:
    """Return whether this process is the one that writes files."""
    # Before there is a Trainer, Lightning's rank does not contain NODE_RANK, the number of the machine.
    return not getattr(rank_zero_only, "rank", 0) and os.environ.get("NODE_RANK", "0") == "0"


def choose(command: str, config: Any, recipe: Recipe, files: Sequence[str], claims: ExitStack) -> Choice:
    """Choose the folder and the checkpoint. The first rank claims the folder; the other ranks use the same.

    An explicit folder takes precedence. Without one, a checkpoint inside a
    run folder continues that run; any other checkpoint starts a new run.

    Args:
        command: the subcommand.
        config: the config of the subcommand.
        recipe: the recipe in the config.
        files: the files that `fit` will write.
        claims: keeps the folder claimed until it is closed.

    Returns:
        The choice.

    Raises:
        UserError: the command would replace a file, or the checkpoint is missing or unreadable.
        SystemExit: `fit` is asked to continue a run that is already complete.
    """
    if FOLDER in os.environ:
        checkpoint = os.environ.get(CHECKPOINT)
        return Choice(Path(os.environ[FOLDER]), Path(checkpoint) if checkpoint else None, checkpoint is not None)
    path, resumes = _from_flags(command, config)
    out = path if path is not None else folder.newest("lightning")
    if not is_first_rank():  # started by torchrun or SLURM
        if resumes and resuming.is_complete(out, recipe):
            raise SystemExit(0)
        return Choice(out, find_checkpoint(command, out, config), resumes)
    choice = _for_fit(config, recipe, files, claims) if command == "fit" else _for_others(command, config, out, claims)
    os.environ[FOLDER] = str(choice.out)
    if choice.checkpoint is not None:
        os.environ[CHECKPOINT] = str(choice.checkpoint)
    return choice


def _from_flags(command: str, config: Any) -> tuple[Path | None, bool]:
    """Return the folder that the flags name, and whether `fit` continues the run in it."""
    root, ckpt_path = config.trainer.default_root_dir, config.ckpt_path
    out = None if root is None else expand(root)
    if command != "fit" or ckpt_path is None:
        return out, False
    if ckpt_path in ("last", "best"):
        return out, True
    run = run_of(expand(ckpt_path))
    if out is None:
        return run, run is not None
    return out, run is not None and out.resolve() == run.resolve()


def _for_fit(config: Any, recipe: Recipe, files: Sequence[str], claims: ExitStack) -> Choice:
    path, resumes = _from_flags("fit", config)
    claim = folder.claim_run(path, "lightning", files, resume=resumes, overwrite=config.overwrite, flags=FLAGS)
    out = claims.enter_context(claim)
    if resumes and resuming.is_complete(out, recipe):
        raise SystemExit(0)
    checkpoint = find_checkpoint("fit", out, config)
    resumes = resumes and checkpoint is not None
    if checkpoint is not None:
        print(f"{'continues the run' if resumes else 'starts a new run'} in {out} from {checkpoint}")
    return Choice(out, checkpoint, resumes)


def _for_others(command: str, config: Any, out: Path, claims: ExitStack) -> Choice:
    """Return the choice for `test`, `predict`, `export` and `validate`; `validate` writes no files."""
    root, checkpoint = config.trainer.default_root_dir, find_checkpoint(command, out, config)
    if command == "validate":
        return Choice(out, checkpoint, False)
    if command == "export":
        source = checkpoint or (expand(config.model.weights) if config.model.weights else None)
        if source is None:
            raise UserError("export: neither --ckpt_path nor --model.weights is set; expected a trained network")
        root = root if root is not None else str(source.parent)
    added = {"test": TEST_FILES, "predict": predictions.files(config)}.get(command, ())
    claim = folder.claim_files(root, "lightning", added, overwrite=config.overwrite)
    return Choice(claims.enter_context(claim), checkpoint, False)


def run_of(checkpoint: Path) -> Path | None:
    """Return the nearest parent folder of a checkpoint that holds a run; None if there is none."""
    return next((path for path in checkpoint.parents if folder.holds_run(path)), None)


def find_checkpoint(command: str, out: Path, config: Any) -> Path | None:
    """Find the file that `--ckpt_path` names; `last` and `best` are files in the run folder `out`.

    Returns:
        The file; None if the flag is not set, or if `fit` is to continue a run that has no epochs yet.

    Raises:
        UserError: the checkpoint is missing, or holds more than tensors and primitives.
    """
    ckpt_path = config.ckpt_path
    if ckpt_path is None:
        return None
    if command == "fit" and ckpt_path == "last":
        callbacks = [callback.get("init_args") or {} for callback in config.trainer.callbacks or []]
        return find_last(out, [values["dirpath"] for values in callbacks if "dirpath" in values], "--ckpt_path last")
    path = out / f"{ckpt_path}.ckpt" if ckpt_path in ("last", "best") else expand(ckpt_path)
    read_checkpoint(path)
    return path


def find_last(out: Path, dirpaths: Sequence[str | Path | None], flag: str) -> Path | None:
    """Find the last checkpoint of the run in `out`, also in the folders of the user's ModelCheckpoint callbacks.

    Args:
        out: the run folder.
        dirpaths: the folders of the callbacks; None for a callback that saves in the run folder.
        flag: the option that continues the run, for the messages.

    Returns:
        The readable checkpoint with the most steps that belongs to the run:
        its history is the beginning of the run's history.csv, and its recipe
        is the run's. None if the run has no checkpoint because it was killed
        before the first one.

    Raises:
        UserError: last.ckpt is damaged, or the run has epochs, but none of its checkpoints can be found.
    """
    rows = history.read(out / folder.HISTORY) if (out / folder.HISTORY).exists() else []
    settings = _settings_of_run(out)
    candidates: list[tuple[int, int, float, Path]] = []
    folders = [out, *(expand(path) for path in dirpaths if path)]
    paths = {path for parent in folders for path in parent.rglob("[!.]*.ckpt")}  # without drafts of killed processes
    if out / LAST in paths:
        paths.discard(out / BEST)  # which does not have the final state of the callback that saves it
    for path in paths:
        try:
            checkpoint = read_checkpoint(path)
        except UserError:
            if path == out / LAST:
                raise
            continue
        state = state_of_run(checkpoint)
        epochs = [Epoch(**e) for e in state.get("epochs", [])]
        known = path == out / LAST or ((epochs or _settings(state) == settings) and epochs == rows[: len(epochs)])
        if known and "optimizer_states" in checkpoint:  # not of save_weights_only
            candidates.append((checkpoint.get("global_step", 0), len(epochs), path.stat().st_mtime, path))
    if candidates:
        return max(candidates)[-1]
    resuming.refuse_lost_checkpoint(out, "checkpoint" if dirpaths else LAST, flag)
    return None


def _settings(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the settings in the state of a RunFolder, without the length of the training, which may change."""
    if "recipe" not in state:
        return None
    return {name: part for name, part in state["recipe"].items() if name != "trainer"}, dict(state["beyond"])


def _settings_of_run(out: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    if not (out / folder.RECIPE).exists():
        return None
    recipe, extra = recipes.read_trained(out / folder.RECIPE)
    return _settings({"recipe": recipe.as_dict(), "beyond": extra})


def history_of(checkpoint: Path, out: Path) -> list[Epoch]:
    """Return the history of the run that a checkpoint belongs to.

    Args:
        checkpoint: the file. If it is in a run folder, that is the run; otherwise the run is the one in `out`.
        out: the run folder of the command.

    Returns:
        The epochs; an empty list if there is no history.
    """
    path = (run_of(checkpoint) or out) / folder.HISTORY
    return history.read(path) if path.exists() else []


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without executing any code in it.

    Args:
        path: a file that Lightning saved.

    Returns:
        The checkpoint: tensors and primitives only.

    Raises:
        UserError: the file is missing, damaged, holds other objects, or is not a checkpoint of Lightning.
    """
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: no such file; expected a checkpoint, last or best")
    fault = "cannot be loaded with weights_only=True"
    with parsing(f"--ckpt_path {path}", "a checkpoint of tensors and primitives", fault):
        return checkpoint_file.load(path)


def state_of_run(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the state of the RunFolder callback in a checkpoint; empty if the callback was not used."""
    return checkpoint.get("callbacks", {}).get("RunFolder", {})  # type: ignore[no-any-return]


def trained_on(config: Any) -> str | None:
    """Return the `data.path` with which the network of a command was trained; None if it is not known."""
    if config.ckpt_path is not None:
        recipe = state_of_run(read_checkpoint(Path(config.ckpt_path))).get("recipe", {})
        return recipe.get("data", {}).get("path")  # type: ignore[no-any-return]
    return weights.read_spec(config.model.weights).recipe.data.path if config.model.weights is not None else None


def refuse_other_class(path: Path, own_class: str | None) -> None:
    """Check that a checkpoint that RunFolder is part of was trained with the module of this command.

    Args:
        path: the checkpoint.
        own_class: the name of the user's class; None if the module is LitClassifier.

    Raises:
        UserError: the checkpoint is that of another class.
    """
    state = state_of_run(read_checkpoint(path))
    trained = (state.get("beyond") or {}).get(weights.OWN_CLASS)
    if "recipe" in state and trained != own_class:
        used, before = (name or "LitClassifier" for name in (own_class, trained))
        raise UserError(f"--ckpt_path {path} is of the class {shown(before, 60)}; expected a checkpoint of {used}")


def network_spec(config: Any, *, required: bool, own_class: str | None = None) -> NetworkSpec | None:
    """Read the specification of the network from the checkpoint or the weights file of a command.

    Args:
        config: the config of `validate`, `test`, `predict` or `export`.
        required: whether a weights file without a specification is an error.
        own_class: the name of the user's class; None if the module is LitClassifier.

    Returns:
        The specification. That of a checkpoint has the default recipe, since
        Lightning restores the hyperparameters. None if there is no file, or
        no specification in it.

    Raises:
        UserError: `required`, and the weights file cannot be read or has no specification; or the checkpoint is that of
            another class.
    """
    if config.ckpt_path is not None:
        refuse_other_class(Path(config.ckpt_path), own_class)
        hparams = read_checkpoint(Path(config.ckpt_path)).get("hyper_parameters", {})
        if not hparams.keys() >= set(checkpoint_file.HPARAMS):
            return None
        shape, classes, scale = tuple(hparams["input_shape"]), hparams["classes"], hparams["input_scale"]
        names, mnist_like = tuple(hparams.get("class_names", ())), hparams.get("mnist_like")
        return NetworkSpec(Recipe(), shape, classes, scale, class_names=names, mnist_like=mnist_like)
    if config.model.weights is not None:
        # If the specification is not required, an error is reported later, when the weights are loaded.
        with contextlib.nullcontext() if required else contextlib.suppress(UserError):
            return weights.read_spec(config.model.weights, own_class)
    return None
