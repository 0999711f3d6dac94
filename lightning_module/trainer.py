"""The Trainer's parts: cheaper or safer versions of Lightning's own, and what every run has besides what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler

from minigrad.recipes import Recipe
from minigrad.runs import folder, need_tensorboard, whole_file

from .checkpoints import BEST, LAST
from .run_folder import RunFolder
from .settings import callback_names

CONFIG = "config.yaml"

# SeededOrder and Share deal out their own indices to the ranks.
TRAINER = {"max_epochs": Recipe().trainer.max_epochs, "use_distributed_sampler": False}


class Unprofiled(PassThroughProfiler):
    """No profiler. Lightning's own enters and leaves a generator for each hook of each callback."""

    nothing: AbstractContextManager[None] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self.nothing


class Checkpoints(ModelCheckpoint):
    """ModelCheckpoint, which writes out its settings once: Lightning asks for them at each hook."""

    @cached_property
    def state_key(self) -> str:  # type: ignore[override]
        return super().state_key


class WholeFiles(TorchCheckpointIO):
    """Checkpoints by a draft beside them. Lightning's own drafts lie in the system's temporary folder, from which a file
    is copied, not renamed, if that is another file system: a run killed meanwhile would be left without one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(Path(path)) as draft:
            torch.save(checkpoint, draft)


def files(config: Any) -> list[str]:
    """What `fit` writes into its folder, besides what TensorBoard is given."""
    found = [folder.RECIPE, folder.HISTORY, folder.WEIGHTS, folder.CURVES, folder.METRICS, CONFIG]
    found += [folder.CONFUSION, folder.MISTAKES]
    if _saves_checkpoints(config):
        found += [BEST, LAST]
    if config.trainer.logger is None:
        found += ["metrics.csv", "hparams.yaml"]
    return found


def callbacks(out: Path, recipe: Recipe, config: Any, beyond: Mapping[str, Any], *, validated: bool) -> list[Callback]:
    """The run folder, the recipe's early stopping, a cheap progress bar, the best and the last checkpoint.

    Args:
        out: the run folder.
        recipe: in the config.
        config: the subcommand's.
        beyond: settings in it that no recipe has a key for.
        validated: whether there are validation images.
    """
    given = set(callback_names(config))
    found: list[Callback] = [RunFolder(out, recipe, beyond)]
    if recipe.early_stopping.patience is not None and "EarlyStopping" not in given:
        found.append(EarlyStopping("val_loss", patience=recipe.early_stopping.patience))
    if not given & {"TQDMProgressBar", "RichProgressBar"} and config.trainer.enable_progress_bar is not False:
        found.append(TQDMProgressBar(refresh_rate=50))
    if _saves_checkpoints(config):
        kept: dict[str, Any] = {"dirpath": out, "save_on_train_epoch_end": True, "enable_version_counter": False}
        # Two, since `save_last` writes only in the epochs that are among the best. The best comes first, so that the
        # last knows of it: a run killed between them repeats the epoch.
        if validated:
            found.append(Checkpoints(filename="best", monitor="val_loss", **kept))
        found.append(Checkpoints(filename="last", **kept))
    return found


def _saves_checkpoints(config: Any) -> bool:
    return "ModelCheckpoint" not in callback_names(config) and config.trainer.enable_checkpointing is not False


def options(command: str, out: Path, config: Any) -> dict[str, Any]:
    """What the Trainer is given where the user has said nothing."""
    trainer = config.trainer
    found: dict[str, Any] = {"default_root_dir": str(out)}
    if trainer.profiler is None:
        found["profiler"] = Unprofiled()
    if not trainer.plugins:
        found["plugins"] = [WholeFiles()]
    if trainer.logger is None:
        found["logger"] = _loggers(out, config.tensorboard) if command == "fit" else False
    if trainer.enable_checkpointing is False:
        found["enable_checkpointing"] = True  # of RunFolder, a Checkpoint by class; ours are left out
    if command in ("test", "predict", "export") and trainer.devices == "auto":
        found["devices"] = 1
    return found


def _loggers(out: Path, tensorboard: bool) -> list[Any]:
    if tensorboard:
        need_tensorboard()
    csv = CSVLogger(str(out), name="", version="")
    return [csv, TensorBoardLogger(str(out), name="tensorboard", version="")] if tensorboard else [csv]
