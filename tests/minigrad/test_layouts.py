"""The layouts in which data sets are published: each gives the same images and labels, and errors are one sentence."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from minigrad_helpers import sentence_of
from PIL import Image

from minigrad import datasets
from minigrad.datasets import known, load_images
from minigrad.datasets.idx_files import KEYS
from minigrad.datasets.layouts import BUILT_IN
from minigrad.runs import foreign

X = np.random.default_rng(0).integers(0, 256, (60, 6, 6)).astype(np.uint8)
Y = np.arange(60) % 3


def says(path: object, *words: str) -> None:
    """Loading `path` is refused with all of `words`."""
    text = sentence_of(lambda: datasets.load(str(path)))
    for word in words:
        assert word in text, text


def same(data: datasets.Dataset, x: np.ndarray = X, y: np.ndarray = Y) -> tuple[str, ...]:
    """`data` has these images and labels, the last 20 of which are test images; returns the notes."""
    np.testing.assert_array_equal(data.train.images, x[:40])
    np.testing.assert_array_equal(data.train.labels, y[:40])
    np.testing.assert_array_equal(data.test.images, x[40:])
    np.testing.assert_array_equal(data.test.labels, y[40:])
    return data.notes


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def table(labels: np.ndarray | None, x: np.ndarray, header: bool = True) -> str:
    """A CSV file as on Kaggle: the label first, unless `labels` is None."""
    pixels = x.reshape(len(x), -1).astype(str)
    columns = pixels if labels is None else np.column_stack([labels.astype(str), pixels])
    names = [f"pixel{i}" for i in range(pixels.shape[1])]
    lines = [",".join(row) for row in columns.tolist()]
    return "\n".join([",".join(names if labels is None else ["label", *names])] * header + lines) + "\n"


def pair(
    folder: Path, stem: str, y: np.ndarray = Y, suffix: str = ".csv", header: bool = True, x: np.ndarray = X
) -> Path:
    write(folder / f"{stem}train{suffix}", table(y[:40], x[:40], header))
    write(folder / f"{stem}test{suffix}", table(y[40:], x[40:], header))
    return folder


# CSV.


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("stem", ["", "mnist_", "fashion-mnist_", "sign_mnist_", "my-"])
def test_a_pair_of_csv_files_by_folder_file_and_stem(tmp_path: Path, stem: str, suffix: str) -> None:
    folder = pair(tmp_path / "csv", stem, suffix=suffix)
    assert same(datasets.load(folder)) == ()
    for part in ("train", "test"):
        same(datasets.load(folder / f"{stem}{part}{suffix}"))
    if stem:
        same(datasets.load(folder / stem.rstrip("-_")))
    np.testing.assert_array_equal(load_images(folder, (6, 6), 1 / 255).images, X[40:])
    np.testing.assert_array_equal(load_images(folder / f"{stem}train{suffix}", (6, 6), 1 / 255).images, X[:40])


def test_the_classes_of_fashion_mnist_have_names(tmp_path: Path) -> None:
    data = datasets.load(pair(tmp_path / "csv", "fashion-mnist_", np.arange(60) % 10))
    assert data.class_names == known.FASHION
    assert data.class_names[9] == "Ankle boot"


def test_a_competition_without_test_labels(tmp_path: Path) -> None:
    folder = tmp_path / "digit-recognizer"
    write(folder / "train.csv", table(Y, X))
    write(folder / "test.csv", table(None, X[:7]))
    write(folder / "sample_submission.csv", "ImageId,Label\n1,0\n")
    data = datasets.load(folder)
    assert (len(data.train.labels), len(data.test.labels)) == (48, 12)
    assert np.bincount(data.test.labels).tolist() == [4, 4, 4]
    index = {x.tobytes(): (i, y) for i, (x, y) in enumerate(zip(X, Y, strict=True))}
    seen = [index[x.tobytes()] for split in (data.train, data.test) for x in split.images]
    assert sorted(i for i, _ in seen) == list(range(60))
    assert [y for _, y in seen] == [*data.train.labels, *data.test.labels]
    assert "test.csv has no labels and is only used by predict" in data.notes[0]
    assert "12 of 60 images" in data.notes[1]
    # The test images do not depend on the seed: no command tests a network on its training images.
    np.testing.assert_array_equal(datasets.load(folder, 10, seed=3).test.images, data.test.images)
    np.testing.assert_array_equal(load_images(folder, (6, 6), 1 / 255).images, X[:7])


@pytest.mark.parametrize("header", [(True, False), (False, False), (False, True)])
def test_a_competition_with_missing_headers(tmp_path: Path, header: tuple[bool, bool]) -> None:
    write(tmp_path / "train.csv", table(Y, X, header[0]))
    write(tmp_path / "test.csv", table(None, X[:7], header[1]))
    assert "test.csv has no labels" in datasets.load(tmp_path).notes[-2]


def test_several_pairs(tmp_path: Path) -> None:
    folder = pair(pair(tmp_path / "csv", "a_"), "b-", 2 - Y)
    says(folder, "contains several data sets, a and b", f"--data.path {folder / 'a'}")
    text = sentence_of(lambda: load_images(folder, (6, 6), 1 / 255))
    assert "several data sets, a and b" in text
    same(datasets.load(folder / "a"))
    same(datasets.load(folder / "b"), y=2 - Y)
    np.testing.assert_array_equal(load_images(folder / "b", (6, 6), 1 / 255).images, X[40:])
    (folder / "b-test.csv").unlink()  # an incomplete pair is no choice
    same(datasets.load(folder))
    says(folder / "b", "has no b-test.csv")
    says(folder / "c", "c does not exist")


def test_one_csv_file(tmp_path: Path) -> None:
    write(tmp_path / "all.csv", table(Y, X))
    says(tmp_path / "all.csv", "is one CSV file", "mnist_train.csv and mnist_test.csv")
    write(tmp_path / "my_train.csv", table(Y, X))
    says(tmp_path / "my_train.csv", "has no my_test.csv")
    says(tmp_path, "has no my_test.csv")


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("at", ["first", "last"])
def test_labels_as_text(tmp_path: Path, header: bool, at: str) -> None:
    names = np.array(["dog", "cat, or kitten", "=1+1"])[Y]
    folder = pair(tmp_path / "csv", "", np.array([f'"{name}"' for name in names]), header=header)
    if at == "last":
        for path in folder.iterdir():
            rows = [line.replace("cat, or", "cat; or").split(",") for line in path.read_text().splitlines()]
            write(path, "".join(",".join([*row[1:], row[0].replace("cat; or", "cat, or")]) + "\n" for row in rows))
    for _ in range(2):  # the second time from the cache
        data = datasets.load(folder)
        assert data.class_names == ("=1+1", "cat, or kitten", "dog")
        same(data, y=2 - Y)
        assert bool(data.notes) is not header
    np.testing.assert_array_equal(load_images(folder, (6, 6), 1 / 255).images, X[40:])


def test_labels_of_digits_and_letters_and_labels_with_decimals(tmp_path: Path) -> None:
    data = datasets.load(pair(tmp_path / "mixed", "", np.array(["7", "A", "b"])[Y]))
    assert data.class_names == ("7", "A", "b")
    data = datasets.load(pair(tmp_path / "decimals", "", Y.astype(np.float64)))
    assert data.class_names == ()
    same(data)


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    folder = pair(tmp_path / "csv", "", suffix=".csv.gz")
    content = (folder / "train.csv.gz").read_bytes()
    for damaged in (content[:100], content[:-9], content[:50] + b"\0\0\0" + content[53:], b"label,a\n0,1\n"):
        (folder / "train.csv.gz").write_bytes(damaged)
        says(folder, "train.csv.gz", "expected")


# EMNIST and IDX.


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def idx_files(folder: Path, stem: str = "", x: np.ndarray = X, y: np.ndarray = Y, suffix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    test = "test" if stem else "t10k"
    for part, rows in (("train", slice(40)), (test, slice(40, None))):
        for kind, array in (("images-idx3", x), ("labels-idx1", y)):
            content = idx(array[rows])
            path = folder / f"{stem}{part}-{kind}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content) if suffix else content)
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_folders_of_torchvision(tmp_path: Path, suffix: str) -> None:
    raw = idx_files(tmp_path / "data/MNIST/raw", suffix=suffix)
    image = raw / f"t10k-images-idx3-ubyte{suffix}"
    for path in (raw, raw.parent, tmp_path / "data", raw / f"train-labels-idx1-ubyte{suffix}", image):
        assert same(datasets.load(path)) == ()
    for path in (raw, raw.parent, tmp_path / "data", image):
        np.testing.assert_array_equal(load_images(path, (6, 6), 1 / 255).images, X[40:])
    idx_files(tmp_path / "data/FashionMNIST/raw", y=np.arange(60) % 10)
    says(tmp_path / "data", "contains several data sets, FashionMNIST and MNIST", "data/FashionMNIST")
    same(datasets.load(tmp_path / "data/MNIST"))
    assert datasets.load(tmp_path / "data/FashionMNIST").class_names == known.FASHION
    idx_files(tmp_path / "data/KMNIST/raw", y=np.arange(60) % 10)
    assert datasets.load(tmp_path / "data/KMNIST/raw").class_names == known.KUZUSHIJI


def test_folders_with_the_names_of_idx_files_are_ignored(tmp_path: Path) -> None:
    folder = idx_files(tmp_path / "archive")
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("-idx", ".idx"))
        path.mkdir()
    same(datasets.load(folder))


def test_qmnist(tmp_path: Path) -> None:
    folder = idx_files(tmp_path / "QMNIST/raw", "qmnist-")
    for part, rows in (("train", slice(40)), ("test", slice(40, None))):
        (folder / f"qmnist-{part}-labels-idx1-ubyte").unlink()
        details = np.column_stack([Y[rows], *[np.arange(len(Y[rows])) * 1000] * 7])
        content = bytes([0, 0, 12, 2]) + np.array(details.shape, ">u4").tobytes() + details.astype(">i4").tobytes()
        (folder / f"qmnist-{part}-labels-idx2-int").write_bytes(content)
    same(datasets.load(tmp_path / "QMNIST"))
    empty = bytes([0, 0, 12, 2, 0, 0, 0, 0, 0, 0, 0, 8])
    for damaged in (content[:-1], content + b"\0", content[:9], idx(Y[:40]), empty):
        (folder / "qmnist-train-labels-idx2-int").write_bytes(damaged)
        says(folder, "qmnist-train-labels-idx2-int", "expected")


def test_gzipped_files_that_expand_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "FREE_EXPANSION", 10_000)
    folder = idx_files(tmp_path / "raw", "qmnist-")
    (folder / "qmnist-train-labels-idx1-ubyte").unlink()
    header = bytes([0, 0, 12, 2]) + np.array([100_000, 8], ">u4").tobytes()
    (folder / "qmnist-train-labels-idx2-int.gz").write_bytes(gzip.compress(header + bytes(3_200_000)))
    says(folder, "qmnist-train-labels-idx2-int.gz", "its header describes", "expected at most")
    for part in ("train", "test"):
        (tmp_path / f"zeros_{part}.csv.gz").write_bytes(gzip.compress(b"0,0,0,0,0\n" * 100_000))
    says(tmp_path / "zeros_train.csv.gz", "zeros_train.csv.gz", "expands beyond")


def test_emnist_is_transposed_and_its_letters_start_at_1(tmp_path: Path) -> None:
    folder = idx_files(tmp_path / "EMNIST/raw", "emnist-letters-", X.swapaxes(1, 2), Y + 1)
    for path in (folder, folder.parent, tmp_path / "EMNIST/emnist-letters", tmp_path / "emnist-letters"):
        data = datasets.load(path)
        notes = same(data)
        assert (data.classes, data.class_names) == (26, tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        assert "EMNIST stores them transposed" in notes[0]
        assert "the labels 1 to 3 are numbered from 0" in notes[1]
        np.testing.assert_array_equal(load_images(path, (6, 6), 1 / 255).images, X[40:])
    np.testing.assert_array_equal(
        load_images(folder / "emnist-letters-test-images-idx3-ubyte", (6, 6), 1 / 255).images, X[40:]
    )
    idx_files(folder, "emnist-digits-", X.swapaxes(1, 2), Y)
    says(folder, "several data sets, emnist-digits and emnist-letters", f"--data.path {folder / 'emnist-digits'}")
    digits = datasets.load(folder / "emnist-digits")
    same(digits)
    assert (digits.classes, digits.class_names) == (10, ())


def test_emnist_as_csv(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).permutation(np.arange(60) % 20) * 46 // 19
    folder = pair(tmp_path / "csv", "emnist-balanced-", labels, header=False, x=X.swapaxes(1, 2))
    data = datasets.load(folder)
    same(data, y=labels)
    assert "".join(data.class_names) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert any("EMNIST stores them transposed" in note for note in data.notes)
    for path in (folder, folder / "emnist-balanced-test.csv"):
        np.testing.assert_array_equal(load_images(path, (6, 6), 1 / 255).images, X[40:])


def test_a_mapping_file_of_emnist(tmp_path: Path) -> None:
    folder = idx_files(tmp_path / "raw", "emnist-letters-", X.swapaxes(1, 2), Y + 1)
    mapping = folder / "emnist-letters-mapping.txt"
    mapping.write_text("1 88 120\n2 89 121\n3 90 122\n")
    data = datasets.load(folder)
    assert (data.classes, data.class_names) == (3, ("X", "Y", "Z"))
    for text, word in (("1 x", "cannot be read"), ("1", "cannot be read"), ("1 65\n3 66\n", "gaps"), ("", "gaps")):
        mapping.write_text(text)
        says(folder, "emnist-letters-mapping.txt", word)


def test_csv_and_idx_files_in_one_folder(tmp_path: Path) -> None:
    folder = idx_files(pair(tmp_path / "both", "fashion-mnist_"))
    assert "the CSV files are used" in same(datasets.load(folder))[0]
    same(datasets.load(folder / "train-images-idx3-ubyte"))


@pytest.mark.parametrize("missing", KEYS)
def test_a_missing_file_of_emnist(tmp_path: Path, missing: str) -> None:
    folder = idx_files(tmp_path / "raw", "emnist-letters-")
    part, kind = "train" if missing.endswith("train") else "test", "images" if missing[0] == "x" else "labels"
    next(folder.glob(f"*{part}-{kind}*")).unlink()
    says(folder, "the IDX file emnist-letters-", "is missing", "all four files")


# Pictures.


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, lossless=True)  # for WebP


def folders(root: Path, names: list[str], splits: tuple[str, str] = ("train", "test"), suffix: str = ".png") -> Path:
    """Save `X` as pictures; returns `root`."""
    for i, (x, y) in enumerate(zip(X, Y, strict=True)):
        save(root / splits[i >= 40] / names[y] / f"{i:02d}{suffix}", x)
    return root


def by_class(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(y, kind="stable")
    return x[order], y[order]


IN_ORDER = [np.concatenate(parts) for parts in zip(by_class(X[:40], Y[:40]), by_class(X[40:], Y[40:]), strict=True)]


@pytest.mark.parametrize("splits", [("train", "test"), ("training", "testing"), ("Train", "val"), ("train", "valid")])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".PNG", ".webp"])
def test_one_folder_of_pictures_per_class(tmp_path: Path, splits: tuple[str, str], suffix: str) -> None:
    root = folders(tmp_path / "png", ["0", "1", "2"], splits, suffix)
    for name in ("Thumbs.db", ".DS_Store", "0/.hidden.png", "0/notes.txt"):
        write(root / splits[0] / name, "not a picture")
    (root / ".ipynb_checkpoints").mkdir()
    (root / splits[0] / ".git").mkdir()
    data = datasets.load(root)
    assert same(data, *IN_ORDER) == ()
    assert (data.class_names, data.classes) == ((), 3)
    if suffix == ".png":
        names, images = load_images(root, (6, 6), 1 / 255)
        np.testing.assert_array_equal(images, IN_ORDER[0][40:])
        assert names is not None
        assert names[0] == f"{splits[1]}/0/42.png"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ant", "bee", "cat"], ("ant", "bee", "cat")),
        (["2", "10", "100"], ("2", "10", "100")),
        (["00", "01", "02"], ()),
        (["1", "2", "3"], ("1", "2", "3")),
        (["10", "9", "x"], ("10", "9", "x")),
    ],
)
def test_the_order_of_the_classes(tmp_path: Path, names: list[str], expected: tuple[str, ...]) -> None:
    data = datasets.load(folders(tmp_path / "png", names))
    same(data, *IN_ORDER)
    assert data.class_names == expected


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_lossy_formats(tmp_path: Path, suffix: str) -> None:
    data = datasets.load(folders(tmp_path / "png", ["a", "b", "c"], suffix=suffix))
    assert (data.input_shape, len(data.train.labels), len(data.test.labels)) == ((6, 6), 40, 20)


def test_pictures_without_a_split(tmp_path: Path) -> None:
    root = folders(tmp_path / "png", ["a", "b", "c"], (".", "."))
    data = datasets.load(root)
    assert (len(data.train.labels), len(data.test.labels), data.class_names) == (48, 12, ("a", "b", "c"))
    assert np.bincount(data.test.labels).tolist() == [4, 4, 4]
    assert "12 of 60 images, the same share of each class, are held out as test images" in data.notes[0]
    names, images = load_images(root, (6, 6), 1 / 255)
    assert (len(images), names and names[0]) == (60, "a/00.png")


def test_unlabelled_test_pictures_and_unused_validation_pictures(tmp_path: Path) -> None:
    root = folders(tmp_path / "png", ["a", "b", "c"], ("train", "train"))
    save(root / "test/7.png", X[7])
    data = datasets.load(root)
    assert len(data.test.labels) == 12
    names, images = load_images(root, (6, 6), 1 / 255)
    assert names == ["test/7.png"]
    np.testing.assert_array_equal(images, X[7:8])
    root = folders(tmp_path / "three", ["a", "b", "c"])
    save(root / "val/a/1.png", X[0])
    assert "val is not used" in same(datasets.load(root), *IN_ORDER)[0]


def test_color_and_grey(tmp_path: Path) -> None:
    root = folders(tmp_path / "png", ["a", "b", "c"])
    save(root / "train/a/00.png", np.repeat(X[0, ..., None], 3, axis=2))  # grey, stored as RGB
    save(root / "test/b/40.png", np.dstack([X[40], X[40], X[40], np.full((6, 6), 255, np.uint8)]))  # opaque
    save(root / "train/a/03.png", X[3] // 128 * 255 > 0)  # one bit
    assert datasets.load(root).input_shape == (6, 6)
    color = np.random.default_rng(1).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    save(root / "test/c/41.png", color)
    data = datasets.load(root)
    assert data.input_shape == (6, 6, 3)
    assert [color.tobytes() == x.tobytes() for x in data.test.images].count(True) == 1
    np.testing.assert_array_equal(data.train.images[0], np.repeat(X[0, ..., None], 3, axis=2))


def test_gray_pictures_in_lossy_color(tmp_path: Path) -> None:
    root = folders(tmp_path / "png", ["a", "b", "c"])
    Image.fromarray(np.repeat(X[0, ..., None], 3, axis=2) + np.array([0, 1, 0], np.uint8)).save(root / "train/a/00.png")
    assert datasets.load(root).input_shape == (6, 6)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def animation(path: Path) -> None:
    frames = [Image.fromarray(x) for x in X[:2]]
    frames[0].save(path, format="TIFF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: save(path, X[0, :5]), ("size is 6x5 pixels (width x height); expected 6x6, as in",)),
        (cut, ("cannot be read; expected a complete PNG",)),
        (lambda path: path.write_bytes(b""), ("cannot be read",)),
        (lambda path: path.write_bytes(b"GIF89a"), ("cannot be read",)),
        (lambda path: save(path, X[0].astype(np.uint16)), ("more than 8 bits",)),
        (lambda path: save(path, np.dstack([X[0]] * 4)), ("has transparent pixels",)),
        (lambda path: Image.new("CMYK", (6, 6)).save(path, format="TIFF"), ("its colors are CMYK",)),
        (animation, ("contains 2 pictures",)),
        (lambda path: Image.new("1", (5000, 5000)).save(path), ("size is 5000x5000", "at most 16,777,216")),
    ],
)
def test_a_picture_that_cannot_be_used(tmp_path: Path, spoil: Callable[[Path], object], words: tuple[str, ...]) -> None:
    root = folders(tmp_path / "png", ["a", "b", "c"])
    spoil(root / "test/b/43.png")
    says(root, "test/b/43.png", *words)


def test_classes_that_cannot_be_used(tmp_path: Path) -> None:
    root = folders(tmp_path / "png", ["a", "b", "c"])
    (root / "train/empty").mkdir()
    says(root, "class folders 'empty' contain no pictures")
    (root / "train/empty").rmdir()
    save(root / "test/new/1.png", X[0])
    says(root, "test: the classes 'new' have no subfolder in", "train")
    (root / "test/new").rename(root / "train/a/nested")
    says(root, "nested: is a folder inside the folder of class 'a'")
    (root / "train/a/nested").rename(root / "train/d")
    save(root / "train/loose.png", X[0])
    says(root, "loose.png: is not in the folder of a class")
    (root / "train/loose.png").unlink()
    (root / "train/a/phone.HEIC").write_bytes(b"")
    says(root, "phone.HEIC: .HEIC files cannot be read; expected .png")
    one = tmp_path / "one"
    save(one / "only/1.png", X[0])
    says(one, "every label is 'only'", "at least two classes")
    save(one / "other/1.png", X[0])
    says(one, "there is one image per class")


def test_a_folder_without_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    says(tmp_path, "contains no data set", "mnist_train.csv", "IDX", "one subfolder of pictures per class")


# Labels.


def npz(path: Path, y: np.ndarray, **more: np.ndarray) -> datasets.Dataset:
    np.savez(path, x_train=X[:40], y_train=y[:40], x_test=X[40:], y_test=y[40:], **more)
    return datasets.load(path)


def test_labels_in_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    names = np.array(["zebra", "ant", "\u732b"])
    for labels in (names[Y], np.char.encode(names[Y], "utf-8"), names[Y][:, None]):
        data = npz(path, labels)
        assert data.class_names == ("ant", "zebra", "\u732b")
        same(data, y=np.array([1, 0, 2])[Y])
    for labels in (names[Y], Y, Y.astype(str), np.char.add(Y.astype(str), ".0")):
        for key in ("class_names", "classes"):
            data = npz(path, labels, **{key: names})
            assert (data.class_names, data.classes) == (tuple(names), 3)
            same(data)
    assert npz(path, Y, class_names=np.array(["a", "b", "c", "d"])).classes == 4
    assert npz(path, Y, classes=np.array(3)).class_names == ()
    for dtype in (np.float32, np.uint8, bool):
        data = npz(path, np.eye(3, dtype=dtype)[Y])
        assert "rows are one-hot" in same(data)[0]
        assert data.class_names == ()
    data = npz(path, np.array(["\x1b[31mred\x1b[0m", "two\nlines", "\u202etxt.exe"])[Y])
    assert data.class_names == ("[31mred[0m", "two lines", "txt.exe")


def test_too_many_classes(tmp_path: Path) -> None:
    n = 10_001
    x = np.zeros((n, 4), np.uint8)
    for labels in (np.arange(n), np.arange(n).astype("U8") + "x"):
        np.savez(tmp_path / "a.npz", x_train=x, y_train=labels, x_test=x[:1], y_test=labels[:1])
        says(tmp_path / "a.npz", "10,001", "expected at most 10,000")


def test_classes_in_the_order_of_a_network(tmp_path: Path) -> None:
    data = npz(tmp_path / "a.npz", np.array(["a", "b", "c"])[Y]).hold_out(5, 0)
    assert datasets.align_classes(data, (), "w") is data
    assert datasets.align_classes(data, ("a", "b", "c"), "w") is data
    unnamed = npz(tmp_path / "b.npz", Y)
    assert "has no class names" in same(datasets.align_classes(unnamed, ("a", "b", "c"), "w"))[0]
    aligned = datasets.align_classes(data, ("c", "a", "b"), "w")
    for before, after in (
        (data.train, aligned.train),
        (data.validation, aligned.validation),
        (data.test, aligned.test),
    ):
        assert [data.class_names[k] for k in before.labels] == [aligned.class_names[k] for k in after.labels]
        np.testing.assert_array_equal(before.images, after.images)
    assert "in the order of w" in aligned.notes[-1]
    text = sentence_of(lambda: datasets.align_classes(data, ("a", "b", "x"), "w"))
    assert "only the data have c, and only the network has x" in text


# The digits of scikit-learn.


def test_the_built_in_digits() -> None:
    digest = hashlib.sha256(BUILT_IN["digits"].read_bytes()).hexdigest()
    assert f"SHA-256: {digest}" in BUILT_IN["digits"].with_name("DIGITS.md").read_text()
    data = datasets.load("digits")
    assert (data.input_shape, data.classes, data.class_names) == ((8, 8), 10, ())
    assert [len(split.labels) for split in (data.train, data.test)] == [1437, 360]
    counts = np.concatenate([data.train.images, data.test.images]).astype(int)
    original = np.rint(counts * 16 / 255).astype(int)
    np.testing.assert_array_equal((original * 255 + 8) // 16, counts)
    # The sum of all values in scikit-learn's copy, and its first image.
    assert original.sum() == 561718
    assert original[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    np.testing.assert_array_equal(load_images("digits", (8, 8), 1 / 255).images, data.test.images)


def test_digits_is_a_folder_only_with_a_separator(tmp_path: Path) -> None:
    pair(tmp_path / "digits", "")
    same(datasets.load("digits/"))
    same(datasets.load("./digits"))
    assert datasets.load("digits").input_shape == (8, 8)
