"""Images to predict: each source gives the same pixels, and what doesn't fit the network is refused in one sentence."""

from __future__ import annotations

import gzip
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import sentence_of
from PIL import Image

from minigrad import datasets
from minigrad.datasets import load_images
from minigrad.runs import UserError

PIXELS = 1 / 255
GREY = np.random.default_rng(0).integers(0, 256, (5, 3, 4)).astype(np.uint8)
SQUARE = GREY[:, :, :3].copy()
COLOUR = np.random.default_rng(1).integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)


def same(path: str | Path, expected: np.ndarray, scale: float = PIXELS) -> list[str] | None:
    """`path` gives `expected`; returns the names."""
    names, images = load_images(str(path), expected.shape[1:], scale)
    assert images.dtype == expected.dtype
    np.testing.assert_array_equal(images, expected)
    return names


def says(path: str | Path, *words: str, shape: tuple[int, ...] = (3, 4), scale: float = PIXELS, **options: Any) -> None:
    text = sentence_of(lambda: load_images(path, shape, scale, **options))
    for word in words:
        assert word in text, text


def pictures(folder: Path, images: np.ndarray, suffix: str = ".png") -> Path:
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}{suffix}")
    return folder


def table(path: Path, header: str | None, rows: np.ndarray) -> Path:
    lines = [header] if header else []
    path.write_text("\n".join([*lines, *(",".join(map(str, row)) for row in rows.tolist())]) + "\n")
    return path


# Arrays.


def test_mnist_is_its_test_images() -> None:
    same("mnist", datasets.load("mnist").test.images)


@pytest.mark.parametrize("name", ["x_test", "images", "x", "anything"])
def test_an_archive_of_images(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{name: GREY})
    assert same(tmp_path / "a.npz", GREY) is None


def test_the_test_images_of_a_data_set_are_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GREY[:2], x_train=GREY[:3], y_train=[0, 1, 0], x_test=GREY[3:], y_test=[0, 1])
    same(tmp_path / "a.npz", GREY[3:])


def test_a_single_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    same(tmp_path / "a.npy", GREY)


def test_floats_for_a_network_of_floats(tmp_path: Path) -> None:
    vectors = np.linspace(-1, 1, 12).reshape(3, 4)
    np.savez(tmp_path / "a.npz", x=vectors)
    same(tmp_path / "a.npz", vectors.astype(np.float32), scale=1.0)


def test_several_arrays_of_no_known_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=GREY, two=GREY)
    says(tmp_path / "a.npz", "a.npz", "one and two", "named x_test, images or x")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, None], object)
    np.savez(tmp_path / "a.npz", x=objects)
    np.save(tmp_path / "a.npy", objects)
    says(tmp_path / "a.npz", "pickled Python objects, which are never loaded")
    says(tmp_path / "a.npy", "a.npy", "named x_test")


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    says(tmp_path / "a.npz", "a.npz", "in another format", "expected")


def test_what_the_network_does_not_take(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GREY)
    says(tmp_path / "a.npz", "x: the images have shape (3, 4)", "expected (28, 28)", shape=(28, 28))
    says(tmp_path / "a.npz", "x: contains uint8 pixels; expected floats", scale=1.0)
    np.savez(tmp_path / "a.npz", x=GREY / 100)
    says(tmp_path / "a.npz", "x: the floats range from 0 to 2.55; expected uint8 pixels")
    np.savez(tmp_path / "a.npz", x=GREY.astype(int) * 2)
    says(tmp_path / "a.npz", "x: the integers range from", "0 to 255")
    np.savez(tmp_path / "a.npz", x=GREY[:0])
    says(tmp_path / "a.npz", "x: the shape is (0, 3, 4)", "at least one image")


# Tables.


@pytest.mark.parametrize("extra", ["", "label", "id", "id,class", "TARGET,Unnamed: 0"])
@pytest.mark.parametrize("at", [0, 5, 12])
def test_a_table_with_a_header(extra: str, at: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names, rows = [f"pixel{i}" for i in range(12)], GREY.reshape(5, 12).astype(int)
    for name in filter(None, extra.split(",")):
        names.insert(at, name)
        rows = np.insert(rows, at, 999, axis=1)
    same(table(tmp_path / "test.csv", ",".join(names), rows), GREY)
    assert capsys.readouterr().out == ""


def test_a_table_without_a_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = GREY.reshape(5, 12).astype(int)
    same(table(tmp_path / "pixels.csv", None, rows), GREY)
    assert capsys.readouterr().out == ""
    path = table(tmp_path / "labelled.csv", None, np.insert(rows, 0, 7, axis=1))
    same(path, GREY)
    reason = "by convention, because the values do not show whether the label is this column or the last one"
    note = f"{path} has no header: the first of its 13 columns is ignored as the label, {reason}\n"
    assert capsys.readouterr().out == note


@pytest.mark.parametrize(
    ("first", "last", "note"),
    [
        (
            [[2, 0, 1, 1, 0]],
            [],
            "the first of its 13 columns is ignored as the label, because its values range from 0 to 2",
        ),
        (
            [],
            [[2, 0, 1, 1, 0]],
            "the last of its 13 columns is ignored as the label, because its values range from 0 to 2",
        ),
        ([range(5)], [], "the first of its 13 columns is ignored as a row index"),
        ([range(1, 6)], [], "the first of its 13 columns is ignored as a row index"),
        (
            [[900, 77, 12, 5, 300], [2, 0, 1, 1, 0]],
            [],
            "the first of its 14 columns is ignored as a row index, and the second one is ignored as the label,"
            " because its values range from 0 to 2",
        ),
        (
            [range(5)],
            [[2, 0, 1, 1, 0]],
            "the first of its 14 columns is ignored as a row index, and the last one is ignored as the label,"
            " because its values range from 0 to 2",
        ),
    ],
)
def test_other_columns_of_a_table_without_a_header(
    first: list, last: list, note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path / "a.csv", None, np.column_stack([*first, GREY.reshape(5, 12), *last]))
    same(path, GREY)
    assert capsys.readouterr().out == f"{path} has no header: {note}\n"


def test_a_table_with_a_header_that_counts_the_columns(tmp_path: Path) -> None:
    same(table(tmp_path / "a.csv", ",".join(map(str, range(12))), GREY.reshape(5, 12)), GREY)


def test_a_table_of_other_columns(tmp_path: Path) -> None:
    rows = GREY.reshape(5, 12)
    says(table(tmp_path / "a.csv", None, rows[:, :9]), "a.csv", "has 9 columns; expected 12 columns of pixels")
    more = np.insert(rows, 0, 7, axis=1)
    says(
        table(tmp_path / "b.csv", ",".join(f"p{i}" for i in range(13)), more),
        "header names 13 columns of pixels; expected 12",
    )
    says(table(tmp_path / "c.csv", None, np.repeat(more, 2, axis=1)), "has 26 columns; expected 12 columns of pixels")
    says(
        table(tmp_path / "d.csv", None, np.insert(more, 0, 7, axis=1)), "has 14 columns; expected 12 columns of pixels"
    )
    says(table(tmp_path / "e.csv", None, rows.astype(int) * 9), "e.csv", "line 1, column 3", "0 to 255")
    names = ",".join(["label", "class", *(f"p{i}" for i in range(11))])
    says(table(tmp_path / "f.csv", names, more), "'label' (column 1) and 'class' (column 2)", "expected only one")


# Folders of data sets.


def test_the_test_half_of_a_folder_of_tables(tmp_path: Path) -> None:
    table(tmp_path / "mnist_test.csv", None, np.insert(SQUARE.reshape(5, 9), 0, 7, axis=1))
    same(tmp_path, SQUARE)


def test_the_test_images_of_a_folder_of_idx_files(tmp_path: Path) -> None:
    header = bytes([0, 0, 8, 3]) + np.array(GREY.shape, ">u4").tobytes()
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + GREY.tobytes()))
    same(tmp_path, GREY)


# Pictures.


def test_a_folder_of_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "digits", GREY)
    (folder / "4.png").rename(folder / "a.PNG")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "._0.png").write_bytes(b"what a file system leaves")
    assert same(folder, GREY) == ["0.png", "1.png", "2.png", "3.png", "a.PNG"]


def test_one_picture(tmp_path: Path) -> None:
    pictures(tmp_path / "digits", GREY)
    assert same(tmp_path / "digits/2.png", GREY[2:3]) == ["2.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg(tmp_path: Path, suffix: str) -> None:
    grey = np.full((2, 8, 16), 100, np.uint8)
    same(pictures(tmp_path / "flat", grey, suffix), grey)


def test_colour_turns_grey_for_a_network_of_grey_images(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "colour", COLOUR)
    grey = (COLOUR @ np.array([0.299, 0.587, 0.114])).round()  # ITU-R 601-2
    _, images = load_images(folder, (3, 4), PIXELS)
    np.testing.assert_allclose(images, grey, atol=1)
    _, images = load_images(folder, (3, 4, 1), PIXELS)
    np.testing.assert_allclose(images[..., 0], grey, atol=1)


def test_colour_stays_for_a_network_of_coloured_images(tmp_path: Path) -> None:
    same(pictures(tmp_path / "colour", COLOUR), COLOUR)
    same(pictures(tmp_path / "grey", GREY), np.repeat(GREY[..., None], 3, axis=3))


def test_a_picture_of_another_size_is_not_resized_without_preprocessing(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "digits", GREY)
    Image.fromarray(GREY[0].T.copy()).save(folder / "2.png")
    says(folder, "2.png", "size is 3x4 pixels (width x height); expected 4x3", preprocess="none")


def test_a_picture_for_a_network_of_vectors(tmp_path: Path) -> None:
    for shape in ((12,), (3, 4, 2)):
        says(pictures(tmp_path / f"{len(shape)}", GREY), "0.png: is an image file", str(shape), shape=shape)


def test_a_picture_for_a_network_of_floats(tmp_path: Path) -> None:
    says(pictures(tmp_path / "digits", GREY), "digits: contains uint8 pixels; expected floats", scale=1.0)


def test_a_picture_of_16_bits_is_refused_rather_than_cut_to_8(tmp_path: Path) -> None:
    Image.fromarray(GREY[0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    says(tmp_path / "deep.png", "deep.png", "more than 8 bits", preprocess="none")


def test_what_can_be_seen_through_is_refused_and_an_opaque_alpha_is_not(tmp_path: Path) -> None:
    ink = np.zeros((3, 4, 4), np.uint8)
    ink[1, 1, 3] = 255  # one black point on nothing
    Image.fromarray(ink).save(tmp_path / "ink.png")
    says(tmp_path / "ink.png", "ink.png", "transparent", preprocess="none")
    same(tmp_path / "ink.png", ink[None])  # a network of four channels sees it as it is
    ink[..., 3] = 255
    Image.fromarray(ink).save(tmp_path / "opaque.png")
    same(tmp_path / "opaque.png", np.zeros((1, 3, 4), np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".tif", ".webp"])
def test_a_picture_cut_anywhere_or_with_any_byte_changed(suffix: str, tmp_path: Path) -> None:
    dice, unexpected, path = random.Random(0), set(), tmp_path / f"a{suffix}"
    Image.fromarray(GREY[0]).save(path)
    whole = path.read_bytes()
    damaged = [whole[:n] for n in range(0, len(whole), 1 + len(whole) // 30)]
    for at in dice.sample(range(len(whole)), min(len(whole), 150)):
        changed = bytearray(whole)
        changed[at] ^= 1 << dice.randrange(8)
        damaged.append(bytes(changed))
    path.write_bytes(whole[:30])
    says(path, "cannot be read", "expected a complete PNG, JPEG")
    for content in damaged:
        path.write_bytes(content)
        for preprocess in ("auto", "none"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    load_images(path, (3, 4), PIXELS, preprocess=preprocess)  # a byte that nobody reads may change
            except UserError:
                pass
            except Exception as error:
                unexpected.add(repr(error)[:80])
    assert not unexpected


# Arrays whose meaning is certain.


@pytest.mark.parametrize(
    ("array", "note"),
    [
        (GREY[..., None], "images of shape (3, 4, 1) are used as (3, 4)"),
        (GREY[:, None], "images of shape (1, 3, 4) are used as (3, 4)"),
        (GREY.reshape(5, 12), "images of shape (12,) are used as (3, 4)"),
        (GREY.astype(np.float64), "the floats are whole numbers from 0 to 255 and are used as pixels"),
        (GREY / 255, "are multiplied by 255"),
    ],
)
def test_an_array_in_another_form(
    array: np.ndarray, note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", array)
    same(tmp_path / "a.npy", GREY)
    assert note in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(3, 4), (12,), (3, 4, 1), (1, 3, 4)])
def test_a_single_image(shape: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", GREY[0].reshape(shape))
    same(tmp_path / "a.npy", GREY[:1])
    assert ("is used as a single image" in capsys.readouterr().out) == (shape != (1, 3, 4))


def test_an_array_of_uncertain_meaning(tmp_path: Path) -> None:
    for array in (COLOUR.reshape(2, 36), np.moveaxis(COLOUR, 3, 1), GREY):  # whether channels come first is not known
        np.save(tmp_path / "a.npy", array)
        says(tmp_path / "a.npy", "the images have shape", shape=(3, 4, 3))
    np.save(tmp_path / "a.npy", GREY.transpose(0, 2, 1))
    says(tmp_path / "a.npy", "shape (4, 3); expected (3, 4)")
    np.save(tmp_path / "a.npy", GREY)
    says(tmp_path / "a.npy", "shape (3, 4); expected (12,)", shape=(12,))


def test_pixels_for_a_network_of_floats_from_0_to_1(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    _, images = load_images(tmp_path / "a.npy", (3, 4), 1.0, mnist_like=True)
    np.testing.assert_allclose(images, GREY / 255, atol=1e-7)
    assert images.dtype == np.float32


# Paths.


def test_a_path_with_nothing_to_predict(tmp_path: Path) -> None:
    says(tmp_path, "contains no images", ".png, .jpg, .jpeg", "IDX")
    says(tmp_path / "nowhere", "data.path", "nowhere does not exist", "expected mnist")
    says("x" * 5000, "data.path", "is not a valid path")
