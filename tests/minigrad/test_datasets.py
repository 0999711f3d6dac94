"""Reading data: MNIST, .npz, IDX; and cutting and shuffling it."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import datasets
from minigrad.runs import UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 3, 3)).astype(np.uint8)
LABELS = np.arange(12) % 4


def arrays(x: np.ndarray = PIXELS, y: np.ndarray = LABELS) -> dict[str, np.ndarray]:
    return {"x_train": x[:8], "y_train": y[:8], "x_test": x[8:], "y_test": y[8:]}


def saved(path: Path, **change: np.ndarray) -> Path:
    np.savez(path, **(arrays() | change))
    return path


def holds(data: datasets.Dataset, x: np.ndarray = PIXELS, y: np.ndarray = LABELS) -> None:
    np.testing.assert_array_equal(np.concatenate([data.train.images, data.test.images]), x)
    np.testing.assert_array_equal(np.concatenate([data.train.labels, data.test.labels]), y)
    assert data.train.labels.dtype == data.test.labels.dtype == np.int64


# MNIST.


def test_the_embedded_mnist_is_the_canonical_one() -> None:
    assert (
        hashlib.sha256(datasets.MNIST.read_bytes()).hexdigest()
        == "06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"
    )
    data = datasets.load("mnist", 5000)
    assert [len(split.images) for split in (data.train, data.validation, data.test)] == [55_000, 5_000, 10_000]
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [55_000, 5_000, 10_000]
    assert (data.input_shape, data.classes, data.train.images.dtype) == ((28, 28), 10, np.uint8)
    assert data.input_scale == 1 / 255


# .npz


def test_npz_of_pixels(tmp_path: Path) -> None:
    data = datasets.load(saved(tmp_path / "a.npz"))
    holds(data)
    assert (data.input_shape, data.classes, data.input_scale) == ((3, 3), 4, 1 / 255)
    assert data.train.images.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int8])
def test_whole_pixels_of_any_width_become_uint8(tmp_path: Path, dtype: type) -> None:
    x = (PIXELS % 128).astype(dtype)
    data = datasets.load(saved(tmp_path / "a.npz", **arrays(x)))
    holds(data, x)
    assert data.train.images.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_they_are(tmp_path: Path, dtype: type) -> None:
    x = RNG.normal(size=(12, 5)).astype(dtype)
    data = datasets.load(saved(tmp_path / "a.npz", **arrays(x)))
    holds(data, x.astype(np.float32))
    assert (data.train.images.dtype, data.input_scale, data.input_shape) == (np.float32, 1.0, (5,))


@pytest.mark.parametrize(("shape", "classes"), [((1,), 2), ((7,), 3), ((2, 5), 4), ((4, 4, 3), 8)])
def test_any_shape_and_any_number_of_classes(tmp_path: Path, shape: tuple[int, ...], classes: int) -> None:
    x, y = RNG.integers(0, 256, (12, *shape)).astype(np.uint8), np.arange(12) % classes
    data = datasets.load(saved(tmp_path / "a.npz", **arrays(x, y)))
    holds(data, x, y)
    assert (data.input_shape, data.classes) == (shape, classes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64, np.float16, np.float64])
@pytest.mark.filterwarnings("error")
def test_labels_of_any_dtype_and_in_a_column(tmp_path: Path, dtype: type) -> None:
    holds(datasets.load(saved(tmp_path / "a.npz", **arrays(PIXELS, LABELS.astype(dtype)))))
    holds(datasets.load(saved(tmp_path / "b.npz", y_train=LABELS[:8, None].astype(dtype))))


def test_a_compressed_npz_with_more_arrays_and_a_relative_path(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", **arrays(), comment=np.array("more"))
    holds(datasets.load("a.npz"))


# IDX.

IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize("separator", ["-", "."])
def test_idx_plain_and_gzipped(tmp_path: Path, gzipped: bool, separator: str) -> None:
    for key, name in IDX_NAMES.items():
        name = name.replace("-idx", f"{separator}idx")
        content = idx_bytes(arrays()[key])
        (tmp_path / (name + ".gz" * gzipped)).write_bytes(gzip.compress(content) if gzipped else content)
    holds(datasets.load(tmp_path))


# Splitting and shuffling.


@settings(max_examples=60)
@given(st.integers(1, 300), st.data())
def test_a_split_takes_every_index_once(size: int, data: st.DataObject) -> None:
    held = data.draw(st.integers(0, size - 1))
    seed = data.draw(st.integers(0, 2**32 - 1))
    train, validation = datasets.split(size, held, seed)
    assert len(validation) == held
    np.testing.assert_array_equal(np.sort(np.concatenate([train, validation])), np.arange(size))
    again, _ = datasets.split(size, held, seed)
    np.testing.assert_array_equal(again, train)


def test_the_seed_draws_who_is_held_out(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz")
    held = [datasets.load(path, 4, seed).validation.images.tobytes() for seed in range(6)]
    assert len(set(held)) > 1
    data = datasets.load(path, 4, 0)
    assert data.validation.images.tobytes() == held[0]
    together = np.concatenate([data.train.images, data.validation.images])
    assert sorted(x.tobytes() for x in together) == sorted(x.tobytes() for x in PIXELS[:8])
    np.testing.assert_array_equal(data.test.images, PIXELS[8:])
    index = {x.tobytes(): y for x, y in zip(PIXELS, LABELS, strict=True)}
    for split in (data.train, data.validation):
        assert [index[x.tobytes()] for x in split.images] == split.labels.tolist()


@settings(max_examples=60)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_an_epoch_sees_every_index_once_and_the_remainder_last(size: int, batch: int, seed: int, epoch: int) -> None:
    batch = min(batch, size)
    parts = list(datasets.batches(size, batch, seed, epoch))
    assert len(parts) == datasets.steps_per_epoch(size, batch)
    assert all(len(p) == batch for p in parts[:-1])
    assert len(parts[-1]) == size - batch * (len(parts) - 1)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(size))
    np.testing.assert_array_equal(np.concatenate(parts), datasets.epoch_order(size, seed, epoch))


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    orders = {datasets.epoch_order(100, seed, epoch).tobytes() for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert datasets.epoch_order(100, 3, 2).tobytes() in orders


# Shifting.


@settings(max_examples=60)
@given(st.integers(0, 300), st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_shifts_are_whole_pixels_within_reach_drawn_by_seed_and_epoch(size: int, seed: int, epoch: int) -> None:
    shifts = datasets.epoch_shifts(size, seed, epoch)
    assert (shifts.shape, shifts.dtype) == ((size, 2), np.int64)
    assert np.isin(shifts, range(-datasets.MAX_SHIFT, datasets.MAX_SHIFT + 1)).all()
    np.testing.assert_array_equal(datasets.epoch_shifts(size, seed, epoch), shifts)


def test_each_epoch_and_each_seed_has_its_own_shifts() -> None:
    drawn = {datasets.epoch_shifts(100, seed, epoch).tobytes() for seed in range(5) for epoch in range(5)}
    assert len(drawn) == 25
    assert datasets.epoch_shifts(100, 3, 2).tobytes() in drawn


def test_every_shift_is_as_likely_as_any_other() -> None:
    reach = 2 * datasets.MAX_SHIFT + 1
    shifts = np.concatenate([datasets.epoch_shifts(1800, 7, epoch) for epoch in range(5)])
    _, counts = np.unique(shifts, axis=0, return_counts=True)
    assert len(counts) == reach**2
    expected = len(shifts) / reach**2
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


SHIFTS = np.array([(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)])
DTYPES = [np.uint8, np.int64, np.float32, np.float64, np.bool_]


def shifted_by_a_loop(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    out = np.zeros_like(images)
    for n, (down, right) in enumerate(shifts):
        for y in range(images.shape[1]):
            for x in range(images.shape[2]):
                if 0 <= y - down < images.shape[1] and 0 <= x - right < images.shape[2]:
                    out[n, y, x] = images[n, y - down, x - right]
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 1), (1, 1), (1, 6), (2, 1, 2), (3, 3, 3)], ids=str)
def test_an_image_is_moved_down_and_right_and_zeros_move_in(shape: tuple[int, ...], dtype: type) -> None:
    images = RNG.integers(1, 256, (len(SHIFTS), *shape)).astype(dtype)
    before = images.copy()
    images.flags.writeable = False
    moved = datasets.shifted(images, SHIFTS)
    assert (moved.shape, moved.dtype) == (images.shape, images.dtype)
    np.testing.assert_array_equal(moved, shifted_by_a_loop(images, SHIFTS))
    np.testing.assert_array_equal(images, before)


def test_a_shift_written_out() -> None:
    image = np.array([[[1, 2, 3], [4, 5, 6]]])
    for shift, expected in (
        ((1, 0), [[0, 0, 0], [1, 2, 3]]),
        ((0, 1), [[0, 1, 2], [0, 4, 5]]),
        ((-1, -1), [[5, 6, 0], [0, 0, 0]]),
    ):
        np.testing.assert_array_equal(datasets.shifted(image, np.array([shift])), [expected])


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)], ids=str)
def test_a_shift_by_nothing_gives_a_copy_of_the_same(shape: tuple[int, ...]) -> None:
    images = RNG.normal(size=(6, *shape))
    moved = datasets.shifted(images, np.zeros((6, 2), np.int64))
    np.testing.assert_array_equal(moved, images)
    assert not np.shares_memory(moved, images)


def test_no_image_moved_is_no_image() -> None:
    moved = datasets.shifted(np.zeros((0, 4, 5), np.uint8), np.zeros((0, 2), np.int64))
    assert (moved.shape, moved.dtype) == ((0, 4, 5), np.uint8)


def test_images_move_each_by_its_own_shift_whatever_stands_beside_it() -> None:
    images, shifts = RNG.integers(0, 256, (40, 3, 4)), datasets.epoch_shifts(40, 1, 2)
    order = RNG.permutation(40)[:17]
    np.testing.assert_array_equal(
        datasets.shifted(images[order], shifts[order]), datasets.shifted(images, shifts)[order]
    )


# Arrays in memory.


def test_arrays_are_read_as_those_of_an_npz(tmp_path: Path) -> None:
    data = datasets.from_arrays(**arrays(), validation_size=2, seed=7)
    from_file = datasets.load(saved(tmp_path / "a.npz"), 2, 7)
    assert data.digest == from_file.digest
    assert (data.classes, data.path) == (from_file.classes, "arrays")


def test_arrays_without_a_test_split_and_with_names() -> None:
    data = datasets.from_arrays(PIXELS.tolist(), LABELS, class_names=["a", "b", "c", "d"])  # type: ignore[arg-type]
    assert [len(part.labels) for part in (data.train, data.validation, data.test)] == [8, 0, 4]
    assert data.class_names == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_test": None}, "x_test without y_test; expected both, or neither"),
        ({"x_test": None}, "y_test without x_test; expected both, or neither"),
        ({"y_train": LABELS[:7]}, "arrays: y_train"),
        ({"x_train": PIXELS[:8] * np.nan}, "arrays: x_train"),
        ({"x_test": PIXELS[8:, 1:]}, r"arrays: x_test: the images have shape \(2, 3\); expected \(3, 3\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        datasets.from_arrays(**arrays() | change)
