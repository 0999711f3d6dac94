"""The command line of a recipe: every key is a flag, and every error message is one sentence."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace, get_loader, set_loader  # type: ignore[attr-defined]

from ..runs import foreign
from ..runs.errors import UserError
from ..runs.files import expand
from .files import find, names, read_yaml
from .schema import SECTIONS, Recipe, check
from .types import WORDS

# The keys of Lightning whose types in plain words would say too much or too little.
OF_KEYS = {
    "seed_everything": "a whole number",
    "trainer.callbacks": "the name of a callback's class, such as EarlyStopping",
}

# What the flags do that several commands have, in the same words everywhere.
HELP = {
    "config": f"the recipe: a YAML file, or the built-in {', '.join(names()[:-1])} or {names()[-1]}",
    "seed_everything": "the seed of all random numbers",
    "out": "the run folder; null creates the next runs/NAME-N",
    "out of results": "the folder for the results; null creates the next runs/NAME-N",
    "out of exports": "the folder; null writes the files beside the weights",
    "overwrite": "replace the run in the folder",
    "overwrite files": "replace existing files",
    "resume": "continue the run in the folder, if there is one; without --out, the newest run",
    "tensorboard": "also write the metrics for TensorBoard, which must be installed",
}

# The name under which jsonargparse knows `_load_yaml`.
LIMITED_YAML = "limited_yaml"


def _load_yaml(text: str) -> Any:
    """Parse a file or a value as jsonargparse does, within the limits of `foreign.check_yaml`.

    Raises:
        Invalid: the text exceeds the limits, or is not YAML.
    """
    foreign.check_yaml(text)
    try:
        return get_loader("yaml")(text)
    except Exception as error:  # PyYAML also raises ValueError, OverflowError and others, for example for 5,000 digits
        raise foreign.Invalid(foreign.reason_of(error)) from error


set_loader(LIMITED_YAML, _load_yaml, exceptions=(foreign.Invalid,))


def resolve(argv: Sequence[str]) -> list[str]:
    """Return `argv` with the recipe name after each `--config` (or `-c`) replaced by its path.

    This happens before any parser runs, since LightningCLI accepts only paths,
    and the child processes of DDP parse the same arguments again.

    Raises:
        UserError: there is no such recipe, or it would override a flag that precedes it.
    """
    resolved = list(argv)
    for i, argument in enumerate(argv):
        if argument in ("--config", "-c") and i + 1 < len(argv):
            resolved[i + 1] = find(argv[i + 1])
            _refuse_override(argv[:i], argv[i + 1], argv[i + 2 :])
        elif argument.startswith("--config="):
            name = argument.removeprefix("--config=")
            resolved[i] = f"--config={find(name)}"
            _refuse_override(argv[:i], name, argv[i + 1 :])
    return resolved


def _refuse_override(before: Sequence[str], config: str, after: Sequence[str]) -> None:
    """Check that no flag precedes a file that sets its key, since jsonargparse uses the last value.

    A flag that is repeated after the file is allowed.
    """
    keys = list(_keys(read_yaml(find(config))))
    repeated = {argument.split("=")[0] for argument in after}
    for argument in before:
        if not argument.startswith("--") or argument.split("=")[0] in repeated:
            continue
        flag = argument[2:].split("=")[0].rstrip("+")
        for key in keys:
            if key == flag or key.startswith(f"{flag}.") or flag.startswith(f"{key}."):
                raise UserError(
                    f"--{flag}: precedes --config {config}, which sets {key} and would override it; expected --config first"
                )


def _keys(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


class OneSentence:
    """A mixin for jsonargparse parsers: their error messages become a `UserError` of one sentence.

    Files and values are parsed within the limits of `foreign.check_yaml`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"parser_mode": LIMITED_YAML, **options})

    def parse_args(self, args: Any = None, *more: Any, **options: Any) -> Namespace:
        _check_values(sys.argv[1:] if args is None else args)
        if getattr(self, "default_env", False):
            _check_values(f"{name}={value}" for name, value in os.environ.items() if name.startswith("PL_"))
        with foreign.parsing("a flag, or a file for a section of the recipe", "YAML", "cannot be read"):
            return super().parse_args(args, *more, **options)  # type: ignore[misc]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        actions = getattr(self, "_actions", [])
        options = [option for action in actions for option in action.option_strings]
        raise UserError(sentence(message, [action.dest for action in actions], options)) from ex


def _check_values(arguments: Iterable[Any]) -> None:
    """Check the values of arguments `--flag value`, `--flag=value` or `NAME=value`, which jsonargparse parses as YAML.

    Raises:
        UserError: a value exceeds the limits of `foreign.check_yaml`.
    """
    flag = "command line"
    for argument in map(str, arguments):
        value = argument
        if re.match(r"--?[a-z]|PL_", argument, re.IGNORECASE):
            flag, _, value = argument.partition("=")
        with foreign.parsing(flag, "a shorter and simpler value", "cannot be parsed"):
            foreign.check_yaml(value)


class Parser(OneSentence, ArgumentParser):  # type: ignore[misc]
    """A jsonargparse parser whose error messages are one sentence."""

    def add_flag(self, name: str, help: str) -> None:
        """Add an option that is off by default and accepts `--x`, `--x true` and `--x false`."""
        add_flag(self, name, help)


def add_flag(parser: ArgumentParser, name: str, help: str) -> None:
    """Add an option as `Parser.add_flag` does, to a parser of another class such as LightningCLI's."""
    parser.add_argument(name, type=bool, nargs="?", const=True, default=False, help=help)


def recipe_parser(prog: str, description: str) -> Parser:
    """Return a parser with `--config` and a flag for every key of a recipe."""
    parser = Parser(prog=prog, description=description)
    parser.add_argument("--config", action=ActionConfigFile, help=HELP["config"])
    seed = Recipe().seed_everything
    parser.add_argument("--seed_everything", type=int, default=seed, help=HELP["seed_everything"])
    for name, section in SECTIONS.items():
        parser.add_class_arguments(section, name)
    return parser


def run_options(parser: ArgumentParser, *, resume: bool = True) -> None:
    """Add `--out`, `--overwrite` and, if runs of the command can be continued, `--resume`."""
    parser.add_argument("--out", type=str | None, default=None, help=HELP["out"])
    add_flag(parser, "--overwrite", HELP["overwrite"])
    if resume:
        add_flag(parser, "--resume", HELP["resume"])


def result_options(parser: ArgumentParser) -> None:
    """Add `--out` and `--overwrite` for a command that writes results into a folder."""
    parser.add_argument("--out", type=str | None, default=None, help=HELP["out of results"])
    add_flag(parser, "--overwrite", HELP["overwrite files"])


def predict_options(parser: ArgumentParser) -> None:
    """Add the options of `predict` that all packages have."""
    parser.add_argument(
        "--preprocess",
        type=Literal["auto", "none"] | None,
        default=None,
        help="auto rotates pictures by their EXIF tag, converts and resizes them, and finds, inverts and centers the digit if"
        " the network was trained on such images; none accepts only pictures of the network's size; null is auto for picture"
        " files and none for arrays and tables",
    )
    add_flag(parser, "--save_inputs", "write inputs.png and inputs.npz, the images as the network receives them")
    parser.add_argument(
        "--format",
        type=Literal["full", "kaggle"],
        default="full",
        help="the columns of predictions.csv: full for index, label and probabilities; kaggle for ImageId and Label",
    )


def to_recipe(options: Namespace) -> Recipe:
    """Return the checked recipe in the result of `recipe_parser`.

    Raises:
        UserError: a value is invalid.
    """
    # jsonargparse adds `__path__` to a section that is read from a file, as in `--model section.yaml`.
    sections = {name: options[name].as_dict() for name in SECTIONS}
    values: dict[str, Any] = {
        name: {key: value for key, value in section.items() if key != "__path__"} for name, section in sections.items()
    }
    return check(with_paths(Recipe.from_dict({"seed_everything": options.seed_everything, **values})))


def with_paths(recipe: Recipe) -> Recipe:
    """Return `recipe` with a leading `~` in its paths replaced by the home folder."""
    model, data = recipe.model, recipe.data
    weights = str(expand(model.weights)) if model.weights else model.weights
    path = str(expand(data.path)) if data.path else data.path  # an empty or missing path is refused by `check`
    return replace(recipe, model=replace(model, weights=weights), data=replace(data, path=path))


def sentence(message: str, keys: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """Return a parser's error message as one line: the key, the value, what was expected.

    Args:
        message: the error message.
        keys: the keys that the parser knows.
        options: its options with their dashes, such as `--model.hidden`.
    """
    text = re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", message)).strip()
    text = re.sub(r'^Parser key "([^"]+)"(?: element \d+)?:', r"\1:", text)
    if m := re.match(r"(\S+): - Expected a path but (\S+) either not accessible", text):
        return f"{m[1]}: {m[2]}; expected the name of a class"
    if m := re.match(
        r"(\S+): Does not validate .*? Errors: - (.*) Given value type: .*: \[?(NestedArg|Namespace)\(", text
    ):
        problems = [problem for problem in m[2].split(" - ") if not problem.startswith("Expected a <class")]
        return f"{m[1]}: {problems[0] if problems else m[2]}"  # an argument of a class, such as that of a callback
    if m := re.match(
        r"(\S+): Does not validate against any of the Union subtypes Subtypes: (.*?) Errors: .*Given value: (.*)$", text
    ):
        return f"{m[1]}: {m[3]}; expected {OF_KEYS.get(m[1]) or _type_in_words(m[2])}"
    if m := re.match(r"(\S+): (?:Problem with [^:]*: )?Expected a (.*?)\.? Got value: (.*)$", text):
        return f"{m[1]}: {m[3]}; expected {OF_KEYS.get(m[1]) or _type_in_words(m[2])}"
    if m := re.match(r"Key must be a string, got: (.+?)\.?$", text):
        return _unknown(f"unknown key {m[1]}", m[1], keys, keys)
    if m := re.match(r"the following arguments are required: (.+)", text):
        return f"{m[1]}: missing; expected a value, see --help"
    if m := re.match(r"unrecognized arguments: ([^-]\S*)", text, re.IGNORECASE):
        return f"unexpected argument {m[1]}; expected only those that --help lists"
    if m := re.match(r"unrecognized arguments: (\S+)", text, re.IGNORECASE):
        return _unknown(f"unknown option {m[1]}", m[1].split("=")[0], keys, options)
    if m := re.match(r"(?:Group '(\S+)' does not accept option |Option )'(\S+?)'", text):
        key = ".".join(part for part in (m[1], m[2]) if part)
        return _unknown(f"unknown key {key}", key, keys, keys)
    return text


def _unknown(problem: str, name: str, keys: Sequence[str], known: Sequence[str]) -> str:
    """Return a problem with the most similar of the known names, which is compared without dashes in front."""
    names = {n.lstrip("-"): n for n in known if not n.endswith("+")}  # jsonargparse adds --x+ for each list --x
    similar = [names[n] for n in difflib.get_close_matches(name.lstrip("-"), names, 1)]
    kind = "a key of the recipe" if any("." in key for key in keys) else "an option"
    return f"{problem}; expected {'perhaps ' + similar[0] if similar else f'{kind}, see --help'}"


def _type_in_words(types: str) -> str:
    """Return a type in plain words, such as "a or b" for "typing.Literal['a', 'b']"."""
    parts = [n.strip("'\"") for n in re.findall(r"'([^']*)'|(dict\[int, float\]|[\w.]+)", types) for n in n if n]
    words = [WORDS.get(n, n.rpartition(".")[2]) for n in parts]
    plain = [word for word in words if word not in ("class", "typing", "Literal", "Optional", "Union")]
    return " or ".join(dict.fromkeys(plain)) or types
