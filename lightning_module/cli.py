"""The command line: LightningCLI with our two classes, a recipe for a config, and a run folder."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import Stopped, UserError, folder, write_text

from .callbacks import RunFolder
from .data import ImageDataModule
from .model import LitClassifier

# True of what we do on purpose, or of Lightning's own insides; nothing for a user to act on.
QUIET = (
    "Checkpoint directory .* exists and is not empty",
    ".*isinstance.treespec, LeafSpec.* is deprecated",
    "The dirpath has changed",
)

# DDP starts this command again for each rank; this tells them that the folder is chosen.
FOLDER = "MINIGRAD_RUN_FOLDER"
PROG = "python -m lightning_module"
# What a Lightning user knows --out and --resume by.
FLAGS = ("--trainer.default_root_dir", "--ckpt_path last")


class Parser(recipes.OneSentence, LightningArgumentParser):  # type: ignore[misc]
    """Lightning's parser, whose mistakes are one sentence."""


class SaveRecipe(SaveConfigCallback):
    """Beside Lightning's own config.yaml, leave the recipe that all four commands read."""

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            write_text(Path(trainer.default_root_dir) / folder.RECIPE, recipes.dump(to_recipe(self.config)))


class ClassifierCLI(LightningCLI):
    """fit, validate, test and predict, by the shared recipe or any YAML of Lightning's."""

    def __init__(self, args: Sequence[str] | None = None) -> None:
        super().__init__(
            LitClassifier,
            ImageDataModule,
            save_config_callback=SaveRecipe,
            save_config_kwargs={"overwrite": True},  # `folder.choose` has already protected an earlier run
            # SeededOrder and Share deal out their own indices to the ranks.
            trainer_defaults={"max_epochs": Recipe().trainer.max_epochs, "use_distributed_sampler": False},
            seed_everything_default=Recipe().seed_everything,
            parser_class=Parser,
            parser_kwargs={"prog": PROG, "description": "Train the network of a recipe with PyTorch Lightning."},
            load_from_checkpoint_support=False,  # hyperparameters are primitives, so plain loading works
            args=None if args is None else list(args),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--early_stopping.patience", type=int | None, default=None, help="null never stops")
        parser.add_argument(
            "--overwrite", type=bool, nargs="?", const=True, default=False, help="replace an earlier run"
        )
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        for name in ("input_shape", "classes", "input_scale"):
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path not in (None, "last", "best", "hpc", "registry"):
            refuse_foreign(path)

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        recipe = to_recipe(config)
        self.out = self._choose_folder(config, recipe)
        config.trainer.default_root_dir = str(self.out)
        if config.trainer.logger is None:
            here = Namespace(save_dir=str(self.out), name="", version="")
            config.trainer.logger = Namespace(class_path="lightning.pytorch.loggers.CSVLogger", init_args=here)
        self.trainer_defaults["callbacks"] = self._callbacks(config, recipe)

    def _choose_folder(self, config: Any, recipe: Recipe) -> Path:
        """The run folder. The first rank chooses and protects it; the others write where it does."""
        if not is_first_rank() or FOLDER in os.environ:
            return Path(
                os.environ.get(FOLDER) or config.trainer.default_root_dir or folder.numbered("lightning", newest=True)
            )
        asked, resume, fit = config.trainer.default_root_dir, config.ckpt_path is not None, self.subcommand == "fit"
        if fit:
            out = folder.choose(asked, "lightning", resume=resume, overwrite=config.overwrite, flags=FLAGS)
            if resume and config.ckpt_path == "last" and folder.is_finished(out):
                print(f"{out} holds a finished run, which is left as it is")
                raise SystemExit(0)
            if resume and (out / folder.RECIPE).exists():
                recipes.refuse_changes(out / folder.RECIPE, recipe)
        else:
            written = {"test": folder.METRICS, "predict": folder.PREDICTIONS}.get(str(self.subcommand))
            out = folder.choose_for(asked, "lightning", written, overwrite=config.overwrite, flags=FLAGS)
        os.environ[FOLDER] = str(out)
        return out

    def _callbacks(self, config: Any, recipe: Recipe) -> list[Any]:
        """The callbacks that every run has, besides those of the YAML."""
        if config.trainer.fast_dev_run:  # Lightning's rehearsal leaves nothing behind
            return []
        monitor = "val_loss" if recipe.data.validation_size else None
        callbacks: list[Any] = [RunFolder(self.out, recipe)]
        given = {str(c.get("class_path")).rpartition(".")[2] for c in config.trainer.callbacks or []}
        if recipe.early_stopping.patience is not None and "EarlyStopping" not in given:
            callbacks.append(EarlyStopping("val_loss", patience=recipe.early_stopping.patience))
        if not given & {"TQDMProgressBar", "RichProgressBar"} and config.trainer.enable_progress_bar is not False:
            callbacks.append(TQDMProgressBar(refresh_rate=50))
        if "ModelCheckpoint" not in given and config.trainer.enable_checkpointing is not False:
            callbacks.append(
                ModelCheckpoint(
                    dirpath=self.out,
                    filename="best" if monitor else "newest",
                    monitor=monitor,
                    save_last=True,
                    save_on_train_epoch_end=True,
                    enable_version_counter=False,
                )
            )
        return callbacks

    def before_fit(self) -> None:
        if is_first_rank():
            folder.prepare(self.out, overwrite=self.config.fit.overwrite)

    def before_validate(self) -> None:
        config = self.config[self.subcommand]
        if is_first_rank():
            folder.prepare(self.out)
            if config.ckpt_path is None and config.model.weights is None:
                print("neither --ckpt_path nor --model.weights is given: this network is untrained")

    before_test = before_predict = before_validate

    def after_fit(self) -> None:
        """Test once, on the weights that are kept; on one device, since samplers would repeat or drop images."""
        if self.config.fit.trainer.fast_dev_run:
            return
        if self.trainer.world_size > 1:
            if self.trainer.is_global_zero:
                print(f"test on one device: {self.parser.prog} test --config {self.out / folder.RECIPE}", end=" ")
                print(
                    f"--model.weights {self.out / folder.WEIGHTS} --trainer.devices 1 --trainer.default_root_dir {self.out}"
                )
            return
        if (self.out / folder.WEIGHTS).exists():  # the best epoch's under early stopping, else the last one's
            self.model.load_weights(str(self.out / folder.WEIGHTS))
        self.trainer.test(self.model, self.datamodule, verbose=False)


def is_first_rank() -> bool:
    """Whether this process is the one of the run that writes."""
    return not getattr(rank_zero_only, "rank", 0)


def refuse_foreign(path: str) -> None:
    """Check that a checkpoint can be loaded without running code of its own.

    Raises:
        UserError: it is missing, damaged, or holds more than tensors and primitives.
    """
    if not Path(path).is_file():
        raise UserError(f"--ckpt_path {path}: no such file; expected a checkpoint, last or best")
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"--ckpt_path {path}: does not load with weights_only=True; expected a checkpoint of ours"
        ) from error


def to_recipe(config: Any) -> Recipe:
    """The checked recipe in Lightning's config.

    Raises:
        UserError: a value makes no sense.
    """
    values: dict[str, Any] = {name: config[name].as_dict() for name in ("model", "data", "early_stopping")}
    for linked in ("input_shape", "classes", "input_scale"):
        values["model"].pop(linked, None)
    values["data"].pop("seed", None)
    values["model"]["hidden"] = list(values["model"]["hidden"])
    epochs = config.trainer.max_epochs
    recipe = Recipe.from_dict({"seed_everything": int(config.seed_everything), **values})
    recipe.trainer.max_epochs = 0 if epochs in (None, -1) else epochs  # both mean "no limit" in Lightning
    recipes.check(recipe)
    recipe.trainer.max_epochs = -1 if epochs is None else epochs
    return recipe


def main(argv: Sequence[str]) -> None:
    """Run LightningCLI.

    Raises:
        UserError: something given can't be used.
        Stopped: Ctrl-C.
    """
    for message in QUIET:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "Tip:" not in record.getMessage()
    )
    # A TensorBoard logger would otherwise load all of TensorFlow where that is installed.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    sys.argv[1:] = recipes.resolve(argv)  # DDP's processes start again from sys.argv
    try:
        ClassifierCLI()
    except MisconfigurationException as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning has shut down already
            out = os.environ.get(FOLDER)
            raise Stopped(f"whole epochs are kept in {out}; {FLAGS[0]} {out} {FLAGS[1]} goes on") from None
        raise
