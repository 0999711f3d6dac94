"""Recipes: one closed schema, found by name or path, and refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrad_helpers import sentence_of

from minigrad import datasets, recipes
from minigrad.recipes import Data, EarlyStopping, Model, Recipe, Trainer
from minigrad.runs import UserError

SECTION_KEYS = {name: [f.name for f in fields(section)] for name, section in recipes.SECTIONS.items()}


def test_simple_is_the_default_and_the_others_are_there() -> None:
    assert {"simple", "advanced", "cnn"} <= set(recipes.names())
    assert recipes.load("simple") == recipes.load() == Recipe()
    advanced = recipes.load("advanced").model
    assert (advanced.hidden, advanced.dropout, advanced.optimizer) == ([128, 64], 0.2, "adam")
    cnn = recipes.load("cnn")
    assert (cnn.model.architecture, cnn.model.channels, cnn.model.hidden) == ("cnn", [8, 16], [])
    assert (cnn.model.optimizer, cnn.model.schedule, cnn.data.augment) == ("adam", "one_cycle", "shift")


@pytest.mark.parametrize("name", recipes.names())
def test_a_built_in_recipe_says_every_key_of_the_schema_in_its_order(name: str) -> None:
    content = yaml.safe_load(Path(recipes.find(name)).read_text(encoding="utf-8"))
    assert list(content) == ["seed_everything", *recipes.SECTIONS]
    assert {section: list(content[section]) for section in recipes.SECTIONS} == SECTION_KEYS


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("trainer", "max_epochs", 1.5, "trainer.max_epochs: 1.5; expected a whole number"),
        ("trainer", "max_epochs", True, "trainer.max_epochs: True; expected a whole number"),
        ("data", "batch_size", "64", "data.batch_size: '64'; expected a whole number"),
        ("data", "validation_size", 10.0, "data.validation_size: 10.0; expected a whole number or null"),
        ("data", "path", 3, "data.path: 3; expected text"),
        ("model", "batch_norm", "no", "model.batch_norm: 'no'; expected true or false"),
        ("model", "learning_rate", "fast", "model.learning_rate: 'fast'; expected a number"),
        ("model", "activation", "gelu", "model.activation: 'gelu'; expected relu or tanh or sigmoid"),
        ("model", "hidden", 10, r"model.hidden: 10; expected a list such as \[128, 64\]"),
        ("model", "hidden", [10.5], r"model.hidden: \[10.5\]; expected a list"),
        ("model", "hidden", "12", "model.hidden: '12'; expected a list"),
        ("model", "learning_rate", None, "model.learning_rate: null; expected a value"),
    ],
)
def test_a_value_of_another_type_from_python_is_refused(section: str, key: str, value: object, said: str) -> None:
    """The command line cannot produce them: its parser converts or refuses."""
    recipe = Recipe()
    setattr(getattr(recipe, section), key, value)
    for entry in (recipes.check, recipes.as_recipe):
        with pytest.raises(UserError, match=f"^{said}"):
            entry(recipe)


def test_numbers_of_numpy_and_tuples_become_plain_values() -> None:
    recipe = Recipe(
        np.int64(7), Model(hidden=np.array([4, 5]), channels=(8, np.int32(16)), learning_rate=np.float64(0.5))
    )
    plain = recipes.as_recipe(recipe)
    assert plain == Recipe(7, Model(hidden=[4, 5], learning_rate=0.5))
    assert {type(value) for _, value in recipes.flat(plain)} == {int, float, str, bool, list, type(None)}
    assert isinstance(recipe.model.channels, tuple)  # the caller's recipe is unchanged


positive = st.floats(0, 1e6, exclude_min=True)
fraction = st.floats(0, 1, exclude_max=True)
models = st.builds(
    Model,
    architecture=st.sampled_from(["mlp", "cnn"]),
    channels=st.lists(st.integers(1, 10**6), min_size=1, max_size=3),
    kernel_size=st.integers(0, 499).map(lambda half: 2 * half + 1),
    hidden=st.lists(st.integers(1, 10**6), max_size=3),
    activation=st.sampled_from(["relu", "tanh", "sigmoid"]),
    dropout=fraction,
    batch_norm=st.booleans(),
    optimizer=st.sampled_from(["rmsprop", "adam", "adamw"]),
    learning_rate=positive,
    weight_decay=positive,
    schedule=st.sampled_from(["constant", "cosine", "one_cycle", "reduce_on_plateau"]),
    weights=st.none() | st.sampled_from(["w.safetensors", "1", "yes", "a: b", "C:\\weights #1"]),
)
whole_recipes = st.builds(
    Recipe,
    seed_everything=st.integers(0, 2**32 - 1),
    model=models,
    data=st.builds(
        Data,
        path=st.sampled_from(["mnist", "my data.npz", "1", "no", "[a].npz", "é"]),
        batch_size=st.integers(1, 10**9),
        validation_size=st.integers(1, 10**9),
        augment=st.sampled_from(["none", "shift"]),
    ),
    trainer=st.builds(Trainer, max_epochs=st.integers(0, 10**9)),
    early_stopping=st.builds(
        EarlyStopping,
        patience=st.none() | st.integers(1, 10**9),
        monitor=st.sampled_from(["val_loss", "val_accuracy"]),
    ),
)


@settings(max_examples=25)
@given(whole_recipes)
def test_a_recipe_written_and_read_is_the_same(recipe: Recipe) -> None:
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    path = Path("written.yaml")
    path.write_text(recipes.dump(recipe), encoding="utf-8")
    assert recipes.load(str(path)) == recipe


def test_a_path_that_looks_like_a_number_stays_text() -> None:
    Path("written.yaml").write_text(recipes.dump(Recipe(data=Data(path="1e3"))), encoding="utf-8")
    assert recipes.load("written.yaml").data.path == "1e3"


def test_a_recipe_may_leave_keys_out() -> None:
    Path("short.yaml").write_text("model: {hidden: [3]}\n")
    assert recipes.load("short.yaml") == Recipe(model=Model(hidden=[3]))


def test_names_are_resolved_behind_config_alone() -> None:
    path = recipes.find("simple")
    assert Path(path).is_file()
    words = ["fit", "--config", "simple", "--config=simple", "-c", "simple", "--data.path", "simple"]
    assert recipes.resolve(words) == ["fit", "--config", path, f"--config={path}", "-c", path, "--data.path", "simple"]
    assert words[2] == "simple", "what was given stays as it was"
    assert recipes.resolve([]) == []


def test_flags_win_over_the_recipe_and_a_later_recipe_over_an_earlier() -> None:
    Path("mine.yaml").write_text("model: {learning_rate: 0.5}\n")

    def parse(*words: str) -> Recipe:
        return recipes.to_recipe(recipes.recipe_parser("x", "").parse_args(recipes.resolve(words)))

    assert parse("--config", "mine.yaml").model.learning_rate == 0.5
    assert parse("--config", "mine.yaml", "--model.learning_rate", "0.25").model.learning_rate == 0.25
    both = parse("--config", "advanced", "--config", "mine.yaml").model
    assert (both.learning_rate, both.hidden) == (0.5, [128, 64])


# Refusals.


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("modle: {hidden: [3]}", ("modle", "model.hidden")),
        ("model: {hiden: [3]}", ("unknown key model.hiden", "model.hidden")),
        ("class_weight: {0: 1.0}", ("unknown key 0", "expected a key of the recipe")),
        ("model: {hidden: [0]}", ("model.hidden: 0", "1 or more")),
        ("model: {hidden: [8, -3]}", ("model.hidden: -3", "1 or more")),
        ("model: {hidden: 10}", ("model.hidden: 10", "a list")),
        ("model: {learning_rate: fast}", ("model.learning_rate: fast", "a number")),
        ("model: {learning_rate: -0.1}", ("model.learning_rate: -0.1", "from 0")),
        ("model: {learning_rate: .nan}", ("model.learning_rate: nan", "a number")),
        ("model: {learning_rate: .inf}", ("model.learning_rate: inf", "below 1e+37")),
        ("model: {optimizer: lion}", ("model.optimizer: lion", "expected sgd or rmsprop or adam or adamw")),
        ("model: {activation: gelu}", ("model.activation: gelu", "relu or tanh or sigmoid")),
        ("model: {architecture: rnn}", ("model.architecture: rnn", "expected mlp or cnn")),
        ("model: {architecture: cnn, channels: []}", ("model.channels: []", "one number or more", "cnn")),
        ("model: {architecture: cnn, channels: [8, 0]}", ("model.channels: 0", "1 or more")),
        ("model: {channels: [-1]}", ("model.channels: -1", "1 or more")),
        ("model: {channels: [1000001]}", ("model.channels: 1000001", "at most 1000000")),
        ("model: {channels: 8}", ("model.channels: 8", "a list")),
        ("model: {channels: [1.5]}", ("model.channels", "1.5", "whole number")),
        ("model: {kernel_size: 4}", ("model.kernel_size: 4", "expected an odd number")),
        ("model: {architecture: cnn, kernel_size: 2}", ("model.kernel_size: 2", "expected an odd number")),
        ("model: {kernel_size: 0}", ("model.kernel_size: 0", "1 or more")),
        ("model: {kernel_size: -3}", ("model.kernel_size: -3", "1 or more")),
        ("model: {kernel_size: 1001}", ("model.kernel_size: 1001", "at most 1000")),
        ("model: {kernel_size: [3, 3]}", ("model.kernel_size", "a whole number")),
        ("model: {batch_norm: maybe}", ("model.batch_norm: maybe", "true or false")),
        (
            "model: {schedule: linear}",
            ("model.schedule: linear", "constant or cosine or one_cycle or reduce_on_plateau"),
        ),
        ("model: {momentum: 0.9, optimizer: rmsprop}", ("model.momentum: 0.9", "rmsprop", "only sgd")),
        ("model: {dropout: 1}", ("model.dropout: 1", "below 1")),
        ("model: {momentum: 1.5}", ("model.momentum: 1.5", "below 1")),
        ("model: {momentum: 0.9, optimizer: adam}", ("model.momentum: 0.9", "adam", "only sgd")),
        ("model: {weight_decay: -1}", ("model.weight_decay: -1", "from 0")),
        ("model: 3", ("model: 3", "keys under it")),
        ("data: {batch_size: 0}", ("data.batch_size: 0", "1 or more")),
        ("data: {batch_size: 1.5}", ("data.batch_size: 1.5", "whole number")),
        ("data: {validation_size: -1}", ("data.validation_size: -1", "0 or more")),
        ("data: {augment: flip}", ("data.augment: flip", "expected none or shift")),
        ("trainer: {max_epochs: -1}", ("trainer.max_epochs: -1", "0 or more")),
        ("trainer: {max_epochs: many}", ("trainer.max_epochs: many", "whole number")),
        ("early_stopping: {patience: 0}", ("early_stopping.patience: 0", "1 or more")),
        ("early_stopping: {monitor: loss}", ("early_stopping.monitor: loss", "expected val_loss or val_accuracy")),
        ("{early_stopping: {patience: 1}, data: {validation_size: 0}}", ("data.validation_size: 0", "early_stopping")),
        ("{model: {schedule: reduce_on_plateau}, data: {validation_size: 0}}", ("data.validation_size: 0", "plateau")),
        ("seed_everything: -1", ("seed_everything: -1", "0 or more")),
        ("seed_everything: 4294967296", ("seed_everything: 4294967296", "at most 4294967295")),
        ("", ("bad.yaml", "does not contain keys")),
        ("- 1", ("bad.yaml", "does not contain keys")),
        ("a: [", ("bad.yaml", "YAML", "line")),
        ("model:\n\thidden: [3]", ("bad.yaml", "YAML", "line 2")),
    ],
)
def test_a_recipe_that_makes_no_sense(content: str, words: tuple[str, ...]) -> None:
    Path("bad.yaml").write_text(content)
    text = sentence_of(lambda: recipes.load("bad.yaml"))
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    "content",
    [
        "model: {channels: []}",
        "model: {architecture: cnn, channels: [1], kernel_size: 1, hidden: []}",
        "model: {architecture: cnn, kernel_size: 999}",
        "{model: {batch_norm: true, optimizer: rmsprop, schedule: one_cycle}, data: {augment: shift}}",
    ],
)
def test_a_recipe_that_makes_sense(content: str) -> None:
    Path("good.yaml").write_text(content)
    read = recipes.load("good.yaml")
    for section, keys in yaml.safe_load(content).items():
        assert {key: getattr(getattr(read, section), key) for key in keys} == keys


NULLABLE = {"model.weights", "early_stopping.patience", "data.validation_size"}


@pytest.mark.parametrize("key", [f"{s}.{k}" for s, keys in SECTION_KEYS.items() for k in keys])
def test_null_is_refused_where_a_value_is_needed(key: str) -> None:
    section, name = key.split(".")
    Path("bad.yaml").write_text(f"{section}: {{{name}: null}}")
    if key in NULLABLE:
        assert getattr(getattr(recipes.load("bad.yaml"), section), name) is None
    else:
        text = sentence_of(lambda: recipes.load("bad.yaml"))
        assert key in text
        assert "expected" in text


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("nope", ("--config nope", "no such file", "advanced", "simple")),
        ("folder", ("--config folder", "no such file")),
        ("binary", ("--config binary", "YAML")),
        ("a" * 5000, ("--config", "no such file")),
    ],
)
def test_a_recipe_that_is_not_there(argument: str, words: tuple[str, ...]) -> None:
    Path("folder").mkdir()
    Path("binary").write_bytes(b"\xff\xfe\x00")
    text = sentence_of(lambda: recipes.resolve(["--config", argument]))
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--model.foo", "1"), ("unknown option --model.foo",)),
        (("--modle.hidden", "[1]"), ("unknown option --modle.hidden", "model.hidden")),
        (("extra",), ("unexpected argument extra",)),
        (("--config",), ("--config", "expected one argument")),
        (("--model.hidden", "[3"), ("model.hidden: [3", "list")),
        (("--model.channels", "[]", "--model.architecture", "cnn"), ("model.channels: []", "cnn")),
        (("--model.channels", "[3, 0]"), ("model.channels: 0", "1 or more")),
        (("--model.kernel_size", "6"), ("model.kernel_size: 6", "odd")),
        (("--data.augment", "rotate"), ("data.augment: rotate", "none or shift")),
        (("--model.batch_norm", "2"), ("model.batch_norm: 2", "true or false")),
        (("--model", "nowhere.yaml"), ("model", "nowhere.yaml")),
        (("--data", "binary"), ("section of the recipe", "YAML")),
        (("--overwrite", "maybe"), ("overwrite: maybe", "true or false")),
        (("--resume", "7"), ("resume: 7", "true or false")),
    ],
)
def test_a_flag_that_makes_no_sense(
    refused: Callable[..., str], flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    Path("binary").write_bytes(b"\xff\xfe\x00")
    text = refused(*flags)
    for word in words:
        assert word in text, text


def test_an_element_of_a_list_is_refused_as_the_list_is() -> None:
    said = recipes.sentence("Parser key \"rates\" element 1: Expected a <class 'float'>. Got value: x")
    assert said == "rates: x; expected a number"


# Words.


@pytest.mark.parametrize(
    ("words", "flag", "key"),
    [
        (["--model.learning_rate", "0.5", "--config", "simple"], "--model.learning_rate", "model.learning_rate"),
        (["--seed_everything=7", "--config", "simple"], "--seed_everything", "seed_everything"),
        (["--model.hidden", "[5]", "--config=cnn"], "--model.hidden", "model.hidden"),
        (["--model", "{}", "-c", "simple"], "--model", "model.architecture"),
        (
            ["--config", "simple", "--data.batch_size", "8", "--config", "mine.yaml"],
            "--data.batch_size",
            "data.batch_size",
        ),
        (
            ["fit", "--trainer.callbacks+=EMAWeightAveraging", "--config", "mine.yaml"],
            "--trainer.callbacks",
            "trainer.callbacks",
        ),
    ],
)
def test_a_flag_that_a_later_file_would_undo_is_refused(words: list[str], flag: str, key: str) -> None:
    Path("mine.yaml").write_text("data: {batch_size: 4}\ntrainer: {callbacks: [{class_path: Timer}]}")
    text = sentence_of(lambda: recipes.resolve(words))
    for word in (f"{flag}: precedes --config", f"sets {key}", "expected --config first"):
        assert word in text


@pytest.mark.parametrize(
    "words",
    [
        ["--out", "x", "--config", "simple"],
        ["--config", "simple", "--model.hidden", "[5]"],
        ["--data.path", "x.npz", "--config", "mine.yaml"],
        ["--config", "simple", "--config", "mine.yaml"],
        ["--data.batch_size", "8", "--config", "mine.yaml", "--data.batch_size=8"],
    ],
)
def test_a_flag_that_no_later_file_sets_may_stand_anywhere(words: list[str]) -> None:
    Path("mine.yaml").write_text("data: {batch_size: 4}")
    assert len(recipes.resolve(words)) == len(words)


def test_the_home_folder_has_a_short_name_in_files_and_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("data: {path: ~/my.npz}\nmodel: {weights: ~/w.safetensors}")
    recipe = recipes.load("~/mine.yaml")
    assert (recipe.data.path, recipe.model.weights) == (f"{tmp_path}/my.npz", f"{tmp_path}/w.safetensors")
    parser = recipes.recipe_parser("x", "")
    assert recipes.to_recipe(parser.parse_args(["--data.path", "~/b.npz"])).data.path == f"{tmp_path}/b.npz"
    assert recipes.resolve(["--config=~/mine.yaml"]) == [f"--config={tmp_path}/mine.yaml"]
    np.savez(tmp_path / "my.npz", x_train=np.ones((4, 2)), y_train=[0, 1, 0, 1], x_test=np.ones((2, 2)), y_test=[0, 1])
    assert datasets.load("~/my.npz").classes == 2
    assert len(datasets.load_images("~/my.npz", (2,), 1.0).images) == 2


# Records.


def test_a_recipe_with_settings_that_have_no_keys_is_refused() -> None:
    recipe = recipes.Recipe(seed_everything=7)
    Path("a.yaml").write_text(recipes.dump(recipe, extra={"optimizer": {"class_path": "Lion"}, "trainer.x": [1]}))
    text = sentence_of(lambda: recipes.load("a.yaml"))
    for word in ("--config a.yaml", "a recipe has no keys (optimizer, trainer.x)", "config.yaml"):
        assert word in text
    assert recipes.read_trained(Path("a.yaml")) == (recipe, {"optimizer": {"class_path": "Lion"}, "trainer.x": [1]})


def test_a_record_of_an_earlier_version_lacks_newer_keys() -> None:
    recipe = recipes.Recipe(early_stopping=EarlyStopping(3))
    text = recipes.dump(recipe)
    Path("a.yaml").write_text(text.replace(", monitor: val_loss", ""))
    assert Path("a.yaml").read_text() != text
    assert recipes.read_trained(Path("a.yaml")) == (recipe, {})


def test_a_record_may_have_the_keys_of_one_package() -> None:
    recipe = recipes.Recipe(seed_everything=7)
    Path("a.yaml").write_text(recipes.dump(recipe, {"ema": 0.9}))
    assert recipes.read_trained(Path("a.yaml")) == (recipe, {"ema": 0.9})
    assert "unknown key ema" in sentence_of(lambda: recipes.load("a.yaml"))


# The validation set.


@pytest.mark.parametrize(("size", "expected"), [(5, 0), (20, 2), (199, 19), (49_999, 4999), (60_000, 5000)])
def test_by_default_a_tenth_is_held_out(size: int, expected: int) -> None:
    assert recipes.Recipe().data.validation_size is None
    x, y = np.ones((size, 2), np.float32), np.arange(size) % 2
    np.savez("a.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    data = datasets.load("a.npz", None)
    assert (len(data.validation.labels), len(data.train.labels)) == (expected, size - expected)


def test_of_too_few_images_none_can_be_watched() -> None:
    np.savez("a.npz", x_train=np.ones((5, 2)), y_train=[0, 1, 0, 1, 0], x_test=np.ones((2, 2)), y_test=[0, 1])
    recipe = recipes.Recipe(early_stopping=recipes.EarlyStopping(patience=2))
    text = sentence_of(lambda: recipes.refuse_misfit(recipe, datasets.load("a.npz", None)))
    assert "data.validation_size: null holds out none of 5 training images; expected 1 or more" in text
