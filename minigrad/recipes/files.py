"""The recipe as a file: finding and reading it, and writing it to a run folder or a weights file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runs import foreign
from ..runs.errors import UserError
from ..runs.files import expand
from .schema import SECTIONS, Recipe, check
from .types import plain

FOLDER = Path(__file__).parent
# A key in recipe.yaml for settings of the training for which a recipe has no keys. Such a file is not a recipe.
NOT_IN_RECIPE = "not_in_recipe"
# Keys of a config for all commands of lightning_module, which contain a recipe each.
COMMANDS = ("fit", "validate", "test", "predict", "export")
# Keys of lightning_module that contain the name of a class, which jsonargparse would also read as that of a file.
CLASSES = ("optimizer", "lr_scheduler")
# Settings that only keras_model, and `devices` also minigrad, accept as flags or as keys of the same YAML file.
KERAS_KEYS = ("ema", "precision", "devices", "tensorboard", "class_weight")


def names() -> list[str]:
    """Return the names of the built-in recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str) -> str:
    """Return the path of a recipe, given as a path or as the name of a built-in recipe.

    Raises:
        UserError: there is no such file or built-in recipe, or the file is not YAML with sections.
    """
    if not name:
        raise UserError(f"--config: ''; expected a path or a built-in recipe: {', '.join(names())}")
    path = expand(name)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # the name is too long, or contains a zero byte
        is_file = False
    if is_file:
        _refuse_extra(name, read_yaml(path))
        return str(path)
    if name in names():
        return str(FOLDER / f"{name}.yaml")
    raise UserError(f"--config {name}: no such file; expected a path or a built-in recipe: {', '.join(names())}")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a recipe file without checking its keys.

    Raises:
        UserError: the file is not YAML, exceeds the limits of `foreign.check_yaml`, or a section is not a mapping.
    """
    with foreign.parsing(f"--config {path}", "a recipe", "cannot be read as YAML"):
        content = parse_yaml(foreign.read_text(Path(path), foreign.MAX_YAML))
    if not isinstance(content, dict):
        raise UserError(
            f"--config {path}: does not contain keys and values; expected a recipe with sections such as model and data"
        )
    try:
        refuse_references(content)
    except UserError as error:
        raise UserError(f"--config {path}: {error}") from error
    return content


def parse_yaml(text: str) -> Any:
    """Parse YAML within the limits of `foreign.check_yaml`.

    Raises:
        Invalid: the text is not YAML, or exceeds the limits.
    """
    import yaml

    foreign.check_yaml(text)
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = f", see line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise foreign.Invalid(f"{error.problem or 'invalid'}{line}") from error


def refuse_references(content: Mapping[str, Any]) -> None:
    """Check that the content of a recipe is complete, because a stranger's recipe must not make the parser read other files.

    jsonargparse reads the file that the key `config` names, or that a section
    names instead of its keys. Keys such as `__path__` are its own.

    Raises:
        UserError: there is such a key, or a section is not a mapping.
    """
    if "config" in content:
        raise UserError("config: a recipe can't include another file; expected only the keys of a recipe")
    for section in (*SECTIONS, *COMMANDS):
        # jsonargparse raises an exception of its own for other types than text.
        if not isinstance(content.get(section, {}), dict):
            value = content[section]
            raise UserError(
                f"{section}: {foreign.shown(value)}; expected keys under it, such as those of --print_config"
            )
        if section in COMMANDS and section in content:
            refuse_references(content[section])
    for key in CLASSES:
        value = content.get(key)
        if isinstance(value, str) and value and os.path.exists(expand(value)):  # noqa: PTH110 (False for an invalid path)
            raise UserError(f"{key}: {foreign.shown(value)} is a file; expected the name of a class")
    _refuse_internal_keys(content)


def _refuse_internal_keys(content: Any) -> None:
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if str(key).startswith("__"):
            raise UserError(f"{key}: is not a key of a recipe; expected those of --print_config")
        _refuse_internal_keys(value)


def _refuse_extra(path: str, content: dict[str, Any]) -> None:
    if NOT_IN_RECIPE in content:
        extra = content[NOT_IN_RECIPE]
        settings = ", ".join(map(str, extra)) if isinstance(extra, dict) else foreign.shown(extra)
        raise UserError(
            f"--config {path}: describes a training with settings for which a recipe has no keys ({settings}); expected a"
            " recipe, or for lightning_module the config.yaml beside it"
        )


def load(name: str = "simple") -> Recipe:
    """Read and check a recipe.

    Args:
        name: the name of a built-in recipe, or a YAML file.

    Raises:
        UserError: there is no such recipe, or a key or value in it is invalid.
    """
    from .parser import recipe_parser, to_recipe

    return to_recipe(recipe_parser("recipe", "").parse_args(["--config", find(name)]))


def as_recipe(recipe: Recipe | str | Path) -> Recipe:
    """Return a checked recipe from a `Recipe`, which is copied, the name of a built-in one, or a YAML file.

    Numbers and arrays of NumPy in a `Recipe` become those of Python.

    Raises:
        UserError: there is no such recipe, or a value in it is invalid, or it is of another type.
    """
    if not isinstance(recipe, Recipe | str | Path):
        shown = foreign.shown(" ".join(repr(recipe).split()), 60)
        raise UserError(f"recipe: {shown}; expected a Recipe, the name of a built-in one, or the path of a YAML file")
    return check(Recipe.from_dict(plain(recipe.as_dict()))) if isinstance(recipe, Recipe) else load(str(recipe))


def read_trained(path: Path) -> tuple[Recipe, dict[str, Any]]:
    """Read the recipe.yaml of a run.

    Args:
        path: the file.

    Returns:
        The recipe, and the settings of the training for which a recipe has no keys.

    Raises:
        UserError: the file is damaged.
    """
    expected = "the recipe that the run wrote"
    content = read_yaml(path)
    extra = {key: content.pop(key) for key in KERAS_KEYS if key in content}
    with foreign.parsing(path, expected):
        extra |= checked_extra(content.pop(NOT_IN_RECIPE, None))
    try:
        return _from_dict(content), extra
    except UserError as error:
        raise UserError(f"{path}: is damaged ({error}); expected {expected}") from error


def to_metadata(recipe: Recipe, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a recipe as the metadata of a weights file contain it; the inverse of `from_metadata`.

    Args:
        recipe: the recipe that the network was trained with.
        extra: settings of the training for which a recipe has no keys.
    """
    return recipe.as_dict() | ({NOT_IN_RECIPE: dict(extra)} if extra else {})


def from_metadata(values: dict[str, Any]) -> Recipe:
    """Return the checked recipe in the metadata of a weights file.

    Raises:
        UserError: a key or value is invalid.
    """
    return _from_dict({key: value for key, value in values.items() if key != NOT_IN_RECIPE})


def checked_extra(extra: Any) -> dict[str, Any]:
    """Return the settings of a training for which a recipe has no keys, which a file contains.

    Raises:
        Invalid: they are neither null nor a mapping of plain values by name.
    """
    if extra is not None and not (isinstance(extra, dict) and all(isinstance(key, str) for key in extra)):
        raise foreign.Invalid(f"{NOT_IN_RECIPE} is {foreign.shown(extra, 40)}; expected settings by name")
    foreign.check_values(extra, strings=False)
    return extra or {}


def _from_dict(values: Any) -> Recipe:
    from .parser import recipe_parser, to_recipe

    with foreign.parsing("recipe", "the keys and values of a recipe", "is invalid"):
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise foreign.Invalid("it is not a mapping of sections by name")
        foreign.check_values(values)
        refuse_references(values)
        options = recipe_parser("recipe", "").parse_object(values)
    return to_recipe(options)


def dump(recipe: Recipe, keys: Mapping[str, Any] | None = None, extra: Mapping[str, Any] | None = None) -> str:
    """Return a recipe as YAML.

    Args:
        recipe: the recipe that the network was trained with.
        keys: further keys, which the package that writes them accepts in the same file.
        extra: settings of the training for which a recipe has no keys; if there are any, the file is not accepted as a
            recipe.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        # PyYAML writes `1e3` without quotes, which jsonargparse reads as a number.
        number = re.fullmatch(r"[-+.\d_]+(e[-+]?\d+)?", value, re.IGNORECASE)
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if number else None)

    Dumper.add_representer(str, represent_text)

    def to_yaml(values: Mapping[str, Any]) -> str:
        return str(yaml.dump(dict(values), Dumper=Dumper, sort_keys=False, default_flow_style=None))

    head = ""
    if extra:
        comment = "# Not a recipe: the training used these settings, for which a recipe has no keys.\n"
        head = comment + to_yaml({NOT_IN_RECIPE: extra})
    return head + to_yaml({**recipe.as_dict(), **(keys or {})})
