"""Matching the layers of two models, and the map as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compare.porting import map_file
from compare.porting.mapping import match
from compare.porting.model import Layer, Parameter, Structure
from compare.porting.result import LayerPair
from compare.porting.translation import Translation
from minigrad.runs import UserError

SHAPES = {
    "conv2d": {"weight": (8, 3, 3, 3), "bias": (8,)},
    "linear": {"weight": (4, 8), "bias": (4,)},
    "batch_norm": {"weight": (8,), "running_mean": (8,)},
}


def layer(name: str, kind: str, output: tuple[int, ...] = (2, 8), **roles: tuple[int, ...] | None) -> Layer:
    """Return a layer with the parameters of its kind; `role=SHAPE` changes one, None removes it."""
    shapes = {role: shape for role, shape in {**SHAPES.get(kind, {}), **roles}.items() if shape is not None}
    parameters = tuple(Parameter(f"{name}.{role}", role, shape, True) for role, shape in shapes.items())
    return Layer(name, kind, {}, parameters, (output,), output)


def model(*layers: Layer, others: tuple[Parameter, ...] = ()) -> Structure:
    return Structure("torch", "torch", "channels_first", layers, others)


def names(pairs: list[LayerPair]) -> list[tuple[str | None, str | None]]:
    return [(pair.left, pair.right) for pair in pairs]


def test_layers_of_the_same_shape_are_matched_by_order_and_groups_may_cross() -> None:
    left = model(layer("a", "conv2d"), layer("b", "conv2d"), layer("short", "conv2d", weight=(8, 3, 1, 1)))
    right = model(layer("x", "conv2d", weight=(8, 3, 1, 1)), layer("y", "conv2d"), layer("z", "conv2d"))
    assert names(match(left, right)) == [("a", "y"), ("b", "z"), ("short", "x")]


def test_equal_names_are_stronger_than_the_order() -> None:
    left = model(layer("block.query", "linear"), layer("block.key", "linear"))
    right = model(layer("block_key", "linear"), layer("block_query", "linear"))
    assert names(match(left, right)) == [("block.query", "block_query"), ("block.key", "block_key")]


def test_with_a_layer_too_few_the_most_similar_names_are_matched_in_order() -> None:
    left = model(layer("conv1", "conv2d"), layer("conv2", "conv2d"), layer("conv3", "conv2d"))
    right = model(layer("my_conv1", "conv2d"), layer("my_conv3", "conv2d"))
    pairs = match(left, right)
    assert names(pairs) == [("conv1", "my_conv1"), ("conv2", None), ("conv3", "my_conv3")]


def test_a_layer_of_another_shape_has_no_partner_but_a_likely_one() -> None:
    pairs = match(model(layer("fc", "linear")), model(layer("dense", "linear", weight=(4, 9))))
    assert names(pairs) == [("fc", None), (None, "dense")]
    assert pairs[0].partner == "dense: its weight has the shape (4, 9), not (4, 8)"


def test_a_missing_bias_does_not_prevent_a_match() -> None:
    assert names(match(model(layer("fc", "linear")), model(layer("dense", "linear", bias=None)))) == [("fc", "dense")]


def test_layers_without_weights_are_matched_between_those_with_weights() -> None:
    relu, softmax = layer("act", "activation"), layer("softmax", "activation")
    left = model(layer("a", "conv2d"), layer("b", "linear"), relu)
    right = model(layer("x", "conv2d"), softmax, layer("y", "linear"), layer("out", "activation"))
    assert names(match(left, right)) == [("a", "x"), (None, "softmax"), ("b", "y"), ("act", "out")]


def test_a_parameter_outside_of_all_layers_and_layers_of_other_classes_are_matched_by_shape() -> None:
    token = Parameter("cls_token", "cls_token", (1, 1, 8), True)
    right = model(layer("add_token", "ClassToken", token=(1, 1, 8)), layer("dense", "linear"))
    pairs = match(model(layer("fc", "linear"), others=(token,)), right)
    assert names(pairs) == [("fc", "dense"), ("cls_token", "add_token")]
    subjects = Translation(model(layer("fc", "linear"), others=(token,)), right, pairs).subjects
    assert subjects["cls_token"].theirs.name == "add_token.token"


FLAT = model(
    layer("conv", "conv2d", (2, 2, 3, 1)),
    Layer("flatten", "flatten", {}, (), ((2, 2, 3, 1),), (2, 6)),
    Layer("fc", "linear", {}, (Parameter("fc.weight", "weight", (4, 6), True),), ((2, 6),), (2, 4)),
)
ROWS = [LayerPair("fc", "fc", "linear", rows=(2, 3, 1))]


def test_rows_permute_the_weight_its_input_and_the_flattened_output() -> None:
    translation = Translation(FLAT, FLAT, match(FLAT, FLAT, ROWS))
    images = np.arange(12.0).reshape(2, 2, 3, 1)
    first, last = images.reshape(2, 6), images.transpose(0, 2, 3, 1).reshape(2, 6)
    conv, flatten, fc = (pair[0] for pair in translation.layers)
    np.testing.assert_array_equal(translation.output_to_left(flatten, last), first)
    np.testing.assert_array_equal(translation.input_to_right(fc, first), last)
    np.testing.assert_array_equal(translation.output_to_left(conv, images), images)
    weight = np.random.default_rng(0).normal(size=(4, 6))
    copied = translation.parameters_to_right({"fc.weight": weight})
    np.testing.assert_allclose(last @ copied["fc.weight"].T, first @ weight.T)
    np.testing.assert_array_equal(translation.parameters_to_left(copied)["fc.weight"], weight)


def test_a_map_is_read_as_it_was_written(tmp_path: Path) -> None:
    left, right = model(*FLAT.layers, layer("0", "linear")), model(*FLAT.layers, layer("x#2", "activation"))
    pairs = match(left, right, ROWS)
    path = tmp_path / "map.yaml"
    path.write_text(map_file.dump(pairs))
    assert "rows: [2, 3, 1]" in path.read_text()
    again = map_file.read(path, left, right)
    assert map_file.dump(match(left, right, again)) == map_file.dump(pairs)
    assert {(pair.left, pair.right, pair.rows) for pair in again} == {(p.left, p.right, p.rows) for p in pairs}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layers: 3", "no list of layers"),
        ("{", "--map"),
        ("layers: [{left: fcc, right: fc}]", "the left model has no layer fcc; expected one of its layers, such as fc"),
        ("layers: [{left: fc}]", "right is missing"),
        ("layers: [{left: fc, right: fc, row: [1]}]", "row is no key"),
        ("layers: [{left: fc, right: conv}]", "the weight of fc has the shape (4, 6), that of conv (8, 3, 3, 3)"),
        ("layers: [{left: fc, right: null}, {left: fc, right: fc}]", "the left layer fc occurs twice"),
        ("layers: [{left: fc, right: fc, rows: [2, 2, 2]}]", "whose product is 6"),
        ("layers: [{left: conv, right: conv, rows: [2, 3, 1]}]", "only in a pair of linear layers"),
        ("layers: [{left: null, right: null}]", "left and right are null"),
    ],
)
def test_an_invalid_map_is_refused_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        map_file.read(path, FLAT, FLAT)
    assert words in str(error.value)
    assert str(path) in str(error.value)
