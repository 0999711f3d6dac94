"""What a run really trained: its recipe as it was used, and the settings for which a recipe has no keys."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import UserError, folder, manifest, resuming

from .checks import read_checkpoint
from .folders import state_of_run

# Settings of the Trainer that change the training, and their values where they don't.
TRAINER: dict[str, tuple[Any, ...]] = {
    "precision": (None, 32, "32", "32-true"),
    "gradient_clip_val": (None,),
    "accumulate_grad_batches": (1,),
    "limit_train_batches": (None, 1.0),
    "overfit_batches": (0, 0.0),
    "max_steps": (-1,),
    "max_time": (None,),
    "min_epochs": (None,),
    "min_steps": (None,),
}
# Likewise where a schedule or early stopping watches the validation loss.
VALIDATION: dict[str, tuple[Any, ...]] = {
    "check_val_every_n_epoch": (1,),
    "limit_val_batches": (None, 1.0),
    "val_check_interval": (None, 1.0),
}
# Lightning's callbacks that leave the training as it is, or, as the two finders, change what is recorded as used.
NEUTRAL = (
    *("BatchSizeFinder", "LearningRateFinder", "LearningRateMonitor", "ModelCheckpoint", "OnExceptionCheckpoint"),
    *("TQDMProgressBar", "RichProgressBar", "ModelSummary", "RichModelSummary", "DeviceStatsMonitor"),
    "ThroughputMonitor",
)
FINDERS = ("BatchSizeFinder", "LearningRateFinder")


def callback_names(config: Any) -> list[str]:
    """The class names of the callbacks that the config of a command asks for."""
    return [str(c.get("class_path")).rpartition(".")[2] for c in config.trainer.callbacks or []]


def beyond_recipe(config: Any, recipe: Recipe) -> dict[str, Any]:
    """Return the settings in the config of `fit` that change the training and for which a recipe has no keys.

    Args:
        config: LightningCLI's, of the subcommand.
        recipe: the recipe in it.

    Returns:
        Plain values by key, such as `{"trainer.gradient_clip_val": 1.0}`.
    """
    found: dict[str, Any] = {}
    for key in ("optimizer", "lr_scheduler"):
        if (value := config.get(key)) is not None:
            found[key] = _plain(value)
    for key, neutral in (TRAINER | (VALIDATION if recipes.watches_validation(recipe) else {})).items():
        value = config.trainer.get(key)
        # Types count: a limit of 1.0 is all batches, and a limit of 1 is one batch.
        if not any(type(value) is type(other) and value == other for other in neutral):
            found[f"trainer.{key}"] = _plain(value)
    callbacks = zip(config.trainer.callbacks or [], callback_names(config), strict=True)
    if asked := [_plain(callback) for callback, name in callbacks if name not in NEUTRAL]:
        found["trainer.callbacks"] = asked
    return found


def on_all_devices(recipe: Recipe, trainer: Trainer) -> Recipe:
    """Return `recipe` with the batch of all devices together, where `recipe` has the one of each device."""
    return replace(recipe, data=replace(recipe.data, batch_size=recipe.data.batch_size * trainer.world_size))


def as_used(recipe: Recipe, trainer: Trainer, module: Any) -> Recipe:
    """Return `recipe` with what the Trainer made of it: the batch of all devices, and what a finder has found."""
    batch_size = getattr(getattr(trainer, "datamodule", None), "batch_size", recipe.data.batch_size)
    rate = module.hparams.get("learning_rate", recipe.model.learning_rate)
    found = replace(
        recipe,
        model=replace(recipe.model, learning_rate=float(rate)),
        data=replace(recipe.data, batch_size=int(batch_size)),
    )
    return on_all_devices(found, trainer)


def refuse_finders(config: Any) -> None:
    """Check that no finder would change a setting of a run that continues.

    Raises:
        UserError: one would.
    """
    for name in callback_names(config):
        if config.ckpt_path is not None and name in FINDERS:
            raise UserError(
                f"trainer.callbacks: {name} with --ckpt_path {config.ckpt_path}; expected none, since the run continues with"
                " the settings in its checkpoint"
            )


def refuse_changes(path: Path, out: Path, used: Recipe, beyond: dict[str, Any], digest: str) -> None:
    """Check that a checkpoint was trained with the same settings and data.

    Args:
        path: of the checkpoint.
        out: the run folder.
        used: the recipe as it would be used now.
        beyond: the settings that no recipe has a key for.
        digest: of the data.

    Raises:
        UserError: naming what differs.
    """
    checkpoint, config = read_checkpoint(path), path.parent / "config.yaml"
    state = state_of_run(checkpoint)
    if "recipe" in state:
        before, past = Recipe.from_dict(state["recipe"]), state["beyond"]
    elif (out / folder.RECIPE).exists():  # a checkpoint of an earlier version
        before, past = recipes.read_trained(out / folder.RECIPE)
    else:
        before, past = _of_hyperparameters(checkpoint, used), beyond
    done = len(state.get("epochs", ()))
    flag = "--ckpt_path"
    expected = f"--config {config}" if config.exists() else "the settings that the checkpoint was trained with"
    resuming.refuse_difference(before, used, done, expected=expected, flag=flag, extra=(past, beyond))
    resuming.refuse_other_data(state.get("data"), digest, used.data.path, flag)


def _of_hyperparameters(checkpoint: dict[str, Any], used: Recipe) -> Recipe:
    """`used` with the model's settings in a checkpoint that no run folder's callback was there to describe."""
    h = checkpoint.get("hyper_parameters", {})
    known = {name: h[name] for name in vars(used.model) if name in h}
    known |= {name: list(known[name]) for name in ("channels", "hidden") if name in known}
    return replace(used, model=replace(used.model, **known))


def claim_events(out: Path, logger: Logger) -> None:
    """Enter the files of a TensorBoard logger in the run's manifest, if it writes into the run's folder."""
    if not isinstance(logger, TensorBoardLogger) or out.absolute() not in Path(logger.log_dir).absolute().parents:
        return
    place = Path(logger.experiment.log_dir)
    files = [*place.glob(f"events.out.tfevents.*.{os.getpid()}.*"), place / "hparams.yaml"]
    manifest.add(out, [path.relative_to(out).as_posix() for path in files])


def _plain(value: Any) -> Any:
    """A config's value as YAML and a checkpoint can hold it."""
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
