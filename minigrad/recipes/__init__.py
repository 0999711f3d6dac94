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
from .plan import Plan, plan, refuse_misfit
from .schema import ONE_CYCLE, PLATEAU, SECTIONS, Data, EarlyStopping, Model, Recipe, Trainer, check, flat

__all__ = [
    "ONE_CYCLE",
    "PLATEAU",
    "SECTIONS",
    "Data",
    "EarlyStopping",
    "Model",
    "OneSentence",
    "Parser",
    "Plan",
    "Recipe",
    "Trainer",
    "check",
    "dump",
    "find",
    "flat",
    "load",
    "names",
    "plan",
    "recipe_parser",
    "refuse_changes",
    "refuse_misfit",
    "resolve",
    "run_options",
    "sentence",
    "to_recipe",
]
