"""What in a data set a person may not have meant is said in one line before training, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from minigrad_helpers import Command, flags

from minigrad import datasets
from minigrad.datasets import review

RNG = np.random.default_rng(0)


def warned(validation_size: int = 0, **arrays: Any) -> list[str]:
    """The warnings about a data set of 600 images of three classes, but for what `arrays` replaces."""
    usual: dict[str, Any] = {
        "x_train": RNG.integers(0, 256, (600, 5, 5)).astype(np.uint8),
        "y_train": np.arange(600) % 3,
        "x_test": RNG.integers(0, 256, (30, 5, 5)).astype(np.uint8),
        "y_test": np.arange(30) % 3,
    }
    np.savez("data.npz", **{**usual, **arrays})
    return review.warnings(datasets.load("data.npz", validation_size))


def test_a_usual_data_set_is_not_warned_about() -> None:
    assert warned() == []
    assert review.warnings(datasets.load("mnist", None)) == []
    for scale in (1, 100):
        x = {name: RNG.normal(0, scale, (n, 4)) for name, n in (("x_train", 600), ("x_test", 30))}
        assert warned(**x) == []


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            1 + np.arange(600) % 3,
            "y_train: class 0 has no training images; if the labels start at 1, subtract 1 from each of them",
        ),
        ((np.arange(600) % 3) * 2, "y_train: classes 1, 3 have no training images"),
        (np.where(np.arange(600) % 2, 4, 0), "y_train: classes 1, 2, 3 have no training images"),
        (np.where(np.arange(600) % 2, 1, 3), "y_train: classes 0, 2 have no training images"),
        (np.full(600, 2), "y_train: all training images belong to class 2; expected at least two classes"),
    ],
)
def test_classes_without_images(labels: np.ndarray, sentence: str) -> None:
    assert warned(y_train=labels, y_test=labels[:30]) == [sentence]


def test_many_empty_classes_are_counted() -> None:
    (found,) = warned(x_train=np.tile(RNG.integers(1, 256, (100, 5, 5)).astype(np.uint8), (31, 1, 1)),
                      y_train=np.where(np.arange(3100) % 2, 30, 0), y_test=np.zeros(30, int))  # fmt: skip
    assert found == "y_train: classes 1, 2, 3, 4, 5 and 24 more have no training images"


def test_a_class_that_is_held_out_whole() -> None:
    """What counts is what is trained on."""
    labels = np.array([0, 1] * 300)
    held_out = datasets.split(600, 60, 42)[1]
    labels[held_out[0]] = 2
    assert warned(60, y_train=labels, y_test=labels[:30]) == ["y_train: class 2 has no training images"]


@pytest.mark.parametrize(("classes", "count"), [(6, 600), (7, 600)])
def test_more_classes_than_one_for_each_hundred_images(classes: int, count: int) -> None:
    labels = np.arange(count) % classes
    sentence = f"y_train: there are only {count} training images for 7 classes, fewer than 100 per class"
    assert warned(y_train=labels, y_test=labels[:30]) == ([] if classes == 6 else [sentence])


def test_floats_that_look_like_pixels() -> None:
    pixels = RNG.integers(0, 256, (600, 5, 5)).astype(float)
    pixels[0, 0, :2] = 0, 255
    both = warned(x_train=pixels, x_test=pixels[:30])
    assert [text.split(":")[0] for text in both] == ["x_train", "x_test"]
    assert "floats range from 0 to 255 and are not scaled" in both[0]
    assert warned(x_train=pixels / 255, x_test=pixels[:30] / 255) == []


def test_constant_images() -> None:
    images = RNG.integers(0, 256, (600, 5, 5)).astype(np.uint8)
    images[7] = 9
    assert warned(x_train=images) == ["x_train: all pixels of image 7 have the same value"]
    images[100:200] = 0
    expected = "x_train: in 101 images all pixels have the same value; the first one is image 7"
    assert warned(x_train=images) == [expected]


@pytest.mark.parametrize(("shape", "is_warned"), [((3, 32, 32), True), ((1, 8, 8), True), ((8, 8, 3), False)])
def test_channels_first(shape: tuple[int, ...], is_warned: bool) -> None:
    arrays = {
        name: RNG.integers(0, 256, (n, *shape)).astype(np.uint8) for name, n in (("x_train", 600), ("x_test", 30))
    }
    found = warned(**arrays)
    assert [text.split(":")[0] for text in found] == (["x_train", "x_test"] if is_warned else [])
    assert all(str(shape) in text and "(channels, height, width)" in text for text in found)


def test_a_command_warns_before_it_trains(command: Command) -> None:
    warned(y_train=1 + np.arange(600) % 3)
    result = command(*flags("data.npz", "out"))
    assert result.status == 0
    sentence = "y_train: class 0 has no training images; if the labels start at 1, subtract 1 from each of them"
    assert result.err.splitlines() == [f"warning: data.npz: {sentence}"]


@pytest.mark.parametrize(
    ("names", "pair"),
    [(["Cat", "cat", "dog"], ("Cat", "cat")), (["1", "01", "2"], ("1", "01")), (["a", "A", "b"], None)],
)
def test_class_names_that_are_nearly_equal(names: list[str], pair: tuple[str, str] | None) -> None:
    sentence = (
        f"class_names: {pair[0]!r} and {pair[1]!r} are different classes; if they are the same, rename one"
        if pair
        else ""
    )
    assert [text.removesuffix(" of them") for text in warned(class_names=np.array(names))] == [sentence] * bool(pair)
