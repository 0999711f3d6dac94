"""A trained network, built from nothing but its weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import recipes
from .classifier import Classifier
from .recipes import Parser, Recipe
from .runs import UserError, weights


def weights_option(parser: Parser) -> None:
    """Add --model.weights."""
    parser.add_argument(
        "--model.weights",
        type=str,
        required=True,
        metavar="FILE",
        help="a weights.safetensors of any of the three packages, which says how its network is built",
    )


def overwrite_option(parser: Parser) -> None:
    """Add --overwrite, for a command that writes one file."""
    flag: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}
    parser.add_argument("--overwrite", **flag, help="replace that file")


def restore(path: str | Path) -> tuple[Classifier, weights.NetworkSpec, Recipe]:
    """The network whose weights are at `path`, ready to predict, what it takes, and the recipe it was trained by.

    Raises:
        UserError: no such file, or not one that any of the three packages wrote whole.
    """
    network = weights.read_network(path)
    try:
        recipe = recipes.from_metadata(network.recipe)
        shapes = recipes.sizes(recipe.model, network.input_shape, network.classes).shapes(recipe.model)
    except (UserError, RecursionError) as error:
        raise UserError(f"model.weights: {path}: its recipe makes no sense: {error}") from error
    net = Classifier(recipe.model, network.input_shape, network.classes, network.input_scale)
    net.load_state_dict(weights.read_for(path, shapes, network.input_scale))
    net.eval()
    return net, network, recipe
