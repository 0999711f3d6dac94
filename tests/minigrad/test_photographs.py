"""Photographs of digits get the same answers as the images that they were rendered from."""

from __future__ import annotations

import csv
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handwriting import BOARD, CHALK, CONDITIONS, Scene, fifty, render, rotated
from minigrad_helpers import Command, Result, save_network, sentence_of
from PIL import Image, ImageOps

from minigrad import datasets, predict, recipes, train
from minigrad.classifier import Classifier
from minigrad.datasets import Dataset, load_images
from minigrad.datasets.mnist_like import are_centered, is_mnist_like
from minigrad.restore import restore
from minigrad.runs import run_command, weights

SHAPE, PIXELS = (28, 28), 1 / 255


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return datasets.load("mnist")


@pytest.fixture(scope="module")
def digits(mnist: Dataset) -> np.ndarray:
    return fifty(mnist.test.images)


@pytest.fixture(scope="module")
def labels(mnist: Dataset) -> np.ndarray:
    return fifty(mnist.test.labels)


@pytest.fixture(scope="module")
def trained(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of the recipe `advanced`, trained for one epoch."""
    recipe, out = recipes.load("advanced"), tmp_path_factory.mktemp("trained") / "run"
    recipe.trainer.max_epochs = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minigrad.runs.pictures.draw", lambda *_: [])
        patch.setattr("minigrad.runs.curves.draw", lambda *_: None, raising=False)
        train.fit(recipe, mnist.hold_out(None, 42), out)
    return out / "weights.safetensors"


@pytest.fixture(scope="module")
def net(trained: Path) -> Classifier:
    return restore(trained)[0]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Command:
    """Call `python -m minigrad predict` in process."""

    def call(*argv: object) -> Result:
        capsys.readouterr()
        status = run_command(predict.PROG, predict.main, [str(word) for word in argv])
        return Result(status, *capsys.readouterr())

    return call


def correct(net: Classifier, images: np.ndarray, labels: np.ndarray) -> int:
    return int((net.predict(images).argmax(axis=1) == labels).sum())


def seen(path: Path | str, **options: Any) -> np.ndarray:
    """What a network that was trained on MNIST receives."""
    return load_images(path, SHAPE, PIXELS, **{"mnist_like": True, **options}).images


def photographs(folder: Path, digits: np.ndarray, scene: Callable[[int], Scene], suffix: str = ".png") -> Path:
    folder.mkdir()
    for i, digit in enumerate(digits):
        render(digit, scene(i), i).save(folder / f"{i:02}{suffix}", quality=40)
    return folder


# The answers.


def test_photographs_get_the_answers_of_the_originals(
    net: Classifier, digits: np.ndarray, labels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each digit in another condition; the slow test below has all digits in each condition."""
    scenes = [scene._replace(side=min(scene.side, 100)) for scene in CONDITIONS.values() if scene.digit > 0.2]
    folder = photographs(tmp_path / "photos", digits, lambda i: scenes[i % len(scenes)])
    images = seen(folder)
    assert correct(net, images, labels) >= correct(net, digits, labels) - 2
    assert are_centered(images).all()
    text, err = capsys.readouterr()
    assert text.startswith("50 pictures: converted to gray, cropped and centered; ")
    assert text.endswith(" inverted\n")
    assert err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "suffix"), [(name, (".png", ".jpg")[i % 2]) for i, name in enumerate(CONDITIONS)]
)
def test_every_condition(
    condition: str, suffix: str, net: Classifier, digits: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    """PNG, and JPEG of quality 40, in turn."""
    folder = photographs(tmp_path / "photos", digits, lambda _: CONDITIONS[condition], suffix)
    assert correct(net, seen(folder), labels) >= correct(net, digits, labels) - 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_tag_turns_a_picture(
    orientation: int, digits: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = render(digits[3], Scene(120, aspect=0.7), 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.jpg", "a.png", "a.webp", "a.tif"):
        rotated(picture, orientation).save(tmp_path / name, exif=exif)
        image = seen(tmp_path / name)[0].astype(int)
        assert abs(image - digits[3].astype(int)).mean() < 20, name
        assert ("rotated by the EXIF tag" in capsys.readouterr().out) == (orientation > 1)


def test_pictures_like_the_training_images_are_left_as_they_are(
    mnist: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = mnist.test.images[:60]
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    np.testing.assert_array_equal(seen(tmp_path), images)
    assert capsys.readouterr().out == "60 pictures: left unchanged\n"


def test_arrays_are_preprocessed_only_on_request(digits: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", 255 - digits[:5])
    np.testing.assert_array_equal(seen(tmp_path / "a.npy"), 255 - digits[:5])
    assert abs(seen(tmp_path / "a.npy", preprocess="auto").astype(int) - digits[:5]).mean() < 15
    np.save(tmp_path / "b.npy", np.zeros((5, 10)))
    text = sentence_of(lambda: seen(tmp_path / "b.npy", preprocess="auto"))
    assert "for --preprocess auto expected pixels" in text


# Files of all kinds.


def test_depth_color_modes_and_transparency(digits: np.ndarray, tmp_path: Path) -> None:
    dark = render(digits[3], Scene(80), 0).convert("L")
    gray = np.asarray(dark)
    expected = digits[3].astype(int)
    clear = np.zeros((80, 80, 4), np.uint8)
    clear[..., 3] = 255 - gray  # black ink on nothing
    light = clear.copy()
    light[..., :3] = 255  # white ink on nothing
    pictures = {
        "deep.png": Image.fromarray(gray.astype(np.uint16) * 257),
        "deep.tif": Image.fromarray(gray.astype(np.uint16) * 257),
        "palette.png": dark.convert("P"),
        "palette.gif": dark.convert("P"),
        "bits.png": dark.convert("1"),
        "bits.bmp": dark.convert("1"),
        "cmyk.jpg": dark.convert("RGB").convert("CMYK"),
        "cmyk.tif": dark.convert("RGB").convert("CMYK"),
        "gray.webp": dark.convert("RGB"),
        "ink.png": Image.fromarray(clear),
        "ink.webp": Image.fromarray(clear),
        "light.png": Image.fromarray(light),
        "gray.png": Image.fromarray(clear).convert("LA"),
        "palette ink.png": Image.fromarray(clear).quantize(16),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
        assert abs(seen(tmp_path / name)[0].astype(int) - expected).mean() < 20, name
    floats = tmp_path / "floats.tif"
    Image.fromarray(gray.astype(np.float32)).save(floats)
    assert "floats.tif: has floats or more than 16 bits" in sentence_of(lambda: seen(floats))


def test_the_first_frame_is_used_with_a_note(
    digits: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [render(digit, Scene(80), 0) for digit in digits[3:5]]
    for name in ("a.gif", "a.tif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert abs(seen(tmp_path / name)[0].astype(int) - digits[3]).mean() < 25, name
        assert "used without their further frames" in capsys.readouterr().out, name


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3)])
def test_a_tiny_picture(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("L", size, 200).save(tmp_path / "a.png")
    assert "no digit can be told from the background in a.png" in sentence_of(lambda: seen(tmp_path / "a.png"))


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (11_000, 20_000, 2_000_000_000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        content = header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
        text = sentence_of(lambda: seen(tmp_path / "a.png"))
        assert text == f"{tmp_path / 'a.png'}: has more than 120,000,000 pixels; expected a smaller picture"


def test_formats_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    Image.new("L", SHAPE).save(tmp_path / "a.png")
    (tmp_path / "b.HEIC").write_bytes(b"")
    for path in (tmp_path, tmp_path / "b.HEIC"):
        assert "b.HEIC: .HEIC files cannot be read; expected .png" in sentence_of(lambda p=path: seen(p))


# What is refused, or reported by name.


def test_pictures_without_a_digit_are_refused_by_name(digits: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    render(digits[0], Scene(100), 0).save(tmp_path / "digit.png")
    blank = {
        "white.png": np.full((90, 70), 255),
        "noise.png": rng.normal(200, 12, (100, 100)).clip(0, 255),
        "wild.png": rng.uniform(0, 255, (100, 100)),
        "xor.png": 255 * rng.integers(0, 2, (100, 100)),
        "gradient.png": np.linspace(60, 250, 100) + rng.normal(0, 3, (100, 1)),
    }
    for name, pixels in blank.items():
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
    text = sentence_of(lambda: seen(tmp_path))
    assert "no digit can be told from the background in gradient.png, noise.png, white.png, wild.png, xor.png;" in text
    assert "digit.png" not in text


@pytest.mark.parametrize("scene", [Scene(120), Scene(120, ink=CHALK, paper=BOARD)], ids=["ink", "chalk"])
def test_several_digits_are_reported(
    scene: Scene, digits: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = np.concatenate([np.asarray(render(digit, scene, 0)) for digit in digits[7:9]], axis=1)
    Image.fromarray(pair).save(tmp_path / "pair.png")
    render(digits[7], scene, 0).save(tmp_path / "single.png")
    seen(tmp_path)
    assert (
        capsys.readouterr().err == "warning: pair.png: seems to show several digits; expected one digit per picture\n"
    )


# Whether the training images are like those of MNIST.


def test_mnist_is_mnist_like(mnist: Dataset) -> None:
    images = mnist.test.images
    assert mnist.mnist_like
    assert are_centered(images).all()
    assert is_mnist_like(images[..., None])
    assert is_mnist_like((images / 255).astype(np.float32))


def test_other_images_are_not_mnist_like(mnist: Dataset) -> None:
    images, rng = mnist.test.images[:500], np.random.default_rng(0)
    others = {
        "dark on light": 255 - images,
        "shifted": np.roll(images, 6, axis=2),
        "objects at the border": images[:, 5:23, 5:23],
        "color": np.repeat(images[..., None], 3, axis=3),
        "vectors": images.reshape(len(images), -1),
        "floats of another range": images.astype(np.float32) / 127.5 - 1,
        "noise": rng.integers(0, 256, (500, 28, 28)).astype(np.uint8),
        "black": np.zeros((5, 28, 28), np.uint8),
        "8x8": rng.integers(0, 17, (500, 8, 8)).astype(np.uint8),
        "none": images[:0],
    }
    assert [name for name, other in others.items() if is_mnist_like(other)] == []


@pytest.mark.parametrize(
    ("mnist_like", "reason"),
    [(False, "because the network's training images were not light digits"), (None, "the weights file does not say")],
)
def test_other_networks_get_their_pictures_only_resized(
    mnist_like: bool | None, reason: str, digits: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = render(digits[3], Scene(112), 0)
    picture.save(tmp_path / "a.png")
    resized = picture.convert("L").resize(SHAPE, Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(seen(tmp_path / "a.png", mnist_like=mnist_like)[0], np.asarray(resized))
    text = capsys.readouterr().out
    assert text.startswith("1 picture: converted to gray, resized to 28x28; not inverted or centered, because the ")
    assert reason in text
    resized.save(tmp_path / "a.png")
    np.testing.assert_array_equal(seen(tmp_path / "a.png", mnist_like=mnist_like)[0], np.asarray(resized))


def test_a_network_of_floats_receives_floats(digits: np.ndarray, tmp_path: Path) -> None:
    render(digits[3], Scene(60), 0).save(tmp_path / "a.png")
    images = load_images(tmp_path / "a.png", (28, 28, 1), 1.0, mnist_like=True).images
    assert (images.dtype, images.shape, images.min(), images.max()) == (np.float32, (1, 28, 28, 1), 0, 1)


# As a command.


def test_the_command_reads_from_the_weights_whether_to_preprocess(
    trained: Path, digits: np.ndarray, labels: np.ndarray, answer: Command
) -> None:
    folder = photographs(Path("photos"), digits[:12], lambda _: Scene(90, light="gradient"))
    words = ("--model.weights", trained, "--data.path", folder, "--out", "out")
    result = answer(*words)
    assert result.status == 0
    assert result.out.splitlines()[0] == "12 pictures: converted to gray, inverted, cropped and centered"
    with Path("out/predictions.csv").open(newline="") as file:
        right = [int(row["label"]) == label for row, label in zip(csv.DictReader(file), labels, strict=False)]
    assert sum(right) >= 11
    strict = answer(*words, "--overwrite", "--preprocess", "none")
    assert strict.status == 2
    assert "00.png: the size is 90x90 pixels" in strict.err
    wrong = answer(*words, "--overwrite", "--preprocess", "all")
    assert wrong.err == f"{predict.PROG}: error: preprocess: all; expected auto or none or null\n"


def test_the_inputs_are_saved_and_can_be_read_again(trained: Path, digits: np.ndarray, answer: Command) -> None:
    folder = photographs(Path("photos"), digits[:12], lambda _: Scene(90))
    words = ("--model.weights", trained, "--out", "out", "--save_inputs")
    assert answer(*words, "--data.path", folder).status == 0
    with np.load("out/inputs.npz") as saved:
        assert saved["names"].tolist() == [f"{i:02}.png" for i in range(12)]
        np.testing.assert_array_equal(saved["images"], seen(folder))
    with Image.open("out/inputs.png") as sheet:
        assert sheet.size == (10 * 120, 2 * 142)
    files = json.loads(Path("out/.files.json").read_text())["files"]
    assert {"inputs.npz", "inputs.png", "predictions.csv"} <= set(files)
    labels = [line.split(",")[1] for line in Path("out/predictions.csv").read_text().splitlines()]
    Path("copy.npz").write_bytes(Path("out/inputs.npz").read_bytes())
    assert answer(*words, "--data.path", "copy.npz", "--overwrite").status == 0
    assert [line.split(",")[1] for line in Path("out/predictions.csv").read_text().splitlines()] == labels


def test_a_foreign_file_is_not_replaced_by_the_inputs(trained: Path, answer: Command) -> None:
    Path("out").mkdir()
    Path("out/inputs.png").write_text("mine")
    result = answer("--model.weights", trained, "--data.path", "mnist", "--out", "out", "--save_inputs", "--overwrite")
    assert (result.status, Path("out/inputs.png").read_text()) == (2, "mine")
    assert "holds inputs.png, which this package did not write" in result.err


def test_inputs_that_are_vectors_have_no_picture(tmp_path: Path, answer: Command) -> None:
    save_network(tmp_path / "w.safetensors", (4,), 3, 1.0)
    np.save("x.npy", np.random.default_rng(0).normal(size=(5, 4)))
    assert answer("--model.weights", "w.safetensors", "--data.path", "x.npy", "--save_inputs").status == 0
    assert Path("inputs.npz").exists()
    assert not Path("inputs.png").exists()


def test_the_columns_of_kaggle(trained: Path, net: Classifier, digits: np.ndarray, answer: Command) -> None:
    np.save("x.npy", digits)
    result = answer("--model.weights", trained, "--data.path", "x.npy", "--out", "out", "--format", "kaggle")
    assert result.status == 0
    predicted = net.predict(digits).argmax(axis=1)
    expected = ["ImageId,Label", *(f"{i},{label}" for i, label in enumerate(predicted, start=1))]
    assert Path("out/predictions.csv").read_text() == "\n".join(expected) + "\n"


def test_a_weights_file_of_an_earlier_version(trained: Path, digits: np.ndarray, answer: Command) -> None:
    arrays, metadata = weights.read(trained)
    content = json.loads(metadata["minigrad"])
    assert content.pop("mnist_like") is True
    weights.write(Path("old.safetensors"), arrays, {"minigrad": json.dumps(content)})
    render(digits[0], Scene(60), 0).save("a.png")
    result = answer("--model.weights", "old.safetensors", "--data.path", "a.png")
    assert (result.status, "the weights file does not say" in result.out) == (0, True)
    assert "--trainer.max_epochs 0" in result.out


# Pictures that are easily mistaken.


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_a_picture_like_the_training_images_is_unchanged_in_any_color_mode(
    mode: str, digits: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(digits[0]).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(seen(tmp_path / "a.png")[0], digits[0])
    assert capsys.readouterr().out == "1 picture: converted to gray\n"


def test_light_strokes_keep_their_width(digits: np.ndarray, tmp_path: Path) -> None:
    for digit in digits[:5]:
        Image.fromarray(digit).resize((112, 112), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
        mass = seen(tmp_path / "a.png").sum() / digit.sum(dtype=int)
        assert 0.8 < mass < 1.25


@pytest.mark.parametrize(
    "condition", ["lamp", "edge of a table", "ruled paper", "squared paper", "noise", "chalk on a board", "gradient"]
)
def test_paper_without_ink_is_refused(condition: str, tmp_path: Path) -> None:
    blank = np.zeros((28, 28), np.uint8)
    render(blank, CONDITIONS[condition]._replace(side=200), 0).save(tmp_path / "a.png")
    assert "no digit can be told from the background in a.png" in sentence_of(lambda: seen(tmp_path / "a.png"))


def test_a_sheet_on_a_dark_table(net: Classifier, digits: np.ndarray, labels: np.ndarray, tmp_path: Path) -> None:
    for i, digit in enumerate(digits[:8]):
        ImageOps.expand(render(digit, Scene(100), i), 15, (60, 45, 30)).save(tmp_path / f"{i:02}.png")
    assert correct(net, seen(tmp_path), labels[:8]) >= correct(net, digits[:8], labels[:8])
