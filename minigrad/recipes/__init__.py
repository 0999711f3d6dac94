"""Recipes, shared by all packages: the keys of a recipe, its file, its command line, and the layer sizes it implies."""

from .files import NOT_IN_RECIPE, as_recipe, dump, find, from_metadata, load, names, read_trained, to_metadata
from .parser import OneSentence, Parser, add_flag, recipe_parser, resolve, run_options, sentence, to_recipe, with_paths
from .schema import (
    ONE_CYCLE,
    PLATEAU,
    SECTIONS,
    Data,
    EarlyStopping,
    Model,
    Recipe,
    Trainer,
    check,
    flat,
    watches_validation,
)
from .sizes import Sizes, refuse_misfit, sizes

__all__ = [
    "NOT_IN_RECIPE",
    "ONE_CYCLE",
    "PLATEAU",
    "SECTIONS",
    "Data",
    "EarlyStopping",
    "Model",
    "OneSentence",
    "Parser",
    "Recipe",
    "Sizes",
    "Trainer",
    "add_flag",
    "as_recipe",
    "check",
    "dump",
    "find",
    "flat",
    "from_metadata",
    "load",
    "names",
    "read_trained",
    "recipe_parser",
    "refuse_misfit",
    "resolve",
    "run_options",
    "sentence",
    "sizes",
    "to_metadata",
    "to_recipe",
    "watches_validation",
    "with_paths",
]
