"""What is looked at before Lightning is: the recipe in its config, and a checkpoint from a stranger."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path
from typing import Any

import torch

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import UserError, weights
from minigrad.runs.weights import NetworkSpec

NO_LIMIT = (None, -1)  # what Lightning's max_epochs may say besides a number


def to_recipe(config: Any) -> Recipe:
    """The checked recipe in Lightning's config; without a limit of epochs it says Lightning's own, 1000.

    Raises:
        UserError: a value makes no sense.
    """
    values: dict[str, Any] = {name: config[name].as_dict() for name in ("model", "data", "early_stopping")}
    for linked in ("input_shape", "classes", "input_scale"):
        values["model"].pop(linked, None)
    values["data"].pop("seed", None)
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


def trained_network(config: Any, needed: bool) -> NetworkSpec | None:
    """What the weights or the checkpoint to be evaluated say that their network is; None where they don't.

    Raises:
        UserError: the weights don't say it, or can't be read, and it is needed.
    """
    if config.ckpt_path is not None:
        h = read_checkpoint(Path(config.ckpt_path)).get("hyper_parameters", {})
        if not {"input_shape", "classes", "input_scale"} <= h.keys():
            return None
        return NetworkSpec(
            Recipe(), tuple(h["input_shape"]), h["classes"], h["input_scale"]
        )  # Lightning itself takes the rest
    if config.model.weights is not None:
        with contextlib.nullcontext() if needed else contextlib.suppress(UserError):  # loading them says it better
            return weights.read_spec(config.model.weights)
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint, if it can be loaded without running code of its own.

    Raises:
        UserError: it is missing, damaged, holds more than tensors and
            primitives, or is no checkpoint of Lightning's.
    """
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: no such file; expected a checkpoint, last or best")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        why = "does not load with weights_only=True"
        raise UserError(f"--ckpt_path {path}: {why}; expected a checkpoint of tensors and primitives") from error
    if not isinstance(found, dict) or not {"state_dict", "pytorch-lightning_version"} <= found.keys():
        raise UserError(f"--ckpt_path {path}: holds no state_dict of Lightning's; expected a checkpoint")
    return found
