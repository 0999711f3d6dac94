"""Data that can't be used: each is refused in one sentence that names what, where and what was expected."""

from __future__ import annotations

import gzip
import random
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from minigrad_helpers import sentence_of

from minigrad import datasets
from minigrad.runs import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 2, 2)).astype(np.uint8)
LABELS = np.arange(20) % 3
GOOD = {"x_train": PIXELS[:15], "y_train": LABELS[:15], "x_test": PIXELS[15:], "y_test": LABELS[15:]}


def says(path: object, *words: str) -> None:
    """Loading `path` is refused with all of `words`."""
    text = sentence_of(lambda: datasets.load(str(path)))
    for word in words:
        assert word in text, text


def at(row: int, value: float, dtype: type = np.float64) -> np.ndarray:
    labels = LABELS[:15].astype(dtype)
    labels[row] = value
    return labels


def image_at(row: int, value: float) -> np.ndarray:
    images = PIXELS[:15].astype(np.float64)
    images[row, 1, 1] = value
    return images


# Values.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_train": at(4, -1, np.int64)}, ("y_train", "label of image 4 is -1", "class number 0, 1, 2")),
        ({"y_train": at(4, 0.5)}, ("y_train", "label of image 4 is 0.5", "class number")),
        ({"y_train": at(4, np.nan)}, ("y_train", "label of image 4 is nan", "class number")),
        ({"y_train": at(4, np.inf)}, ("y_train", "label of image 4 is inf", "class number")),
        ({"y_train": at(4, 1e6)}, ("y_train", "largest label is 1000000", "without large gaps")),
        ({"y_test": np.array([0, 1, 3, 0, 1])}, ("y_test", "label of image 2 is 3", "0 to 2", "y_train")),
        ({"y_train": LABELS[:14]}, ("y_train", "14 labels for 15 images")),
        ({"y_test": LABELS[:6]}, ("y_test", "6 labels for 5 images")),
        ({"y_train": np.zeros(15, int), "y_test": np.zeros(5, int)}, ("y_train", "at least two classes")),
        ({"y_train": np.eye(3)[LABELS[:15]] * 2}, ("y_train", "shape is (15, 3)", "row 0 is not one-hot", "(15,)")),
        ({"y_train": np.eye(3)[LABELS[:14]]}, ("y_train", "14 labels for 15 images")),
        ({"y_train": np.zeros((15, 3, 1))}, ("y_train", "shape is (15, 3, 1)", "(15,)")),
        ({"y_train": np.array(3)}, ("y_train", "shape is ()", "(15,)")),
        ({"y_train": LABELS[:15] > 1}, ("y_train", "dtype is bool", "class numbers")),
        ({"y_train": at(3, 0.5).astype(str)}, ("y_train", "label of image 3 is 0.5", "class number")),
        ({"y_train": at(3, -1).astype(str)}, ("y_train", "label of image 3 is -1", "class number")),
        ({"y_train": np.array(["cat"] * 15)}, ("y_train", "every label is 'cat'", "at least two classes")),
        ({"y_train": np.array(["cat", "dog", " "] * 5)}, ("y_train", "label of image 2 is empty", "name of a class")),
        ({"y_train": np.array(["cat", "dog", "\x07"] * 5)}, ("y_train", "the name of class 0 is empty")),
        ({"y_train": np.array(["cat", "d\u200eog", "dog"] * 5)}, ("y_train", "'dog' occurs twice")),
        ({"y_train": np.array(["cat", "d" * 201, "dog"] * 5)}, ("y_train", "201 characters", "at most 200")),
        ({"y_train": np.array([b"\xff", b"a", b"b"] * 5)}, ("y_train", "not UTF-8")),
        (
            {"y_train": np.array(["cat", "dog", "ant"] * 5)},
            ("y_test", "labels '0', '1', '2' are not among the classes", "y_train"),
        ),
        ({"class_names": np.array(["a", "b"])}, ("y_train", "largest label is 2", "0 to 1, as in class_names")),
        ({"class_names": np.arange(3)}, ("class_names", "dtype int64", "one text per class")),
        ({"class_names": np.array([["a", "b", "c"]])}, ("class_names", "shape (1, 3)", "one text per class")),
        ({"class_names": np.array(["a", "a", "c"])}, ("class_names", "'a' occurs twice")),
        ({"x_train": image_at(3, np.nan)}, ("x_train", "image 3", "NaN", "finite")),
        ({"x_train": image_at(3, np.inf)}, ("x_train", "image 3", "inf", "finite")),
        ({"x_train": image_at(3, 1e300)}, ("x_train", "image 3", "float32", "finite")),
        ({"x_train": PIXELS[:15].astype(int) * 2}, ("x_train", "integers range from", "0 to 255")),
        ({"x_train": PIXELS[:15].astype(int) - 9}, ("x_train", "integers range from", "0 to 255")),
        ({"x_train": PIXELS[:15].astype(complex)}, ("x_train", "complex128", "uint8")),
        ({"x_train": PIXELS[:15] > 9}, ("x_train", "bool", "uint8")),
        ({"x_train": np.arange(15)}, ("x_train", "shape is (15,)", "(n, ...)")),
        ({"x_train": PIXELS[:0], "y_train": LABELS[:0]}, ("x_train", "shape is (0, 2, 2)", "at least one image")),
        ({"x_test": PIXELS[:0], "y_test": LABELS[:0]}, ("x_test", "shape is (0, 2, 2)", "at least one image")),
        ({"x_test": PIXELS[15:, :1]}, ("x_test", "(1, 2)", "(2, 2)")),
        ({"x_test": PIXELS[15:].astype(float)}, ("x_test", "float32", "uint8")),
    ],
)
def test_a_value_that_makes_no_sense(tmp_path: Path, change: dict[str, np.ndarray], words: tuple[str, ...]) -> None:
    np.savez(tmp_path / "mine.npz", **(GOOD | change))
    says(tmp_path / "mine.npz", "mine.npz", *words)


# Files.


def test_nothing_there(tmp_path: Path) -> None:
    says("nowhere.npz", "data.path", "nowhere.npz does not exist", "mnist")
    says(tmp_path, "data.path", str(tmp_path), "mnist_train.csv", "IDX")


def test_a_path_too_long_for_the_file_system() -> None:
    says("a" * 5000, "data.path", "expected")


def npz(path: Path) -> Path:
    np.savez(path, **GOOD)
    return path


def test_an_archive_without_one_of_the_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{k: v for k, v in GOOD.items() if k != "y_test"}, more=LABELS)
    says(
        tmp_path / "a.npz",
        "a.npz",
        "the array y_test is missing",
        "contains the arrays x_train, y_train, x_test and more",
    )


def test_an_archive_of_pickled_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **(GOOD | {"x_train": np.array([None] * 15, object)}))
    says(tmp_path / "a.npz", "x_train", "pickled Python objects", "never loaded")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, world", b"\x80\x04K\x01.", b"PK\x03\x04 cut short", b"\x93NUMPY"],
    ids=["empty", "text", "pickle", "zip", "npy"],
)
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    says(tmp_path / "a.npz", "a.npz", "empty, truncated or in another format", "x_train")


def test_a_single_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    says(tmp_path / "a.npy", "a.npy", "single array", "x_train")


@pytest.mark.parametrize("suffix", ["", ".npy"])
def test_an_archive_of_something_else_than_arrays(tmp_path: Path, suffix: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in GOOD:
            archive.writestr(name + suffix, "hello")
    says(tmp_path / "a.npz", "a.npz", "x_train", "expected")


def test_an_archive_cut_anywhere_or_with_any_byte_changed(tmp_path: Path) -> None:
    whole = npz(tmp_path / "whole.npz").read_bytes()
    dice = random.Random(0)
    damaged = [whole[:n] for n in range(0, len(whole), 7)]
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << dice.randrange(8)
        damaged.append(bytes(changed))
    path, unexpected = tmp_path / "a.npz", set()
    for content in damaged:
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                datasets.load(path)  # a byte that nobody reads may change
        except UserError:
            pass
        except Exception as error:
            unexpected.add(repr(error)[:80])
    assert not unexpected


# CSV.

ROWS = "0,1,2,3,4\n1,5,6,7,8\n2,9,9,9,9\n"


def csv(folder: Path, train: str | bytes, test: str = ROWS) -> Path:
    folder.mkdir(exist_ok=True)
    content = train if isinstance(train, bytes) else train.encode()
    (folder / "mnist_train.csv").write_bytes(content)
    (folder / "mnist_test.csv").write_text(test)
    return folder


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ("0,1,2,3,4\n1,5,6,7\n", ("line 2 has 4 columns; expected 5, as in line 1",)),
        ("label,a,b,c,d\n0,1,2,3,4\n1,5,6,7\n", ("line 3 has 4 columns; expected 5",)),
        ("label,a,b,c\n0,1,2,3,4\n", ("line 2 has 5 columns; expected 4, as in line 1",)),
        ("0,1,2,3,4\n1,5,x,7,8\n", ("line 2, column 3", "'x'", "whole number from 0 to 255")),
        ("label,a,b,c,d\n0,1,2,3,4\n1,5,x,7,8\n", ("line 3, column 3", "'x'", "0 to 255")),
        ("0,1,2,3,4\nx,5,6,7,8\n", ("line 2, column 1", "'x'")),
        ("0,1,2,3,4\n1,5,,7,8\n", ("line 2, column 3", "''")),
        ("0,1,2,3,256\n", ("line 1, column 5", "'256'", "0 to 255")),
        ("-1,1,2,3,4\n", ("line 1, column 1", "'-1'", "from 0")),
        ("0.5,1,2,3,4\n", ("line 1, column 1", "'0.5'", "whole number")),
        ("0,1,2,3,4\n1,nan,6,7,8\n", ("line 2, column 2", "'nan'")),
        ("x,1,2,3,4\n1,5,6,7,8\n", ("line 1, column 1", "'x'")),
        (",1,2,3,4\n1,5,6,7,8\n", ("line 1, column 1", "''")),
        ("\n\n0,1,x,3,4\n", ("line 3, column 3", "'x'")),
        ("\n\nlabel,a,b,c,d\n\n0,1,x,3,4\n", ("line 5, column 3", "'x'")),
        ("a,b,c,d,label\n" + "1,2,3,4,7\n" * 10 + "1,2,3,4,x\n", ("line 12, column 5", "'x'", "whole number from 0")),
        ("a,b,c,d,label\n1,2,3,4,-1\n", ("line 2, column 5", "'-1'", "whole number from 0")),
        ("a,b,c,d,label\n1,2,3,4," + "x" * 201 + "\n", ("line 2 has a label of 201 characters", "at most 200")),
        ("x,1,2,3,y\nx,1,2,3,y\n", ("the first and the last column contain text", "expected one label")),
        ("".join(f"img{i},1,2,3,4\n" for i in range(20)), ("column 1 contains a different text in each row",)),
        ("a,b,c,d,label\n1,2,300,4,0\n", ("line 2, column 3", "'300'", "0 to 255")),
        ("id,a,b,c,d,label\n900,1,2,3,256,0\n", ("line 2, column 5", "'256'", "0 to 255")),
        ("0,1,2,3,4\n1,5,6,7,8,9\n", ("line 2 has 6 columns; expected 5",)),
        ("label,a,b,c,d\n0,1,2,3,4\n1,5,6,7,8,9\n", ("line 3 has 6 columns; expected 5",)),
        ('0,1,2,3,4\n1,5,"6,7,8\n', ("line 2", "a quotation mark is not closed", "expected 5 columns")),
        ('0,"1,2,3,4\n', ("line 1", "a quotation mark is not closed")),
        ("0,1,2,3,4\n1,2,3,4," + "9" * 1000 + "\n", ("line 2, column 5", "'" + "9" * 39 + "…;")),
        ("0,1,2,3,4\n1,2,3,4,it's\n", ("line 2, column 5", '"it\'s"')),
        ("", ("empty",)),
        ("\n\n", ("empty",)),
        ("1\n2\n", ("only one column", "label and pixels")),
        ("0 1 2 3 4\n", ("one column",)),
        ("id,label\n7,0\n8,1\n", ("label column but no pixels", "at least one column")),
        ("0;1;2;3;4\n0;1,5;2;3;4\n", ("line 2, column 2", "'1,5'")),
        (b"\xff\xfe\x00\x01,", ("not a text file",)),
        (b"0,1,2,3,4\n1,5,6,7,\xff\n", ("not a text file",)),
    ],
)
def test_a_csv_that_makes_no_sense(tmp_path: Path, train: str | bytes, words: tuple[str, ...]) -> None:
    says(csv(tmp_path / "csv", train), "mnist_train.csv", *words)


def test_a_csv_with_one_name(tmp_path: Path) -> None:
    one = "a,b,c,d,label\n1,2,3,4,x\n1,2,3,4,x\n"
    says(csv(tmp_path / "csv", one, one), "y_train: every label is 'x'", "at least two classes")


def test_a_csv_with_nothing_under_its_header(tmp_path: Path) -> None:
    says(csv(tmp_path / "csv", "label,a,b,c,d\n"), "mnist_train.csv", "no rows")


def test_a_first_row_that_is_no_number_is_not_taken_for_a_header(tmp_path: Path) -> None:
    says(csv(tmp_path / "csv", "nan,1,2,3,4\n" + ROWS), "mnist_train.csv", "line 1, column 1", "'nan'")


def test_a_blank_line_counts_as_a_line(tmp_path: Path) -> None:
    says(csv(tmp_path / "csv", "0,1,2,3,4\n\n1,x,6,7,8\n"), "mnist_train.csv", "line 3", "'x'")


def test_two_csvs_of_different_widths(tmp_path: Path) -> None:
    says(csv(tmp_path / "csv", ROWS, "0,1,2\n1,3,4\n"), "x_test", "(2,)", "(2, 2)")


def test_a_csv_whose_other_half_is_missing(tmp_path: Path) -> None:
    (csv(tmp_path / "csv", ROWS) / "mnist_test.csv").unlink()
    says(tmp_path / "csv", "no mnist_test.csv", "expected")


def test_a_csv_that_cannot_be_read(tmp_path: Path) -> None:
    folder = csv(tmp_path / "csv", ROWS)
    (folder / "mnist_train.csv").unlink()
    (folder / "mnist_train.csv").mkdir()
    says(folder, "mnist_train.csv", "cannot be read")


# IDX.


def idx(folder: Path, **change: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    for name, (key, array) in zip(names, GOOD.items(), strict=True):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (folder / name).write_bytes(change.get(key, header + array.astype(np.uint8).tobytes()))
    return folder


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("not an IDX file", "00 00 08")),
        (b"hello, world", ("not an IDX file", "00 00 08")),
        (bytes([0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0]), ("not an IDX file", "unsigned bytes")),
        (bytes([0, 0, 8, 3, 0, 0, 0, 1]), ("not an IDX file",)),
        (bytes([0, 0, 8, 3, 0, 0, 0, 15, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2]), ("contains 2 values", "expected 60")),
    ],
)
def test_an_idx_file_that_makes_no_sense(tmp_path: Path, content: bytes, words: tuple[str, ...]) -> None:
    says(idx(tmp_path / "idx", x_train=content), "train-images-idx3-ubyte", *words)


def test_a_gzipped_idx_file_that_is_cut_short(tmp_path: Path) -> None:
    folder = idx(tmp_path / "idx")
    plain = folder / "train-labels-idx1-ubyte"
    whole = gzip.compress(plain.read_bytes())
    plain.unlink()
    for content in (whole[:-9], whole[:5], b"", b"hello", whole[:15] + b"\xff\xff" + whole[17:]):
        (folder / "train-labels-idx1-ubyte.gz").write_bytes(content)
        text = sentence_of(lambda: datasets.load(folder))
        assert re.search(r"train-labels-idx1-ubyte\.gz: .*expected", text), text


def test_an_idx_file_that_is_missing(tmp_path: Path) -> None:
    (idx(tmp_path / "idx") / "t10k-labels-idx1-ubyte").unlink()
    says(tmp_path / "idx", "t10k-labels-idx1-ubyte (or t10k-labels-idx1-ubyte.gz) is missing")


# Splitting.


@pytest.mark.parametrize("size", [-1, 15, 16])
def test_a_validation_set_that_leaves_nothing(tmp_path: Path, size: int) -> None:
    path = npz(tmp_path / "a.npz")
    text = sentence_of(lambda: datasets.load(path, size))
    assert f"data.validation_size: {size} of 15" in text
    assert "expected 0 to 14" in text


@pytest.mark.parametrize("size", [0, -1, 16])
def test_a_batch_that_is_none_or_more_than_all(size: int) -> None:
    text = sentence_of(lambda: datasets.steps_per_epoch(15, size))
    assert f"data.batch_size: {size}; expected 1 to 15" in text
