"""The command line: LightningCLI with our two classes, a recipe for a config, and a run folder."""

from __future__ import annotations

import logging
import os
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import Stopped, UserError, folder, write_text

from .callbacks import RunFolder
from .checks import refuse_foreign, to_recipe
from .data import ImageDataModule
from .model import LitClassifier

PROG = "python -m lightning_module"
# What a Lightning user knows --out and --resume by.
FLAGS = ("--trainer.default_root_dir", "--ckpt_path last")
# DDP starts this command again for each rank; this tells them that the folder is chosen.
FOLDER = "MINIGRAD_RUN_FOLDER"
# True of what we do on purpose, or of Lightning's own insides; nothing for a user to act on.
QUIET = (
    "Checkpoint directory .* exists and is not empty",
    ".*isinstance.treespec, LeafSpec.* is deprecated",
    "The dirpath has changed",
)


class Parser(recipes.OneSentence, LightningArgumentParser):  # type: ignore[misc]
    """Lightning's parser, whose mistakes are one sentence."""


class SaveRecipe(SaveConfigCallback):
    """Leave Lightning's own config.yaml and the recipe that all four commands read, from `fit` alone."""

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            out = Path(trainer.default_root_dir)
            self.parser.save(self.config, out / "config.yaml", skip_none=False, overwrite=True)
            write_text(out / folder.RECIPE, recipes.dump(to_recipe(self.config)))


class ClassifierCLI(LightningCLI):
    """fit, validate, test and predict, by the shared recipe or any YAML of Lightning's."""

    def __init__(self, args: Sequence[str] | None = None) -> None:
        super().__init__(
            LitClassifier,
            ImageDataModule,
            save_config_callback=SaveRecipe,
            save_config_kwargs={"save_to_log_dir": False},
            # SeededOrder and Share deal out their own indices to the ranks.
            trainer_defaults={"max_epochs": Recipe().trainer.max_epochs, "use_distributed_sampler": False},
            seed_everything_default=Recipe().seed_everything,
            parser_class=Parser,
            parser_kwargs={"prog": PROG, "description": "Train the network of a recipe with PyTorch Lightning."},
            load_from_checkpoint_support=False,  # hyperparameters are primitives, so plain loading works
            args=None if args is None else list(args),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        flag: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}
        parser.add_argument("--early_stopping.patience", type=int | None, default=None, help="null never stops")
        parser.add_argument("--overwrite", **flag, help="replace an earlier run")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        for name in ("input_shape", "classes", "input_scale"):
            parser.link_arguments(f"data.{name}", f"model.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        self.recipe = to_recipe(config)
        if config.ckpt_path not in (None, "last", "best"):
            refuse_foreign(Path(config.ckpt_path))

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        # Lightning's rehearsals leave nothing behind.
        self.rehearsal = bool(config.trainer.fast_dev_run or config.trainer.barebones)
        if not self.rehearsal:
            self.out = self._choose_folder(config)
            config.ckpt_path = self._find_checkpoint(config.ckpt_path)

    def instantiate_trainer(self, **options: Any) -> Trainer:
        config = self.config[self.subcommand]
        if not self.rehearsal:
            self.trainer_defaults["callbacks"] = self._callbacks(config)
            options["default_root_dir"] = str(self.out)
            if config.trainer.logger is None:
                options["logger"] = CSVLogger(str(self.out), name="", version="") if self.subcommand == "fit" else False
            if config.trainer.enable_checkpointing is False:
                options["enable_checkpointing"] = True  # of RunFolder, a Checkpoint by class; ours are left out
        try:
            return super().instantiate_trainer(**options)
        except (ValueError, TypeError) as error:
            raise UserError(f"trainer: {error}") from error

    def _choose_folder(self, config: Any) -> Path:
        """The run folder. The first rank chooses and protects it; the others write where it does."""
        asked = config.trainer.default_root_dir
        if not is_first_rank() or FOLDER in os.environ:
            return Path(os.environ.get(FOLDER) or asked or folder.numbered("lightning", newest=True))
        if self.subcommand == "fit":
            resume = config.ckpt_path is not None
            out = folder.choose(asked, "lightning", resume=resume, overwrite=config.overwrite, flags=FLAGS)
            if config.ckpt_path == "last" and folder.is_finished(out):
                print(f"{out} holds a finished run, which is left as it is")
                raise SystemExit(0)
            if resume and (out / folder.RECIPE).exists():
                recipes.refuse_changes(out / folder.RECIPE, self.recipe)
        else:
            written = {"test": folder.METRICS, "predict": folder.PREDICTIONS}.get(str(self.subcommand))
            out = folder.choose_for(asked, "lightning", written, overwrite=config.overwrite, flags=FLAGS)
        os.environ[FOLDER] = str(out)
        return out

    def _find_checkpoint(self, asked: str | None) -> str | None:
        """`last` and `best` are files in the run folder; `fit` without a last one starts afresh."""
        if asked not in ("last", "best"):
            return asked
        path = self.out / f"{asked}.ckpt"
        if self.subcommand == "fit" and asked == "last" and not path.exists():
            return None
        refuse_foreign(path)
        return str(path)

    def _callbacks(self, config: Any) -> list[Any]:
        """The callbacks that every run has, besides those of the YAML."""
        given = {str(c.get("class_path")).rpartition(".")[2] for c in config.trainer.callbacks or []}
        monitor = "val_loss" if self.recipe.data.validation_size else None
        patience = self.recipe.early_stopping.patience
        callbacks: list[Any] = [RunFolder(self.out, self.recipe)]
        if patience is not None and "EarlyStopping" not in given:
            callbacks.append(EarlyStopping("val_loss", patience=patience))
        if not given & {"TQDMProgressBar", "RichProgressBar"} and config.trainer.enable_progress_bar is not False:
            callbacks.append(TQDMProgressBar(refresh_rate=50))
        if "ModelCheckpoint" not in given and config.trainer.enable_checkpointing is not False:
            kept: dict[str, Any] = {
                "dirpath": self.out,
                "save_on_train_epoch_end": True,
                "enable_version_counter": False,
            }
            # Two, since `save_last` writes only in the epochs that are among the best.
            callbacks.append(ModelCheckpoint(filename="last", **kept))
            if monitor:
                callbacks.append(ModelCheckpoint(filename="best", monitor=monitor, **kept))
        return callbacks

    def before_fit(self) -> None:
        recipes.refuse_misfit(self.recipe, self.datamodule.dataset)
        if is_first_rank() and not self.rehearsal:
            folder.prepare(self.out, overwrite=self.config.fit.overwrite)

    def before_validate(self) -> None:
        config = self.config[self.subcommand]
        if is_first_rank() and not self.rehearsal:
            folder.prepare(self.out)
            if config.ckpt_path is None and config.model.weights is None:
                print("neither --ckpt_path nor --model.weights is given: this network is untrained")

    before_test = before_predict = before_validate

    def after_fit(self) -> None:
        """Test once, on the weights that are kept; on one device, since samplers would repeat or drop images."""
        if self.rehearsal:
            return
        weights = self.out / folder.WEIGHTS
        if self.trainer.world_size > 1:
            if is_first_rank():
                words = f"--config {self.out / folder.RECIPE} --model.weights {weights}"
                print(f"test on one device: {PROG} test {words} --trainer.devices 1 {FLAGS[0]} {self.out}")
            return
        if weights.exists():  # the best epoch's under early stopping, else the last one's
            self.model.load_weights(str(weights))
        else:
            self.run_folder.write_weights(self.model)
        self.trainer.test(self.model, self.datamodule, verbose=False)

    @property
    def run_folder(self) -> RunFolder:
        return next(c for c in self.trainer.callbacks if isinstance(c, RunFolder))  # type: ignore[attr-defined]


def is_first_rank() -> bool:
    """Whether this process is the one of the run that writes."""
    return not getattr(rank_zero_only, "rank", 0)


def main(argv: Sequence[str]) -> None:
    """Run LightningCLI.

    Raises:
        UserError: something given can't be used.
        Stopped: Ctrl-C.
    """
    for message in QUIET:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda r: "Tip:" not in r.getMessage())
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
