"""The command line: LightningCLI with a recipe as its config, and a run folder for its files."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import jsonargparse
import jsonargparse.typing
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from minigrad import datasets, recipes
from minigrad.recipes import EarlyStopping, Recipe
from minigrad.runs import NetworkSpec, Stopped, UserError, folder, formats, signals, whole_file
from minigrad.runs.memory import keep_freed
from minigrad.runs.overview import description_of
from minigrad.runs.tensorboard import keep_tensorflow_out

from . import checkpoints, settings
from . import options as trainer_options
from .__main__ import COMMANDS, DESCRIPTION, PROG
from .checkpoints import FLAGS, is_first_rank
from .data import ImageDataModule
from .export import ExportingTrainer, choose
from .interruption import OwnSignals
from .model import FROM_DATA, LitClassifier
from .run_folder import RunFolder
from .trainer import (
    DEFAULTS,
    default_callbacks,
    default_files,
    default_options,
    ignore_warnings,
)

CONFIG = "config.yaml"  # in the run folder
FIRST_RANK = "MINIGRAD_FIRST_RANK"  # the process that starts the other ranks sets this variable to its number

# Parts of messages of Lightning that a user cannot act on.
HIDDEN = (
    *("Tip:", "GPU available: False", "TPU available: False", "Detected KeyboardInterrupt"),
    "`weights_only` was not set",  # by the BatchSizeFinder, for its own temporary file
)
LOGGERS = (
    *("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"),
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
)


class Parser(recipes.OneSentence, LightningArgumentParser):  # type: ignore[misc]
    """Lightning's parser, whose error messages are one sentence, and whose values are never read from other files."""

    def add_argument(self, *args: Any, **options: Any) -> Any:
        if (name := args[-1].removeprefix("--")) in ("config", "seed_everything"):
            options["help"] = recipes.HELP[name]
        return super().add_argument(*args, **options)

    def add_class_arguments(self, *args: Any, **options: Any) -> list[str]:
        # LightningCLI sets `sub_configs`, with which `callbacks: FILE` in a config reads that file, and an error shows it.
        return super().add_class_arguments(*args, **{**options, "sub_configs": False})  # type: ignore[no-any-return]


class ClassifierCLI(LightningCLI):
    """LightningCLI with the subcommand `export`, configured by a recipe or by any YAML file that LightningCLI accepts.

    Args:
        command: the only subcommand to build a parser for, since each parser takes a tenth of a second; None builds all.
        prog: the name of the command in its help.
        claims: keeps the run folder claimed until it is closed.

    Attributes:
        module_class: the class of the module; a subclass of the command may set another one.
        data_class: the class of the data module.
    """

    module_class: type[LitClassifier] = LitClassifier
    data_class: type[ImageDataModule] = ImageDataModule

    def __init__(self, command: str | None = None, prog: str = PROG, claims: ExitStack | None = None) -> None:
        self.command = command
        self.prog = prog
        self.claims = claims or ExitStack()
        self.own_class = settings.own_class(self.module_class, LitClassifier)
        super().__init__(
            self.module_class,
            self.data_class,
            save_config_callback=None,  # `before_fit` saves it. Each callback costs time at each hook of each step.
            trainer_class=ExportingTrainer,
            trainer_defaults=DEFAULTS,
            seed_everything_default=Recipe().seed_everything,
            parser_class=Parser,
            parser_kwargs={
                "prog": prog,
                "description": DESCRIPTION,
                "default_env": True,  # PL_FIT__TRAINER__MAX_EPOCHS=3
                **{name: {"description": description_of(name)} for name in self.subcommands()},
            },
            load_from_checkpoint_support=False,  # hyperparameters are primitives, so plain loading works
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        subcommands = {**LightningCLI.subcommands(), "export": {"model", "datamodule"}}
        return subcommands if self.command is None else {self.command: subcommands[self.command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_class_arguments(EarlyStopping, "early_stopping", instantiate=False)
        fits = self.command in (None, "fit")
        out = "out" if fits else "out of exports" if self.command == "export" else "out of results"
        overwrite = "overwrite" if fits else "overwrite files"
        parser.add_argument(
            "--out",
            type=str | None,
            default=None,
            help=f"{recipes.HELP[out]}; the same as --trainer.default_root_dir",
        )
        recipes.add_flag(parser, "--overwrite", recipes.HELP[overwrite])
        recipes.add_flag(parser, "--compile", "compile the network with torch.compile")
        recipes.add_flag(parser, "--tensorboard", recipes.HELP["tensorboard"])
        if self.command == "predict":
            recipes.predict_options(parser)
        if self.command == "export":
            formats.add_options(parser, formats.OF_LIGHTNING)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        for name in FROM_DATA:
            parser.link_arguments("data", f"model.{name}", self._from_data(name), apply_on="instantiate")

    def _from_data(self, name: str) -> Callable[[ImageDataModule], Any]:
        """Return the function that computes an argument of the module: for `predict` and `export` from the trained network,
        otherwise from the data."""

        def argument(data: ImageDataModule) -> Any:
            if name != "class_names" or self.spec or not (names := self.trained_names(data)):
                return getattr(self.spec or data.loaded, name)
            data.align(names, self.config[self.subcommand].ckpt_path or self.recipe.model.weights)
            return names

        argument.__name__ = name  # shown in --help
        return argument

    def trained_names(self, data: ImageDataModule) -> tuple[str, ...]:
        """Return the class names of the network in the checkpoint or the weights file.

        Training from weights of other classes is allowed. Then there are no names.
        """
        spec = checkpoints.network_spec(self.config[self.subcommand], required=False, own_class=self.own_class)
        names = spec.class_names if spec else ()
        return names if self.subcommand != "fit" or sorted(names) == sorted(data.loaded.class_names) else ()

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        command, config = self.config.subcommand, self.config[self.config.subcommand]
        self.spec: NetworkSpec | None = None
        checkpoints.settle_flags(config)
        self.recipe = settings.to_recipe(config)
        trainer_options.check(config.trainer, self.recipe, fits=command == "fit")
        trainer_options.check_callbacks(config.trainer.callbacks or [])
        config.model.weights, config.data.path = self.recipe.model.weights, self.recipe.data.path
        # The trial runs of Lightning (fast_dev_run, barebones) write no files.
        self.writes_files = not (config.trainer.fast_dev_run or config.trainer.barebones)
        self.cells = None
        if self.command == "export":
            from_weights = config.ckpt_path is None
            self.cells = choose(config.pop("kinds"), config.pop("precision"), from_weights=from_weights)
        if self.writes_files:
            self._choose_folder(command, config)
            if command == "fit" and config.ckpt_path is not None:
                checkpoints.refuse_other_class(Path(config.ckpt_path), self.own_class)
        if command != "fit":
            self._use_trained_network(command, config)

    def _choose_folder(self, command: str, config: Any) -> None:
        self.extra = settings.extra_of_config(config, self.recipe) if command == "fit" else {}
        for section, kind, base in (
            ("model", self.module_class, LitClassifier),
            ("data", self.data_class, ImageDataModule),
        ):
            self.extra |= settings.extra_of_class(section, kind, base, config[section].as_dict())
        self.files = [*default_files(config.trainer, settings.callback_names(config)), CONFIG]
        choice = checkpoints.choose(command, config, self.recipe, self.files, self.claims)
        self.out, self.resumes = choice.out, choice.resumes
        config.ckpt_path = str(choice.checkpoint) if choice.checkpoint else None
        if command == "fit":
            settings.refuse_finders(config)

    def _use_trained_network(self, command: str, config: Any) -> None:
        """Replace the recipe's section `model` by that in the weights file, which describes its network.

        Lightning does the same with the hyperparameters in a checkpoint.
        """
        required = command in ("predict", "export")
        spec = checkpoints.network_spec(config, required=required, own_class=self.own_class)
        if spec is None:
            return
        if config.ckpt_path is None:
            own = {key.removeprefix("model."): value for key, value in spec.extra.items() if key.startswith("model.")}
            for name, value in {**vars(spec.recipe.model), **own}.items():
                if name != "weights" and name in config.model:
                    config.model[name] = value
            self.recipe = settings.to_recipe(config)
        if required:
            self.spec = spec

    def instantiate_trainer(self, **options: Any) -> Trainer:
        config = self.config[self.subcommand]
        self.trainer_defaults: dict[str, Any]
        if not self.writes_files:
            self.trainer_defaults = {"callbacks": [OwnSignals()]}
        else:
            validated = self.subcommand == "fit" and bool(len(self.datamodule.dataset.validation.labels))
            self.run = RunFolder(self.out, self.recipe, self.extra)
            names = settings.callback_names(config)
            first, *others = default_callbacks(self.run, config.trainer, names, validated=validated)
            own = self.config_init[self.subcommand].trainer.callbacks or []
            options["callbacks"], self.trainer_defaults = [first, *own], {"callbacks": others}
            options |= default_options(
                str(self.subcommand), self.out, config.trainer, names, tensorboard=config.tensorboard
            )
        try:
            return super().instantiate_trainer(**options)
        except (ValueError, TypeError) as error:
            raise trainer_options.sentence(error) from error
        except ModuleNotFoundError as error:
            if error.name is not None:
                raise
            raise trainer_options.sentence(error) from error  # Lightning's, for an accelerator or a precision

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:  # jsonargparse's, for an exception in a linked argument or a class
            cause = error.__cause__
            if isinstance(cause, UserError):
                raise cause from None
            # jsonargparse lists what it has tried, and first the error of the class that the user has named.
            tried = re.search(r"^Errors:\n  - (.*(?:\n {6}.*)*)$", str(error), re.MULTILINE)
            if tried is None:
                raise
            text = re.sub(r"Problem with given class_path '(\S+)':\s+", r"\1: ", tried[1])
            raise UserError(f"trainer: {' '.join(text.split())}") from error

    def after_instantiate_classes(self) -> None:
        if self.config[self.subcommand].compile:
            self.model.example_input_array = None  # the summary would compile the network for another batch size
            self.model.net.compile()  # in place, which keeps the names in checkpoints

    def before_fit(self) -> None:
        data, config = self.datamodule.dataset, self.config.fit
        recipes.refuse_misfit(self.recipe, data)
        trainer_options.check_batches(self.trainer, data, self.datamodule.batch_size)
        if not self.writes_files or not is_first_rank():
            return
        checkpoint = Path(config.ckpt_path) if config.ckpt_path is not None else None
        self.run.prepare(
            self.trainer,
            self.model,
            data,
            self.files,
            overwrite=config.overwrite,
            checkpoint=checkpoint,
            resumes=self.resumes,
        )
        saved = config.clone()
        saved.ckpt_path, saved.overwrite = None, False  # this config starts another run
        with whole_file(self.out / CONFIG) as draft:
            self._parser("fit").save(saved, draft, skip_unset=False, overwrite=True)
        images, ranks = len(data.train.labels), self.trainer.world_size
        if skipped := images % ranks:
            print(f"{images:,} images on {ranks} devices: {skipped} skipped per epoch, different ones in each")

    def before_validate(self) -> None:
        config = self.config[self.subcommand]
        if not self.writes_files:
            return
        if self.subcommand != "validate" and self.trainer.world_size > 1:
            devices = self.trainer.world_size
            raise UserError(f"trainer.devices: {devices} in all; expected 1, since {self.subcommand} writes one file")
        if is_first_rank():
            if self.subcommand in ("validate", "test"):
                datasets.report_notes(self.datamodule.loaded)
                if not self.datamodule.loads_own:
                    recipes.note_default_data(self.recipe.data.path, checkpoints.trained_on(config))
            if self.subcommand == "test":  # the other commands prepare their files when they write them
                folder.prepare(self.out, checkpoints.TEST_FILES)
            if config.ckpt_path is None and config.model.weights is None:
                print("neither --ckpt_path nor --model.weights is set: this network is untrained")

    before_test = before_validate

    def before_predict(self) -> None:
        config = self.config.predict
        self.datamodule.preprocess = config.get("preprocess")
        if self.writes_files:
            self.run.options = config
        self.before_validate()

    def before_export(self) -> None:
        config, trainer = self.config.export, cast(ExportingTrainer, self.trainer)
        trainer.overwrite = config.overwrite
        if self.cells is not None:
            trainer.cells = self.cells
        self.before_validate()

    def after_fit(self) -> None:
        """Test the network once; only on one device, so that each image counts once."""
        if not self.writes_files or not is_first_rank():
            return
        if self.trainer.world_size > 1:
            options = f"--data.path {self.recipe.data.path} --model.weights {self.out / folder.WEIGHTS} --overwrite"
            print(f"test on one device: {self.prog} test {options} --trainer.devices 1 {FLAGS[0]} {self.out}")
            return
        self.trainer.test(self.model, self.datamodule, verbose=False)


def with_classes(module: type[LitClassifier] | None, data: type[ImageDataModule] | None) -> type[ClassifierCLI]:
    """Return a ClassifierCLI for the user's classes; None keeps the class of this package."""

    class OwnCLI(ClassifierCLI):
        module_class = module or LitClassifier
        data_class = data or ImageDataModule

    return OwnCLI


def quiet_start() -> None:
    """Hide messages that a user cannot act on, keep TensorFlow out of the process, and configure jsonargparse.

    It must run before Lightning creates a Trainer or a logger.
    """
    ignore_warnings()
    keep_tensorflow_out()
    threading.excepthook = _report_thread
    for name in LOGGERS:
        logging.getLogger(name).addFilter(lambda record: not any(text in record.getMessage() for text in HIDDEN))
    jsonargparse.set_parsing_settings(add_print_completion_argument=True)
    # StochasticWeightAveraging has an argument of this type, and config.yaml must contain it as text.
    jsonargparse.typing.register_type(torch.device, fail_already_registered=False)


def _report_thread(error: threading.ExceptHookArgs) -> None:
    """Report an exception in a thread, except that of a full disk, which TensorBoard raises again in the main thread."""
    if not isinstance(error.exc_value, OSError):
        threading.__excepthook__(error)


def main(argv: Sequence[str], cli: type[ClassifierCLI] = ClassifierCLI, prog: str = PROG) -> None:
    """Run LightningCLI.

    Args:
        argv: arguments of the command, the subcommand first.
        cli: the class to run.
        prog: the name of the command, for its help.

    Raises:
        UserError: an argument, a file or the data cannot be used.
        Stopped: Ctrl-C, SIGTERM or SIGHUP.
    """
    keep_freed()
    quiet_start()
    sys.argv[1:] = recipes.resolve(argv)  # DDP starts the other ranks with sys.argv
    for name in os.environ:
        if re.fullmatch(r"PL_(\w+__)?CONFIG", name):
            os.environ[name] = recipes.find(os.environ[name])
    if os.environ.get(FIRST_RANK) == str(os.getppid()):
        signals.follow(os.getppid())
    before = {name: os.environ.get(name) for name in (FIRST_RANK, checkpoints.FOLDER, checkpoints.CHECKPOINT)}
    os.environ[FIRST_RANK] = str(os.getpid())
    try:
        with ExitStack() as claims:
            # Shell completion needs a command of one word.
            name = "lightning_module" if "--print_completion" in argv and prog == PROG else prog
            cli(argv[0] if argv and argv[0] in COMMANDS else None, name, claims)
    except Exception as error:
        if isinstance(error, UserError) or not trainer_options.in_lightning(error):
            raise
        raise trainer_options.sentence(error) from error
    except (KeyboardInterrupt, SystemExit) as end:
        out = os.environ.get(checkpoints.FOLDER)
        # Lightning turns the interruption of a Trainer into a SystemExit.
        interrupted = isinstance(end, KeyboardInterrupt) or isinstance(end.__context__, KeyboardInterrupt)
        if not interrupted and not signals.received():
            raise
        if argv[0] == "fit" and out is not None and folder.holds_run(Path(out)):
            raise Stopped(f"completed epochs are kept in {out}; {FLAGS[0]} {out} {FLAGS[1]} continues") from None
        raise KeyboardInterrupt from None
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
