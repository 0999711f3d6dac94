"""The command line of a recipe: every key a flag, every mistake one sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace  # type: ignore[attr-defined]

from ..runs.errors import UserError
from ..runs.files import expand
from .schema import SECTIONS, Recipe, check

FOLDER = Path(__file__).parent
# In a recorded recipe: the settings of the training for which a recipe has no keys. Such a file is not a recipe.
NOT_IN_RECIPE = "not_in_recipe"
# Settings that keras_model alone takes, as flags or as keys of the same YAML.
KERAS_KEYS = ("ema", "precision", "devices", "tensorboard")
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list such as [128, 64]",
    "collections.abc.Sequence": "a list such as [128, 64]",
    "str": "text",
    "NoneType": "null",
}


def names() -> list[str]:
    """The recipes that are built in."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str) -> str:
    """The path of a recipe given by path, or by the name of a built-in one.

    Raises:
        UserError: there is no such file and no such recipe, or it is no YAML of sections.
    """
    path = expand(name)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        is_file = False
    if is_file:
        _refuse_extra(name, read_yaml(path))
        return str(path)
    if name in names():
        return str(FOLDER / f"{name}.yaml")
    raise UserError(f"--config {name}: no such file; expected a path or a built-in recipe: {', '.join(names())}")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a recipe's file without checking its keys.

    Raises:
        UserError: the file is no YAML, or a section is no mapping, on which jsonargparse would fail.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", see line {mark.line + 1}" if mark else ""
        raise UserError(f"--config {path}: can't be read as YAML{where}; expected a recipe") from error
    if not isinstance(content, dict):
        raise UserError(
            f"--config {path}: is empty or no mapping; expected a recipe with sections such as model and data"
        )
    for section in SECTIONS:
        if not isinstance(content.get(section, {}), (dict, str)):
            raise UserError(
                f"--config {path}: {section}: {content[section]}; expected keys under it, such as those of --print_config"
            )
    return content


def _refuse_extra(path: str, content: dict[str, Any]) -> None:
    if NOT_IN_RECIPE in content:
        named = ", ".join(map(str, content[NOT_IN_RECIPE] or ()))
        raise UserError(
            f"--config {path}: records a training that no recipe describes ({named}); expected a recipe, or for"
            " lightning_module the config.yaml beside it"
        )


def resolve(argv: Sequence[str]) -> list[str]:
    """`argv` with each recipe's name behind `--config` (or `-c`) replaced by its path.

    LightningCLI knows only paths, and DDP's child processes parse the same
    words again, so this runs before any parser.

    Raises:
        UserError: there is no such recipe, or it would undo a flag that stands before it.
    """
    words = list(argv)
    for i, word in enumerate(argv):
        if word in ("--config", "-c") and i + 1 < len(words):
            words[i + 1] = find(argv[i + 1])
            _refuse_undone(argv[:i], argv[i + 1], argv[i + 2 :])
        elif word.startswith("--config="):
            name = word.removeprefix("--config=")
            words[i] = f"--config={find(name)}"
            _refuse_undone(argv[:i], name, argv[i + 1 :])
    return words


def _refuse_undone(before: Sequence[str], config: str, after: Sequence[str]) -> None:
    """Check that no flag stands only before a file that sets its key: jsonargparse lets the later one win."""
    keys = list(_keys(read_yaml(find(config))))
    again = {word.split("=")[0] for word in after}
    for word in before:
        if not word.startswith("--") or word.split("=")[0] in again:
            continue
        flag = word[2:].split("=")[0].rstrip("+")
        for key in keys:
            if key == flag or key.startswith(f"{flag}.") or flag.startswith(f"{key}."):
                raise UserError(
                    f"--{flag}: stands before --config {config}, which sets {key} and would undo it;"
                    " expected --config first"
                )


def _keys(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


class OneSentence:
    """Mix into a jsonargparse parser: its complaints become a `UserError` of one sentence."""

    def parse_args(self, *args: Any, **options: Any) -> Namespace:
        try:
            return super().parse_args(*args, **options)  # type: ignore[misc]
        except UnicodeDecodeError as error:
            raise UserError("a file given for a section of the recipe is no text; expected YAML") from error

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise UserError(sentence(message, [a.dest for a in getattr(self, "_actions", [])])) from ex


class Parser(OneSentence, ArgumentParser):  # type: ignore[misc]
    """A jsonargparse parser whose error messages are one sentence."""

    def add_flag(self, name: str, help: str) -> None:
        """Add an option that is off by default and accepts `--x`, `--x true` and `--x false`."""
        add_flag(self, name, help)


def add_flag(parser: ArgumentParser, name: str, help: str) -> None:
    """Add an option as `Parser.add_flag` does, to a parser of another class such as LightningCLI's."""
    parser.add_argument(name, type=bool, nargs="?", const=True, default=False, help=help)


def recipe_parser(prog: str, description: str) -> Parser:
    """A parser with `--config` and every key of a recipe."""
    parser = Parser(prog=prog, description=description)
    parser.add_argument("--config", action=ActionConfigFile, help=f"a recipe: a YAML file, or {' or '.join(names())}")
    defaults = Recipe()
    parser.add_argument(
        "--seed_everything", type=int, default=defaults.seed_everything, help="the seed of everything drawn"
    )
    for name, section in SECTIONS.items():
        parser.add_class_arguments(section, name)
    return parser


def run_options(parser: ArgumentParser, *, resume: bool = True) -> None:
    """Add `--out`, `--overwrite` and, where a run can go on, `--resume`."""
    parser.add_argument("--out", type=str | None, default=None, help="the folder; null takes the next runs/NAME-N")
    add_flag(parser, "--overwrite", "replace the run that is in the folder")
    if resume:
        add_flag(parser, "--resume", "continue the run in the folder, if there is one; without --out, the newest run")


def to_recipe(options: Namespace) -> Recipe:
    """The checked recipe in what `recipe_parser` parsed.

    Raises:
        UserError: a value makes no sense.
    """
    values: dict[str, Any] = {name: options[name].as_dict() for name in SECTIONS}
    return check(with_paths(Recipe.from_dict({"seed_everything": options.seed_everything, **values})))


def with_paths(recipe: Recipe) -> Recipe:
    """Return `recipe` with a leading `~` in its paths replaced by the home folder."""
    model, data = recipe.model, recipe.data
    weights = model.weights if model.weights is None else str(expand(model.weights))
    path = data.path if data.path is None else str(expand(data.path))
    return replace(recipe, model=replace(model, weights=weights), data=replace(data, path=path))


def load(name: str = "simple") -> Recipe:
    """The checked recipe of a built-in name or a YAML file.

    Raises:
        UserError: no such recipe, or a key or value in it is wrong.
    """
    return to_recipe(recipe_parser("recipe", "").parse_args(["--config", find(name)]))


def read_record(path: Path) -> tuple[Recipe, dict[str, Any]]:
    """Read the recipe that a run recorded.

    Args:
        path: its recipe.yaml.

    Returns:
        The recipe, and the settings of the training for which a recipe has no keys.

    Raises:
        UserError: the file is damaged.
    """
    content = read_yaml(path)
    extra = {key: content.pop(key) for key in KERAS_KEYS if key in content} | (content.pop(NOT_IN_RECIPE, None) or {})
    try:
        return to_recipe(recipe_parser("recipe", "").parse_object(content)), extra
    except (UserError, RecursionError) as error:
        raise UserError(f"{path}: is damaged ({error}); expected the recipe that the run recorded") from error


def as_recipe(recipe: Recipe | str | Path) -> Recipe:
    """Return a checked recipe from a `Recipe`, the name of a built-in one, or a YAML file.

    Raises:
        UserError: there is no such recipe, or a value in it is invalid.
    """
    return check(recipe) if isinstance(recipe, Recipe) else load(str(recipe))


def to_metadata(recipe: Recipe, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the recipe for the metadata of a weights file; the inverse of `from_metadata`.

    Args:
        recipe: what was trained.
        extra: settings of the training for which a recipe has no keys.
    """
    return recipe.as_dict() | ({NOT_IN_RECIPE: dict(extra)} if extra else {})


def from_metadata(values: dict[str, Any]) -> Recipe:
    """Return the checked recipe in the metadata of a weights file.

    Raises:
        UserError: a value makes no sense.
    """
    known = {key: value for key, value in values.items() if key != NOT_IN_RECIPE}
    return to_recipe(recipe_parser("recipe", "").parse_object(known))


def dump(recipe: Recipe, keys: Mapping[str, Any] | None = None, extra: Mapping[str, Any] | None = None) -> str:
    """Return the recipe as YAML.

    Args:
        recipe: what was trained.
        keys: further settings, which the package that wrote them takes as keys of the same file.
        extra: settings of the training for which a recipe has no keys; with any, the file is not accepted as a recipe.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        # `1e3` is text to this writer, and a number to jsonargparse.
        number = re.fullmatch(r"[-+.\d_]+(e[-+]?\d+)?", value, re.IGNORECASE)
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="'" if number else None)

    Dumper.add_representer(str, text)

    def write(values: Mapping[str, Any]) -> str:
        return str(yaml.dump(dict(values), Dumper=Dumper, sort_keys=False, default_flow_style=None))

    head = ""
    if extra:
        head = "# Not a recipe: the training used these settings, for which a recipe has no keys.\n" + write(
            {NOT_IN_RECIPE: extra}
        )
    return head + write({**recipe.as_dict(), **(keys or {})})


def sentence(message: str, keys: Sequence[str] = ()) -> str:
    """One line of a parser's complaint: the key, the value, what was expected."""
    text = re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", message)).strip()
    text = re.sub(r'^Parser key "([^"]+)"(?: element \d+)?:', r"\1:", text)
    if m := re.match(
        r"(\S+): Does not validate against any of the Union subtypes Subtypes: (.*?) Errors: .*Given value: (.*)$", text
    ):
        return f"{m[1]}: {m[3]}; expected {_words(m[2])}"
    if m := re.match(r"(\S+): (?:Problem with [^:]*: )?Expected a (.*?)\.? Got value: (.*)$", text):
        return f"{m[1]}: {m[3]}; expected {_words(m[2])}"
    if m := re.match(r"unrecognized arguments: (\S+)", text, re.IGNORECASE):
        return _unknown(f"unknown option {m[1]}", m[1].split("=")[0].lstrip("-"), keys)
    if m := re.match(r"(?:Group '(\S+)' does not accept option |Option )'(\S+?)'", text):
        key = ".".join(part for part in (m[1], m[2]) if part)
        return _unknown(f"unknown key {key}", key, keys)
    return text


def _unknown(what: str, key: str, keys: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, keys, 1)
    return f"{what}; expected {'perhaps ' + near[0] if near else 'a key of the recipe, see --help'}"


def _words(types: str) -> str:
    """A type as a person says it: "typing.Literal['a', 'b']" is "a or b"."""
    found = [n.strip("'\"") for n in re.findall(r"'([^']*)'|(\w+)", types) for n in n if n]
    plain = [n for n in found if n not in ("class", "typing", "Literal", "Optional", "Union")]
    return " or ".join(dict.fromkeys(WORDS.get(n, n) for n in plain)) or types
