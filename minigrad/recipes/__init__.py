"""The ground floor of all three packages: what a recipe is, and finding and reading one."""

from .parser import (
    OneSentence,
    Parser,
    dump,
    find,
    load,
    names,
    recipe_parser,
    refuse_changes,
    resolve,
    run_options,
    sentence,
    to_recipe,
)
from .schema import PLATEAU, SECTIONS, Data, EarlyStopping, Model, Recipe, Trainer, check

__all__ = [
    "PLATEAU",
    "SECTIONS",
    "Data",
    "EarlyStopping",
    "Model",
    "OneSentence",
    "Parser",
    "Recipe",
    "Trainer",
    "check",
    "dump",
    "find",
    "load",
    "names",
    "recipe_parser",
    "refuse_changes",
    "resolve",
    "run_options",
    "sentence",
    "to_recipe",
]
