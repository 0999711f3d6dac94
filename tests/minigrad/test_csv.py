"""CSV files of any layout: which column is the label, which is an index, and a cache that never lies."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrad_helpers import sentence_of

from minigrad import datasets

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (60, 9))
LABELS = RNG.permutation(np.arange(60) % 4)
TRAIN, TEST = "mnist_train.csv", "mnist_test.csv"


def write(path: Path, header: str | None, *columns: np.ndarray, separator: str = ",", newline: str = "\n") -> None:
    lines = [] if header is None else [header.replace(",", separator)]
    lines += [separator.join(map(str, row)) for row in np.column_stack(columns).tolist()]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes("".join(line + newline for line in lines).encode())


def save(folder: Path, header: str | None, *columns: np.ndarray, train: int = 40, **options: str) -> Path:
    """The first rows of `columns` to train, the rest to test."""
    write(folder / TRAIN, header, *(column[:train] for column in columns), **options)
    write(folder / TEST, header, *(column[train:] for column in columns), **options)
    return folder


def holds(folder: Path, pixels: np.ndarray = PIXELS, labels: np.ndarray = LABELS) -> tuple[str, ...]:
    """`folder` gives these images and labels, train before test; returns the notes."""
    data = datasets.load(folder)
    images = np.concatenate([data.train.images, data.test.images])
    np.testing.assert_array_equal(images.reshape(len(images), -1), pixels)
    np.testing.assert_array_equal(np.concatenate([data.train.labels, data.test.labels]), labels)
    side = int(pixels.shape[1] ** 0.5)
    assert images.shape[1:] == ((side, side) if side**2 == pixels.shape[1] else (pixels.shape[1],))
    assert (images.dtype, data.train.labels.dtype, data.test.labels.dtype) == (np.uint8, np.int64, np.int64)
    return data.notes


def names(count: int, start: int = 0, stem: str = "pixel") -> str:
    return ",".join(f"{stem}{i}" for i in range(start, start + count))


# Headers.


@pytest.mark.parametrize(
    "name", ["label", "labels", "class", "classes", "target", "targets", "LABEL", "Class", ' "label" ']
)
@pytest.mark.parametrize("at", [0, 4, 9], ids=["first", "middle", "last"])
def test_the_label_is_found_by_its_name(tmp_path: Path, name: str, at: int) -> None:
    header = ",".join(filter(None, [names(at), name, names(9 - at, at)]))
    assert holds(save(tmp_path / "csv", header, PIXELS[:, :at], LABELS, PIXELS[:, at:])) == ()


@pytest.mark.parametrize("name", ["", '""', "Unnamed: 0", "Unnamed: 0.1", "index", "id", "ImageId"])
def test_an_index_named_in_the_header_is_ignored(tmp_path: Path, name: str) -> None:
    index = np.arange(60) * 1000 + 7
    assert holds(save(tmp_path / "first", f"{name},label,{names(9)}", index, LABELS, PIXELS)) == ()
    assert holds(save(tmp_path / "last", f"{name},{names(9)},label", index, PIXELS, LABELS)) == ()


def test_an_index_may_be_text_and_in_the_middle(tmp_path: Path) -> None:
    files = np.array([f'"digits, {i}.png"' for i in range(60)])
    write(tmp_path / "csv" / TRAIN, f"{names(3)},id,label,{names(6, 3)}", PIXELS[:, :3], files, LABELS, PIXELS[:, 3:])
    write(tmp_path / "csv" / TEST, f"label,{names(9)}", LABELS, PIXELS)
    assert holds(tmp_path / "csv", np.tile(PIXELS, (2, 1)), np.tile(LABELS, 2)) == ()


@pytest.mark.parametrize("start", [0, 1])
def test_integer_names_as_pandas_writes_them(tmp_path: Path, start: int) -> None:
    numbers = names(9, start, "")
    assert holds(save(tmp_path / "first", f"label,{numbers}", LABELS, PIXELS)) == ()
    assert holds(save(tmp_path / "last", f"{numbers},label", PIXELS, LABELS)) == ()
    assert holds(save(tmp_path / "both", f",{numbers},target", np.arange(60), PIXELS, LABELS)) == ()


def test_few_integer_names_beside_a_label(tmp_path: Path) -> None:
    holds(save(tmp_path / "csv", "0,1,2,3,label", PIXELS[:, :4], LABELS), PIXELS[:, :4])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [None, f"label,{names(9)}"])
def test_separators_and_line_ends(tmp_path: Path, header: str | None, separator: str, newline: str) -> None:
    holds(save(tmp_path / "csv", header, LABELS, PIXELS, separator=separator, newline=newline))


def test_an_empty_first_name_before_a_tab(tmp_path: Path) -> None:
    holds(save(tmp_path / "csv", f",{names(9, 0, '')},label", np.arange(60), PIXELS, LABELS, separator="\t"))


@pytest.mark.parametrize("header", [None, f"{names(9)},label"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_blank_lines_and_the_mark_that_spreadsheets_write(tmp_path: Path, header: str | None, encoding: str) -> None:
    folder = save(tmp_path / "csv", header, PIXELS, LABELS)
    for name in (TRAIN, TEST):
        lines = (folder / name).read_text().splitlines()
        lines = ["", "  ", *lines[:2], "", *lines[2:], "\t", ""]
        (folder / name).write_text("\n".join(lines), encoding=encoding)
    holds(folder)


def test_quoted_cells(tmp_path: Path) -> None:
    folder = save(tmp_path / "csv", f"label,{names(9)}", LABELS, PIXELS)
    for name in (TRAIN, TEST):
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines))
    holds(folder)


@pytest.mark.parametrize("layout", ["first", "last", "named"])
def test_labels_above_255(tmp_path: Path, layout: str) -> None:
    labels = RNG.permutation(np.arange(60) % 20) * 20
    labels[:40] = RNG.permutation(np.arange(40) % 20) * 20
    header = f"label,{names(9)}" if layout == "named" else None
    holds(save(tmp_path / "csv", header, *((PIXELS, labels) if layout == "last" else (labels, PIXELS))), labels=labels)


# Files without a label.


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (names(9), ("the header has no label column", "label, labels, class, classes, target or targets")),
        (f"id,{names(8)}", ("the header has no label column",)),
        (f"digit,{names(8, 0, '')}", ("the header has no label column",)),
        (names(9, 0, ""), ("numbers the columns from 0 to 8")),
        (names(9, 1, ""), ("numbers the columns from 1 to 9")),
    ],
)
def test_a_header_without_a_label(tmp_path: Path, header: str, words: tuple[str, ...]) -> None:
    text = sentence_of(lambda: datasets.load(save(tmp_path / "csv", header, PIXELS)))
    for word in (TRAIN, *words):
        assert word in text
    write(tmp_path / "csv" / TRAIN, f"label,{names(8)}", LABELS, PIXELS[:, :8])
    text = sentence_of(lambda: datasets.load(tmp_path / "csv"))
    for word in (TEST, *words):
        assert word in text


def test_a_header_with_two_labels(tmp_path: Path) -> None:
    folder = save(tmp_path / "csv", f"Label,{names(9)},class", LABELS, PIXELS, LABELS)
    text = sentence_of(lambda: datasets.load(folder))
    assert f"{TRAIN}: has 2 label columns, 'Label' (column 1) and 'class' (column 11); expected only one" in text


def digits(count: int, side: int = 8, top: int = 16) -> np.ndarray:
    """Something in the middle, and now and then a value in the last corner."""
    images = np.zeros((count, side, side), int)
    images[:, 1:-1, 1:-1] = RNG.integers(0, top + 1, (count, side - 2, side - 2))
    images[:, -1, -1] = np.where(RNG.random(count) < 0.06, RNG.integers(0, top + 1, count), 0)
    return images.reshape(count, -1)


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("images", [digits(100), digits(100, 28, 255), RNG.integers(0, 256, (100, 64))])
def test_images_alone_have_no_label(tmp_path: Path, images: np.ndarray, index: bool) -> None:
    folder = save(tmp_path / "csv", None, *([np.arange(100)] if index else []), images)
    text = sentence_of(lambda: datasets.load(folder))
    columns = images.shape[1] + index
    assert (
        f"{TRAIN}: has no header, and neither the first nor the last of its {columns} columns looks like labels" in text
    )


# No header, but a label.


def smooth(count: int, side: int, top: int, channels: int = 1) -> np.ndarray:
    """Images without a margin: every value is about as frequent as any other, in the corners too."""
    coarse = RNG.random((count, side // 2, side // 2, channels)).repeat(2, 1).repeat(2, 2)
    images = coarse * 0.7 + 0.3 * RNG.random((count, side, side, channels))
    return np.minimum(images * (top + 1), top).astype(int).reshape(count, -1)


def classes(count: int, number: int) -> np.ndarray:
    return RNG.permutation(np.arange(count) % number)


# Name: the pixels of 100 images, and the number of classes.
KINDS = {
    "28x28": (digits(100, 28, 255), 10),
    "8x8": (digits(100), 10),
    "black and white": (smooth(100, 8, 1), 10),
    "colour": (smooth(100, 8, 255, 3), 10),
    "grey": (smooth(100, 8, 255), 2),
    "15 features": (RNG.integers(0, 256, (100, 15)), 3),
    "15 features from 0 to 9": (RNG.integers(0, 10, (100, 15)), 3),
    "16 features from 0 to 15": (np.clip(RNG.normal(7, 3, (100, 16)), 0, 15).astype(int), 26),
    "1 pixel": (RNG.permutation(np.arange(100)).reshape(100, 1), 5),
    "2 pixels": (RNG.integers(0, 200, (100, 2)), 5),
}


@pytest.mark.parametrize("first", [0, 1], ids=["from 0", "from 1"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_label_is_found_by_its_values(tmp_path: Path, kind: str, first: int) -> None:
    pixels, number = KINDS[kind]
    labels, columns = classes(100, number) + first, pixels.shape[1] + 1
    low, high = labels[:80].min(), labels[:80].max()
    clause = f"of its {columns} columns is used as the label, because its values range from {low} to {high}"
    for position, parts in (("first", (labels, pixels)), ("last", (pixels, labels))):
        folder = save(tmp_path / position, None, *parts, train=80)
        assert holds(folder, pixels, labels) == (f"{folder / TRAIN} has no header: the {position} {clause}",)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "1 pixel"])
def test_an_index_is_found_by_its_values(tmp_path: Path, kind: str, start: int) -> None:
    pixels, number = KINDS[kind]
    labels, columns = classes(100, number), pixels.shape[1] + 2
    index = np.concatenate([np.arange(80), np.arange(20)]) + start
    reason = f"because its values range from 0 to {labels[:80].max()}"
    for position, parts in (("second", (labels, pixels)), ("last", (pixels, labels))):
        folder = save(tmp_path / position, None, index, *parts, train=80)
        (note,) = holds(folder, pixels, labels)
        assert note == (
            f"{folder / TRAIN} has no header: the first of its {columns} columns is ignored as a row index,"
            f" and the {position} one is used as the label, {reason}"
        )


@pytest.mark.parametrize("kind", ["28x28", "8x8", "grey", "15 features"])
def test_ten_rows_are_enough(tmp_path: Path, kind: str) -> None:
    pixels, _ = KINDS[kind]
    pixels, labels = pixels[:20], np.array([7, 2, 1, 0, 4, 1, 4, 9, 5, 9, *range(10)])
    for position, parts in (("first", (labels, pixels)), ("last", (pixels, labels))):
        (note,) = holds(save(tmp_path / position, None, *parts, train=10), pixels, labels)
        assert f"the {position} of" in note


def test_ten_labels_in_order_are_no_index_unless_the_images_are_square_without_it(tmp_path: Path) -> None:
    pixels, order, labels = digits(20), np.tile(np.arange(10), 2), np.tile([3, 1, 2, 0, 0], 4)
    holds(save(tmp_path / "label", None, order, pixels, train=10), pixels, order)
    (note,) = holds(save(tmp_path / "index", None, order, labels, pixels, train=10), pixels, labels)
    assert "the first of its 66 columns is ignored as a row index, and the second one is used as the label" in note


def test_the_first_column_is_the_label_if_the_values_do_not_decide(tmp_path: Path) -> None:
    pixels, labels = RNG.integers(0, 4, (100, 9)), classes(100, 4)
    folder = save(tmp_path / "same", None, labels, pixels)
    reason = "by convention, because the values do not show whether the label is this column or the last one"
    note = f"{folder / TRAIN} has no header: the first of its 10 columns is used as the label, {reason}"
    assert holds(folder, pixels, labels) == (note,)
    pixels, labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0]]), np.array([5, 9, 5, 5, 9])
    folder = save(tmp_path / "few", None, labels, pixels, train=3)
    assert holds(folder, pixels, labels) == (
        f"{folder / TRAIN} has no header: the first of its 3 columns is used as the label, {reason}",
    )


def test_rare_classes_in_front_are_the_label(tmp_path: Path) -> None:
    labels, pixels = np.zeros(200, int), RNG.integers(0, 256, (200, 15))
    labels[:10] = labels[190:] = 1
    holds(save(tmp_path / "csv", None, labels, pixels), pixels, labels)


def test_mnist_with_the_label_last(tmp_path: Path) -> None:
    mnist = datasets.load("mnist").test
    pixels, labels = mnist.images[:300].reshape(300, -1), mnist.labels[:300]
    folder = save(tmp_path / "csv", None, pixels, labels, train=200)
    clause = "the last of its 785 columns is used as the label, because its values range from 0 to 9"
    assert holds(folder, pixels, labels) == (f"{folder / TRAIN} has no header: {clause}",)


# Two files.


def test_the_test_file_is_read_like_the_train_file(tmp_path: Path) -> None:
    pixels, labels = np.concatenate([PIXELS, np.zeros((3, 9), int)]), np.append(LABELS, [3, 3, 3])
    (note,) = holds(save(tmp_path / "csv", None, pixels, labels, train=60), pixels, labels)
    assert f"{TRAIN} has no header: the last of its 10 columns" in note


def test_a_test_file_with_a_header_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "csv" / TRAIN, None, PIXELS[:40], LABELS[:40])
    write(tmp_path / "csv" / TEST, f"id,{names(4)},label,{names(5, 4)}", *(
        column[40:] for column in (np.arange(60), PIXELS[:, :4], LABELS, PIXELS[:, 4:])
    ))  # fmt: skip
    (note,) = holds(tmp_path / "csv")
    assert f"{TRAIN} has no header: the last of its 10 columns" in note


def test_a_test_file_without_the_header_of_the_train_file(tmp_path: Path) -> None:
    parts = (np.arange(60), PIXELS[:, :4], LABELS, PIXELS[:, 4:])
    write(tmp_path / "csv" / TRAIN, f"id,{names(4)},label,{names(5, 4)}", *(column[:40] for column in parts))
    write(tmp_path / "csv" / TEST, None, *(column[40:] for column in parts))
    train, test = tmp_path / "csv" / TRAIN, tmp_path / "csv" / TEST
    assert holds(tmp_path / "csv") == (f"{test} has no header: its columns are assumed to be in the order of {train}",)


def test_a_test_file_of_another_width_is_judged_by_itself(tmp_path: Path) -> None:
    write(tmp_path / "csv" / TRAIN, f"id,label,{names(9)}", np.arange(40), LABELS[:40], PIXELS[:40])
    write(tmp_path / "csv" / TEST, None, PIXELS[40:], LABELS[40:])
    test = tmp_path / "csv" / TEST
    note = (
        f"{test} has no header: the last of its 10 columns is used as the label, because its values range from 0 to 3"
    )
    assert holds(tmp_path / "csv") == (note,)


@pytest.mark.parametrize("last", [False, True])
def test_a_corner_pixel_above_255_is_named_by_line_and_column(tmp_path: Path, last: bool) -> None:
    pixels = PIXELS.copy()
    pixels[30, -1 if not last else 0] = 256
    folder = save(tmp_path / "csv", None, *((pixels, LABELS) if last else (LABELS, pixels)))
    (folder / TRAIN).write_text("\n" + (folder / TRAIN).read_text())
    text = sentence_of(lambda: datasets.load(folder))
    assert f"{TRAIN}: line 32, column {1 if last else 10} contains '256'; expected a whole number from 0 to 255" in text


# Any layout.

LAYOUTS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[str | None, tuple[np.ndarray, ...]]]] = {
    "first": lambda x, y: (None, (y, x)),
    "last": lambda x, y: (None, (x, y)),
    "index, first": lambda x, y: (None, (np.arange(len(y)), y, x)),
    "index, last": lambda x, y: (None, (np.arange(1, len(y) + 1), x, y)),
    "named, first": lambda x, y: (f"label,{names(x.shape[1])}", (y, x)),
    "named, last": lambda x, y: (f"{names(x.shape[1])},Target", (x, y)),
    "named, middle": lambda x, y: (f"a,class,{names(x.shape[1] - 1)}", (x[:, :1], y, x[:, 1:])),
    "named, index": lambda x, y: (f",{names(x.shape[1])},label", (np.arange(len(y)) * 999, x, y)),
    "numbered, first": lambda x, y: (f"label,{names(x.shape[1], 0, '')}", (y, x)),
    "numbered, last": lambda x, y: (f"{names(x.shape[1], 0, '')},label", (x, y)),
    "numbered, index": lambda x, y: (f",label,{names(x.shape[1], 1, '')}", (np.arange(len(y)), y, x)),
}


@settings(max_examples=150)
@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    rows=st.integers(20, 40),
    pixels=st.integers(2, 40),
    number=st.integers(2, 10),
    separator=st.sampled_from(",;\t"),
    newline=st.sampled_from(["\n", "\r\n", "\n\n"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_layout_gives_the_same_images_and_labels(
    layout: str, rows: int, pixels: int, number: int, separator: str, newline: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 256, (rows, pixels)), rng.permutation(np.arange(rows) % number)
    header, columns = LAYOUTS[layout](x, y)
    with tempfile.TemporaryDirectory() as folder:
        for name in (TRAIN, TEST):
            write(Path(folder) / name, header, *columns, separator=separator, newline=newline)
        notes = holds(Path(folder), np.tile(x, (2, 1)), np.tile(y, 2))
    assert len(notes) == (header is None)


# The cache.


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.npz"))


def parses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("parsed again")

    with monkeypatch.context() as m:
        m.setattr(np, "loadtxt", never)
        holds(folder)


@pytest.mark.parametrize("header", [None, f"label,{names(9)}"])
def test_a_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str | None) -> None:
    folder = save(tmp_path / "csv", header, LABELS, PIXELS)
    holds(folder)
    assert len(cached(tmp_path)) == 2
    parses_nothing(folder, monkeypatch)
    folder.rename(tmp_path / "elsewhere")
    parses_nothing(tmp_path / "elsewhere", monkeypatch)


def test_a_file_replaced_within_the_same_time_stamp_is_parsed_again(tmp_path: Path) -> None:
    folder = save(tmp_path / "csv", None, LABELS, PIXELS)
    before = {name: (folder / name).stat() for name in (TRAIN, TEST)}
    holds(folder)
    other = np.concatenate([PIXELS[39::-1], PIXELS[:39:-1]])  # the same rows, so that the files are as long as before
    labels = np.concatenate([LABELS[39::-1], LABELS[:39:-1]])
    save(folder, None, labels, other)
    for name, stat in before.items():
        os.utime(folder / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        now = (folder / name).stat()
        assert (now.st_size, now.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    holds(folder, other, labels)


def test_the_same_rows_under_another_header_are_other_labels(tmp_path: Path) -> None:
    columns = np.insert(PIXELS, 0, LABELS, axis=1), LABELS[::-1]
    holds(save(tmp_path / "csv", f"label,{names(10)}", *columns), np.column_stack(columns)[:, 1:], LABELS)
    holds(save(tmp_path / "csv", f"{names(10)},label", *columns), columns[0], LABELS[::-1])


def test_the_cache_is_never_beside_the_data(tmp_path: Path) -> None:
    folder = save(tmp_path / "csv", None, LABELS, PIXELS)
    holds(folder)
    assert sorted(p.name for p in folder.iterdir()) == [TEST, TRAIN]
    assert len(cached(tmp_path)) == 2


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def object_array(path: Path) -> None:
    np.savez(path, wide=np.array([[None]]), narrow=np.array([[print]]))


def single_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((40, 10), np.uint8))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"hello, world\n" * 99),
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
    "npy with a damaged header": lambda path: path.write_bytes(
        b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'shape': (((" * 9
    ),
    "single array": single_array,
    "objects": object_array,
    "other names": lambda path: np.savez(path, table=arrays_of(path)["narrow"]),
    "other dtype": lambda path: np.savez(path, **{k: v.astype(np.float32) for k, v in arrays_of(path).items()}),
    "other dimensions": lambda path: np.savez(path, **{k: v.ravel() for k, v in arrays_of(path).items()}),
    "other columns": lambda path: np.savez(path, **{k: v[:, 1:] for k, v in arrays_of(path).items()}),
    "other rows": lambda path: np.savez(path, **(arrays_of(path) | {"wide": arrays_of(path)["wide"][1:]})),
    "no rows": lambda path: np.savez(path, **{k: v[:0] for k, v in arrays_of(path).items()}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "csv", None, LABELS, PIXELS)
    holds(folder)
    for path in cached(tmp_path):
        DAMAGE[damage](path)
    holds(folder)
    assert len(cached(tmp_path)) == 2
    parses_nothing(folder, monkeypatch)


def test_a_cache_with_any_bit_flipped_gives_the_same(tmp_path: Path) -> None:
    folder = save(tmp_path / "csv", None, LABELS, PIXELS)
    holds(folder)
    path, dice = max(cached(tmp_path), key=lambda path: path.stat().st_size), random.Random(0)
    whole = path.read_bytes()
    for position in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[position] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        holds(folder)


def test_a_folder_in_place_of_the_cache_file(tmp_path: Path) -> None:
    folder = save(tmp_path / "csv", None, LABELS, PIXELS)
    holds(folder)
    for path in cached(tmp_path):
        path.unlink()
        path.mkdir()
    holds(folder)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    holds(save(tmp_path / "csv", None, LABELS, PIXELS))
