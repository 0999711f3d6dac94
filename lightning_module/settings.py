"""The settings of a training: the recipe that was really used, and the settings for which a recipe has no keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import UserError, folder, resuming

from .checkpoints import read_checkpoint, state_of_run
from .data import ImageDataModule
from .model import FROM_DATA, LitClassifier

# Arguments of the Trainer that change the training, and their values without effect.
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
# Arguments that change the training only if a schedule or early stopping monitors validation metrics.
VALIDATION: dict[str, tuple[Any, ...]] = {
    "check_val_every_n_epoch": (1,),
    "limit_val_batches": (None, 1.0),
    "val_check_interval": (None, 1.0),
}
# Callbacks of Lightning that do not change the training, or change only what the recipe then contains (the finders).
NEUTRAL = (
    *("BatchSizeFinder", "LearningRateFinder", "LearningRateMonitor", "ModelCheckpoint", "OnExceptionCheckpoint"),
    *("TQDMProgressBar", "RichProgressBar", "ModelSummary", "RichModelSummary", "DeviceStatsMonitor"),
    "ThroughputMonitor",
)
FINDERS = ("BatchSizeFinder", "LearningRateFinder")
SECTIONS = {"model": vars(recipes.Model()).keys(), "data": vars(recipes.Data()).keys()}
# Arguments of the classes that are not settings of the training.
LINKED = (*FROM_DATA, "seed", "num_workers")
NO_LIMIT = (None, -1)  # values of Lightning's max_epochs that are not a number of epochs


def to_recipe(config: Any) -> Recipe:
    """Return the checked recipe in the config of a subcommand.

    If the config has no limit of epochs, the recipe has Lightning's default limit, 1000.

    Raises:
        UserError: a value is invalid.
    """
    if isinstance(config.seed_everything, bool):  # which Lightning would replace by a seed of its own
        raise UserError(f"seed_everything: {str(config.seed_everything).lower()}; expected a whole number")
    values: dict[str, Any] = {name: config[name].as_dict() for name in ("model", "data", "early_stopping")}
    for section, known in SECTIONS.items():  # without arguments of the user's classes, and those that are linked
        values[section] = {name: value for name, value in values[section].items() if name in known}
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


def callback_names(config: Any) -> list[str]:
    """Return the class names of the callbacks in the config of a subcommand."""
    return [str(c.get("class_path")).rpartition(".")[2] for c in config.trainer.callbacks or []]


def extra_of_config(config: Any, recipe: Recipe) -> dict[str, Any]:
    """Return the settings in the config of `fit` that change the training and for which a recipe has no keys.

    Args:
        config: the config of the subcommand.
        recipe: the recipe in it.

    Returns:
        Plain values by key, such as `{"trainer.gradient_clip_val": 1.0}`.
    """
    extra = {key: _plain(config[key]) for key in ("optimizer", "lr_scheduler") if config.get(key) is not None}
    extra |= extra_of_trainer(config.trainer, recipe)
    callbacks = zip(config.trainer.callbacks or [], callback_names(config), strict=True)
    if changing := [_plain(callback) for callback, name in callbacks if name not in NEUTRAL]:
        extra["trainer.callbacks"] = changing
    return extra


def extra_of_trainer(options: Any, recipe: Recipe, callbacks: Sequence[str] = ()) -> dict[str, Any]:
    """Return the Trainer's arguments that change the training and for which a recipe has no keys.

    Args:
        options: the arguments; a mapping, or a namespace with `get`.
        recipe: the recipe that is trained.
        callbacks: class names of the user's callbacks.

    Returns:
        Plain values by key.
    """
    extra: dict[str, Any] = {}
    for key, neutral in (TRAINER | (VALIDATION if recipes.watches_validation(recipe) else {})).items():
        value = options.get(key, neutral[0])
        # The type matters: a limit of 1.0 is all batches, and a limit of 1 is one batch.
        if not any(type(value) is type(other) and value == other for other in neutral):
            extra[f"trainer.{key}"] = _plain(value)
    if changing := [name for name in callbacks if name not in NEUTRAL]:
        extra["trainer.callbacks"] = changing
    return extra


def own_class(kind: Any, base: type) -> str | None:
    """Return the name of a user's class; None if it is `base`."""
    return None if kind is base else str(kind.__qualname__)


def extra_of_class(section: str, kind: Any, base: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the class of the user's module or data module, and its arguments for which a recipe has no keys.

    Args:
        section: model or data.
        kind: the class.
        base: the class of this package.
        values: the arguments.

    Returns:
        Plain values by key, such as `{"model.class": "MyClassifier", "model.width": 64}`; empty if `kind` is `base`.
    """
    if (name := own_class(kind, base)) is None:
        return {}
    own = {key: value for key, value in values.items() if key not in SECTIONS[section] and key not in LINKED}
    return {f"{section}.class": name, **{f"{section}.{key}": _plain(value) for key, value in own.items()}}


def extra_of_modules(module: LightningModule, data: LightningDataModule | None) -> dict[str, Any]:
    """Return what `extra_of_class` returns for a module and, if there is one, its data module."""
    extra = extra_of_class("model", type(module), LitClassifier, module.hparams)
    return extra if data is None else extra | extra_of_class("data", type(data), ImageDataModule, data.hparams)


def on_all_devices(recipe: Recipe, trainer: Trainer) -> Recipe:
    """Return `recipe` with the batch size of all devices together, if its batch size is that of one device."""
    return replace(recipe, data=replace(recipe.data, batch_size=recipe.data.batch_size * trainer.world_size))


def as_used(recipe: Recipe, trainer: Trainer, module: LightningModule) -> Recipe:
    """Return `recipe` with the values that the Trainer really uses.

    Args:
        recipe: the recipe of the command.
        trainer: its data module holds the batch size, which a BatchSizeFinder may have changed.
        module: its hyperparameters contain the learning rate, which a LearningRateFinder may have changed.

    Returns:
        A recipe whose batch size is that of all devices together.
    """
    batch_size = getattr(getattr(trainer, "datamodule", None), "batch_size", recipe.data.batch_size)
    learning_rate = module.hparams.get("learning_rate", recipe.model.learning_rate)
    used = replace(
        recipe,
        model=replace(recipe.model, learning_rate=float(learning_rate)),
        data=replace(recipe.data, batch_size=int(batch_size)),
    )
    return on_all_devices(used, trainer)


def refuse_finders(config: Any) -> None:
    """Check that no finder would change a setting of a run that continues.

    Raises:
        UserError: a finder is among the callbacks.
    """
    for name in callback_names(config):
        if config.ckpt_path is not None and name in FINDERS:
            raise UserError(
                f"trainer.callbacks: {name} with --ckpt_path {config.ckpt_path}; expected none, since the run continues with"
                " the settings in its checkpoint"
            )


def refuse_changes(path: Path, out: Path, used: Recipe, extra: Mapping[str, Any], digest: str) -> None:
    """Check that a checkpoint was trained with the same settings and data.

    Args:
        path: the checkpoint.
        out: the run folder.
        used: the recipe that would be used now.
        extra: the settings now for which a recipe has no keys.
        digest: the digest of the data now.

    Raises:
        UserError: a setting or the data differ; the message names the first difference.
    """
    checkpoint, config = read_checkpoint(path), path.parent / "config.yaml"
    state = state_of_run(checkpoint)
    if "recipe" in state:
        before, extra_before = Recipe.from_dict(state["recipe"]), state["beyond"]
    elif (out / folder.RECIPE).exists():  # a checkpoint of an earlier version
        before, extra_before = recipes.read_trained(out / folder.RECIPE)
    else:
        before, extra_before = _from_hyperparameters(checkpoint, used), extra
    done = len(state.get("epochs", ()))
    flag = "--ckpt_path"
    expected = f"--config {config}" if config.exists() else "the settings that the checkpoint was trained with"
    resuming.refuse_difference(before, used, done, expected=expected, flag=flag, extra=(extra_before, extra))
    resuming.refuse_other_data(state.get("data"), digest, used.data.path, flag)


def _from_hyperparameters(checkpoint: Mapping[str, Any], used: Recipe) -> Recipe:
    """Return `used` with the hyperparameters of a checkpoint that was saved without the RunFolder callback."""
    hparams = checkpoint.get("hyper_parameters", {})
    model = {name: hparams[name] for name in vars(used.model) if name in hparams}
    model |= {name: list(model[name]) for name in ("channels", "hidden") if name in model}
    return replace(used, model=replace(used.model, **model))


def _plain(value: Any) -> Any:
    """Return a config's value in a form that YAML and a checkpoint can hold."""
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
