"""The Trainer of a run: its default callbacks and options, and `fit`, the entry point from Python."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler

from minigrad import datasets, recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import Stopped, TrainingResult, UserError, folder, need_tensorboard, whole_file
from minigrad.runs.class_order import in_order_of
from minigrad.runs.tensorboard import keep_tensorflow_out

from . import options, own_classes, settings
from .checkpoints import BEST, LAST, find_last
from .data import ImageDataModule
from .model import FROM_DATA, LitClassifier, arguments
from .run_folder import RunFolder

# No distributed sampler, because the samplers of the data module split the images among the ranks.
DEFAULTS = {"max_epochs": Recipe().trainer.max_epochs, "use_distributed_sampler": False}

# Messages about what this package does on purpose, or about Lightning's own code.
IGNORED_WARNINGS = (
    r".*configure_optimizers. will be overridden by",  # the user has asked for it
    "Checkpoint directory .* exists and is not empty",
    ".*isinstance.treespec, LeafSpec.* is deprecated",
    "The dirpath has changed",
    "Experiment logs directory .* exists and is not empty",
    "It is recommended to use .self.log.*sync_dist=True",  # LossAndAccuracy sums over the devices
    "Total length of `list` across ranks is zero",
    "The number of training batches .* is smaller than the logging interval",  # epochs are logged
    "The ``compute`` method of metric LossAndAccuracy was called before",  # continuing after an epoch's last step
    "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",  # RunFolder's, for example in `test`
)


BARS = {"TQDMProgressBar", "RichProgressBar"}
SUMMARIES = {"ModelSummary", "RichModelSummary"}


class NoProfiler(PassThroughProfiler):
    """A profiler that does nothing. Lightning's own one runs a generator for each hook of each callback."""

    context: AbstractContextManager[None] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self.context


class Checkpoints(ModelCheckpoint):
    """ModelCheckpoint with a cached `state_key`, which Lightning reads at each hook."""

    @cached_property
    def state_key(self) -> str:  # type: ignore[override]
        return super().state_key


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file in the same folder, then renames that file.

    Lightning's own temporary files are in the system's temporary folder. If
    that is another file system, the file is copied, and a run killed during
    the copy has no readable checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with whole_file(Path(path)) as draft:
            draft.parent.mkdir(parents=True, exist_ok=True)
            buffer = BytesIO()  # because torch reports a full disk in another way than Python
            torch.save(checkpoint, buffer)
            draft.write_bytes(buffer.getbuffer())


def default_files(options: Any, callbacks: Collection[str]) -> list[str]:
    """Return the files that `fit` writes into the run folder, except those for TensorBoard.

    Args:
        options: arguments of the Trainer; a mapping, or a namespace with `get`.
        callbacks: class names of the user's callbacks.
    """
    files = [folder.RECIPE, folder.HISTORY, folder.WEIGHTS, folder.CURVES, folder.METRICS]
    files += [folder.CONFUSION, folder.MISTAKES, folder.RELIABILITY]
    if _saves_checkpoints(options, callbacks):
        files += [BEST, LAST]
    if options.get("logger") is None:
        files += ["metrics.csv", "hparams.yaml"]
    return files


def default_callbacks(
    run: RunFolder, options: Any, callbacks: Collection[str] = (), *, validated: bool
) -> list[Callback]:
    """Return the default callbacks of a run, except those that the user has replaced.

    They write the run folder, apply the recipe's early stopping, show
    progress, and save the best and the last checkpoint. The first one, `run`,
    must precede the user's, so that a checkpoint of an epoch contains its history.

    Args:
        run: the callback that writes the run folder.
        options: arguments of the Trainer; a mapping, or a namespace with `get`.
        callbacks: class names of the user's callbacks.
        validated: whether there are validation images.
    """
    defaults: list[Callback] = [run]
    run.prints_lines = _prints_lines(options, callbacks)
    stopping = run.recipe.early_stopping
    if stopping.patience is not None and "EarlyStopping" not in callbacks:
        defaults.append(EarlyStopping(stopping.monitor, patience=stopping.patience, mode=stopping.mode))
    shows_bar = not run.prints_lines and options.get("enable_progress_bar") is not False
    if shows_bar and BARS.isdisjoint(callbacks):
        defaults.append(TQDMProgressBar(refresh_rate=50))
    if _saves_checkpoints(options, callbacks):
        common: dict[str, Any] = {"dirpath": run.out, "save_on_train_epoch_end": True, "enable_version_counter": False}
        # Two callbacks, since `save_last` saves only in epochs that are among the best. The best is saved first, so
        # that the last contains its score: a run killed between the two repeats the epoch.
        if validated:
            defaults.append(Checkpoints(filename="best", monitor=stopping.monitor, mode=stopping.mode, **common))
        defaults.append(Checkpoints(filename="last", **common))
    return defaults


def _prints_lines(options: Any, callbacks: Collection[str]) -> bool:
    """Return whether to print one line per epoch instead of progress bars, since the output is not a terminal."""
    unset = options.get("enable_progress_bar") is None and not options.get("barebones")
    return unset and BARS.isdisjoint(callbacks) and not sys.stdout.isatty()


def _saves_checkpoints(options: Any, callbacks: Collection[str]) -> bool:
    return "ModelCheckpoint" not in callbacks and options.get("enable_checkpointing") is not False


def default_options(
    command: str, out: Path, options: Any, callbacks: Collection[str] = (), *, tensorboard: bool
) -> dict[str, Any]:
    """Return the default arguments of the Trainer, except those that the user has set.

    Args:
        command: fit, validate, test, predict or export.
        out: the run folder.
        options: the user's arguments of the Trainer; a mapping, or a namespace with `get`.
        callbacks: class names of the user's callbacks.
        tensorboard: whether to log for TensorBoard too.

    Raises:
        UserError: TensorBoard is not installed.
    """
    defaults: dict[str, Any] = {"default_root_dir": str(out)}
    if _prints_lines(options, callbacks):
        defaults["enable_progress_bar"] = False
        if options.get("enable_model_summary") is None and SUMMARIES.isdisjoint(callbacks):
            defaults["enable_model_summary"] = False  # the first lines describe the network
    if options.get("profiler") is None:
        defaults["profiler"] = NoProfiler()
    if not options.get("plugins"):
        defaults["plugins"] = [AtomicCheckpointIO()]
    if options.get("logger") is None:
        defaults["logger"] = _loggers(out, tensorboard) if command == "fit" else False
    if options.get("enable_checkpointing") is False:
        # Lightning rejects False, because RunFolder is a subclass of Checkpoint. The callbacks that save checkpoints are
        # left out instead.
        defaults["enable_checkpointing"] = True
    if command in ("test", "predict", "export") and options.get("devices", "auto") == "auto":
        defaults["devices"] = 1
    return defaults


def _loggers(out: Path, tensorboard: bool) -> list[Any]:
    if tensorboard:
        need_tensorboard()
        keep_tensorflow_out()
    csv = CSVLogger(str(out), name="", version="")
    return [csv, TensorBoardLogger(str(out), name="tensorboard", version="")] if tensorboard else [csv]


def ignore_warnings() -> None:
    """Ignore the warnings that a user cannot act on."""
    for message in IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message)


def fit(
    recipe: Recipe | str | Path,
    data: Dataset | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    model: Callable[..., LitClassifier] = LitClassifier,
    data_module: Callable[..., ImageDataModule] = ImageDataModule,
    **trainer_options: Any,
) -> TrainingResult:
    """Train the network of a recipe with Lightning on one device, and test it once.

    It uses the same modules, callbacks and defaults as `python -m lightning_module fit`.

    Args:
        recipe: a `Recipe`, the name of a built-in one, or the path of a YAML file.
        data: the data to train, validate and test on. The default None loads those that the recipe names.
        out: the run folder. The default None creates the next `runs/lightning-N`.
        resume: continue the run in the folder, if there is one. Default False.
        overwrite: replace the run in the folder. Default False.
        tensorboard: also log for TensorBoard, in the run folder. Default False.
        model: your subclass of `LitClassifier`, which is called with the recipe's section `model` and the properties of the
            data; `functools.partial` adds arguments of your own. Default `LitClassifier`.
        data_module: the same for a subclass of `ImageDataModule`, which is called with the section `data` and the seed.
        trainer_options: arguments of `lightning.pytorch.Trainer`, such as `accelerator="cpu"` or `callbacks=[...]`.
            `max_epochs` replaces that of the recipe.

    Returns:
        The history (one `Epoch` per epoch), the test metrics and the run folder.

    Raises:
        UserError: recipe, data, weights and folder do not fit together, or training diverged.
        Stopped: the run was interrupted by Ctrl-C or SIGTERM; the epochs that were completed are kept.

    Example:
        >>> result = lightning_module.fit("simple", out="runs/example", accelerator="cpu")
        >>> result.metrics["test_accuracy"]
    """
    recipe = recipes.as_recipe(recipe)
    if data is not None:
        data = datasets.check_dataset("data", data)
    if "max_epochs" in trainer_options:
        recipe = recipes.check(replace(recipe, trainer=recipes.Trainer(trainer_options.pop("max_epochs"))))
    options.check(trainer_options, recipe, fits=True)
    callbacks = trainer_options.pop("callbacks", None) or []
    callbacks = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    from_recipe = {**vars(recipe.data), "seed": recipe.seed_everything}
    own_classes.check_class("data_module", data_module, ImageDataModule, from_recipe)
    own_classes.check_class("model", model, LitClassifier, dict.fromkeys((*vars(recipe.model), *FROM_DATA)))
    files = default_files(trainer_options, _names(callbacks))
    claim = folder.claim_run(out, "lightning", files, resume=resume, overwrite=overwrite)
    with claim as path, warnings.catch_warnings():
        ignore_warnings()
        dirpaths = [callback.dirpath for callback in callbacks if isinstance(callback, ModelCheckpoint)]
        checkpoint = find_last(path, dirpaths, "resume") if resume and folder.holds_run(path) else None
        seed_everything(recipe.seed_everything, workers=True, verbose=False)
        images = own_classes.build("data_module", data_module, ImageDataModule, from_recipe)
        if data is not None:
            images.dataset = data
        images.dataset = in_order_of(images.dataset, recipe.model.weights)
        recipes.refuse_misfit(recipe, images.dataset)
        module = own_classes.build("model", model, LitClassifier, arguments(recipe, images.dataset))
        extra = settings.extra_of_trainer(trainer_options, recipe, _names(callbacks))
        run = RunFolder(path, recipe, extra | settings.extra_of_modules(module, images))
        trainer = _build_trainer(run, images, trainer_options, callbacks, tensorboard=tensorboard)
        options.check_batches(trainer, images.dataset, images.batch_size)
        continued: dict[str, Any] = {"checkpoint": checkpoint, "resumes": checkpoint is not None}
        run.prepare(trainer, module, images.dataset, files, overwrite=overwrite, **continued)
        _fit_and_test(trainer, module, images, checkpoint)
    return TrainingResult(run.history, run.metrics, path)


def _fit_and_test(trainer: Trainer, module: LitClassifier, data: ImageDataModule, checkpoint: Path | None) -> None:
    """Train and test. After Ctrl-C or SIGTERM, raise `Stopped` instead of Lightning's SystemExit."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, data, ckpt_path=checkpoint)
        trainer.test(module, data, verbose=False)
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt) and not trainer.received_sigterm:
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)  # Lightning has disabled Ctrl-C
        raise Stopped(
            f"completed epochs are kept in {trainer.default_root_dir}; fit with resume=True continues"
        ) from None


def _names(callbacks: Sequence[Callback]) -> list[str]:
    return [type(callback).__name__ for callback in callbacks]


def _build_trainer(
    run: RunFolder, data: ImageDataModule, options: Mapping[str, Any], callbacks: list[Callback], *, tensorboard: bool
) -> Trainer:
    validated = bool(len(data.dataset.validation.labels))
    defaults = default_options("fit", run.out, options, _names(callbacks), tensorboard=tensorboard)
    first, *others = default_callbacks(run, options, _names(callbacks), validated=validated)
    trainer = Trainer(
        **{"devices": 1, **DEFAULTS, **options, **defaults, "max_epochs": run.recipe.trainer.max_epochs},
        callbacks=[first, *callbacks, *others],
    )
    if trainer.world_size > 1:
        raise UserError(
            f"devices: {trainer.world_size} in all; expected 1 here, or python -m lightning_module fit for several"
        )
    return trainer
