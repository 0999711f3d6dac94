"""The command line: LightningCLI with our two classes, a recipe for a config, and a run folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]

from minigrad import datasets, recipes
from minigrad.recipes import Recipe
from minigrad.runs import Stopped, UserError, folder, resuming, write_text
from minigrad.runs.memory import keep_freed

from . import defaults, folders, record
from .callbacks import RunFolder
from .checks import to_recipe, trained_network
from .data import ImageDataModule
from .export import ExportingTrainer
from .folders import FLAGS, is_first_rank
from .model import LitClassifier
from .quiet import quiet_start

PROG = "python -m lightning_module"


class Parser(recipes.OneSentence, LightningArgumentParser):  # type: ignore[misc]
    """Lightning's parser, whose mistakes are one sentence."""


class ClassifierCLI(LightningCLI):
    """fit, validate, test, predict and export, by the shared recipe or any YAML of Lightning's."""

    def __init__(self, prog: str = PROG, held: ExitStack | None = None) -> None:
        self.held = held or ExitStack()  # keeps the claim on the run folder
        super().__init__(
            LitClassifier,
            ImageDataModule,
            save_config_callback=None,  # `before_fit` saves it: a callback is asked at every hook of every step
            trainer_class=ExportingTrainer,
            trainer_defaults=defaults.TRAINER,
            seed_everything_default=Recipe().seed_everything,
            parser_class=Parser,
            parser_kwargs={
                "prog": prog,
                "description": "Train the network of a recipe with PyTorch Lightning.",
                "default_env": True,  # PL_FIT__TRAINER__MAX_EPOCHS=3
            },
            load_from_checkpoint_support=False,  # hyperparameters are primitives, so plain loading works
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {**LightningCLI.subcommands(), "export": {"model", "datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        flag: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}
        parser.add_argument("--early_stopping.patience", type=int | None, default=None, help="null never stops")
        words = "the folder, as --trainer.default_root_dir; null takes the next runs/lightning-N"
        parser.add_argument("--out", type=str | None, default=None, help=words)
        parser.add_argument("--overwrite", **flag, help="replace an earlier run")
        parser.add_argument("--compile", **flag, help="torch.compile the network")
        parser.add_argument("--tensorboard", **flag, help="log for TensorBoard too, in the run folder")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        for name in ("input_shape", "classes", "input_scale"):
            parser.link_arguments("data", f"model.{name}", partial(self._of_network, name), apply_on="instantiate")

    def _of_network(self, name: str, data: ImageDataModule) -> Any:
        """What the network takes: as the data are, or as it was trained when it is to predict."""
        return getattr(self.trained or data.loaded, name)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        command, config = self.config.subcommand, self.config[self.config.subcommand]
        folders.settle_flags(config)
        self.recipe, self.trained = to_recipe(config), None
        config.model.weights, config.data.path = self.recipe.model.weights, self.recipe.data.path
        # Lightning's rehearsals leave nothing behind.
        self.rehearsal = bool(config.trainer.fast_dev_run or config.trainer.barebones)
        if not self.rehearsal:
            self.beyond = record.beyond_recipe(config, self.recipe) if command == "fit" else {}
            self.files = defaults.files(config)
            choice = folders.choose(command, config, self.recipe, self.files, self.held)
            self.out, self.resumes = choice.out, choice.resumes
            config.ckpt_path = str(choice.checkpoint) if choice.checkpoint else None
            if command == "fit":
                record.refuse_finders(config)
        answers = command in ("predict", "export")
        if command != "fit" and (network := trained_network(config, needed=answers)):
            # As Lightning does with a checkpoint's hyperparameters: the file knows what it was trained as.
            for name, value in vars(network.recipe.model).items() if config.ckpt_path is None else ():
                config.model[name] = value if name != "weights" else config.model.weights
            self.recipe = to_recipe(config)
            self.trained = network if answers else None

    def instantiate_trainer(self, **options: Any) -> Trainer:
        config = self.config[self.subcommand]
        if not self.rehearsal:
            validated = self.subcommand == "fit" and bool(len(self.datamodule.dataset.validation.labels))
            self.trainer_defaults = {
                "callbacks": defaults.callbacks(self.out, self.recipe, config, self.beyond, validated=validated)
            }
            options |= defaults.options(str(self.subcommand), self.out, config)
        try:
            return super().instantiate_trainer(**options)
        except (ValueError, TypeError) as error:
            raise UserError(f"trainer: {error}") from error

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:  # which jsonargparse makes of what a link raises
            raise (error.__cause__ if isinstance(error.__cause__, UserError) else error) from None

    def after_instantiate_classes(self) -> None:
        if self.config[self.subcommand].compile:
            self.model.net.compile()  # in place, so that names in checkpoints stay

    def before_fit(self) -> None:
        data = self.datamodule.dataset
        recipes.refuse_misfit(self.recipe, data)
        if self.rehearsal or not is_first_rank():
            return
        # As asked for: LightningCLI lets the settings in a checkpoint undo those of the command.
        used, config = record.on_all_devices(self.recipe, self.trainer), self.config.fit.clone()
        if config.ckpt_path is not None:
            record.refuse_changes(Path(config.ckpt_path), self.out, used, self.beyond, data.digest)
            run_folder(self.trainer).past = folders.history_of(Path(config.ckpt_path), self.out)
            if self.resumes:
                resuming.reopen(self.out)
        datasets.report(data)
        folder.prepare(self.out, self.files, overwrite=config.overwrite)
        for logger in self.trainer.loggers:
            record.claim_events(self.out, logger)
        config.ckpt_path, config.overwrite = None, False  # fed back, it starts another run
        self._parser("fit").save(config, self.out / defaults.CONFIG, skip_none=False, overwrite=True)
        write_text(self.out / folder.RECIPE, recipes.dump(used, extra=self.beyond))
        images, ranks = len(data.train.labels), self.trainer.world_size
        if left := images % ranks:
            print(
                f"{images:,} images on {ranks} devices: {left} sit{'s' * (left == 1)} out in each epoch, others each time"
            )

    def before_validate(self) -> None:
        config = self.config[self.subcommand]
        if self.rehearsal:
            return
        if self.subcommand != "validate" and self.trainer.world_size > 1:
            devices = self.trainer.world_size
            raise UserError(f"trainer.devices: {devices} in all; expected 1, since {self.subcommand} writes one file")
        if is_first_rank():
            if self.subcommand in ("validate", "test"):
                datasets.report_notes(self.datamodule.loaded)
            if self.subcommand == "test":  # the others have nothing to write yet
                folder.prepare(self.out, folders.ADDED["test"])
            if config.ckpt_path is None and config.model.weights is None:
                print("neither --ckpt_path nor --model.weights is given: this network is untrained")

    before_test = before_predict = before_validate

    def before_export(self) -> None:
        self.trainer.overwrite = self.config.export.overwrite  # type: ignore[attr-defined]
        self.before_validate()

    def after_fit(self) -> None:
        """Test once, on the weights that are kept; on one device, so that each image counts once."""
        if self.rehearsal or not is_first_rank():
            return
        run_folder(self.trainer).keep_weights(self.model)
        if self.trainer.world_size > 1:
            words = f"--data.path {self.recipe.data.path} --model.weights {self.out / folder.WEIGHTS} --overwrite"
            print(f"test on one device: {PROG} test {words} --trainer.devices 1 {FLAGS[0]} {self.out}")
            return
        self.trainer.test(self.model, self.datamodule, verbose=False)


def run_folder(trainer: Trainer) -> RunFolder:
    """The callback that writes the run folder."""
    return next(c for c in trainer.callbacks if isinstance(c, RunFolder))  # type: ignore[attr-defined]


def main(argv: Sequence[str], cli: type[ClassifierCLI] = ClassifierCLI) -> None:
    """Run LightningCLI.

    Raises:
        UserError: something given can't be used.
        Stopped: Ctrl-C.
    """
    keep_freed()
    quiet_start()
    sys.argv[1:] = recipes.resolve(argv)  # DDP's processes start again from sys.argv
    inherited = folders.FOLDER in os.environ
    try:
        with ExitStack() as held:
            # A shell completes a command of one word.
            cli("lightning_module" if "--print_completion" in argv else PROG, held)
    except MisconfigurationException as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning has shut down already
            out = os.environ.get(folders.FOLDER)
            raise Stopped(f"whole epochs are kept in {out}; {FLAGS[0]} {out} {FLAGS[1]} continues") from None
        raise
    finally:
        if not inherited:
            for name in (folders.FOLDER, folders.CHECKPOINT):
                os.environ.pop(name, None)
