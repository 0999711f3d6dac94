"""The constructors have the recipe's keys as arguments, with the same order, types and defaults."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from lightning_module.data import ImageDataModule
from lightning_module.model import LitClassifier
from minigrad.recipes.schema import Data, Model

PAIRS = [(Model, LitClassifier), (Data, ImageDataModule)]
# Further arguments, which the command links.
LINKED = {
    LitClassifier: ["input_shape", "classes", "input_scale", "class_names", "mnist_like"],
    ImageDataModule: ["seed", "num_workers"],
}


def default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(("section", "constructor"), PAIRS)
def test_names_and_order_are_the_recipes(section: Any, constructor: Any) -> None:
    names = list(inspect.signature(constructor).parameters)
    assert names == [f.name for f in dataclasses.fields(section)] + LINKED[constructor]


@pytest.mark.parametrize(("section", "constructor"), PAIRS)
def test_defaults_are_the_recipes(section: Any, constructor: Any) -> None:
    actual = inspect.signature(constructor).parameters
    for field in dataclasses.fields(section):
        assert plain(actual[field.name].default) == default(field), field.name


@pytest.mark.parametrize(("section", "constructor"), PAIRS)
def test_types_are_the_recipes(section: Any, constructor: Any) -> None:
    expected, actual = get_type_hints(section), get_type_hints(constructor.__init__)
    for field in dataclasses.fields(section):
        a, b = expected[field.name], actual[field.name]
        if get_origin(a) is list:
            # A tuple stands as the default, since a list would be shared by all calls.
            assert get_origin(b) in (list, Sequence), field.name
            assert get_args(a) == get_args(b), field.name
        else:
            assert a == b, field.name
