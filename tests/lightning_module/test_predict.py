"""`predict` classifies any images, with or without labels, with the network that a file describes."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from lightning_helpers import CNN, QUIET, call, contents, flags, in_numpy, kept, runs_of, sentence
from PIL import Image

from minigrad.runs import metrics, weights

NETWORKS = {
    "simple": (),
    "deep": ("--model.hidden", "[9, 6]", "--model.dropout", "0.3", "--model.activation", "tanh"),
    "batch norm": ("--model.batch_norm", "true", "--model.hidden", "[8, 5]"),
    "cnn": CNN,
}


@pytest.fixture(scope="module")
def trained(few: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each network."""
    return runs_of(NETWORKS, few, tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def simple(trained: dict[str, Path]) -> Path:
    return trained["simple"]


@pytest.fixture
def test_images(few: str) -> np.ndarray:
    """Ten images that no network has been trained on."""
    with np.load(few) as data:
        return data["x_test"][:10]


def predicting(data: str | Path, *more: str, out: str = "out") -> list[str]:
    """Return the arguments of `predict`, without a recipe."""
    options = ("--trainer.accelerator", "cpu", "--trainer.default_root_dir", out, *QUIET)
    return ["predict", "--data.path", str(data), *options, *more]


def by_weights(run: Path) -> tuple[str, str]:
    return "--model.weights", str(run / "weights.safetensors")


def pictures(folder: str, images: np.ndarray, suffix: str = ".png") -> str:
    Path(folder).mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(Path(folder, f"{i:02}{suffix}"))
    return folder


def table(path: str | Path) -> tuple[list[str], list[list[str]]]:
    with Path(path).open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


def check(run: Path, images: np.ndarray, files: list[str] | None = None, out: str = "out") -> None:
    """Check predictions.csv against minigrad's network with the weights of the run."""
    logits = in_numpy(run)[0].predict(images)
    header, rows = table(Path(out, "predictions.csv"))
    named = [f"probability_{k}" for k in range(logits.shape[1])]
    assert header == ["index", "label", *named, *([] if files is None else ["file"])]
    assert [row[0] for row in rows] == [str(i) for i in range(len(images))]
    assert [row[1] for row in rows] == [str(label) for label in logits.argmax(axis=1)]
    probabilities = np.array([row[2 : 2 + logits.shape[1]] for row in rows], np.float64)
    np.testing.assert_allclose(probabilities, np.exp(metrics.log_softmax(logits)), atol=1e-5)
    if files is not None:
        assert [row[-1] for row in rows] == files


# The network.


@pytest.mark.parametrize("name", NETWORKS)
def test_a_weights_file_describes_its_network(name: str, trained: dict[str, Path], test_images: np.ndarray) -> None:
    folder = pictures("scans", test_images)
    assert call(*predicting(folder, *by_weights(trained[name]))) == 0
    check(trained[name], test_images, [f"{i:02}.png" for i in range(10)])


@pytest.mark.parametrize("name", ["deep", "cnn"])
def test_a_checkpoint_describes_its_network(name: str, trained: dict[str, Path], test_images: np.ndarray) -> None:
    folder = pictures("scans", test_images)
    assert call(*predicting(folder, "--ckpt_path", str(trained[name] / "last.ckpt"))) == 0
    check(trained[name], test_images, [f"{i:02}.png" for i in range(10)])


def test_a_checkpoint_goes_by_its_name_in_the_runs_folder(hard: str) -> None:
    # Without early stopping, the weights file is the last epoch's.
    long = ("--model.hidden", "[64]", "--model.learning_rate", "0.3", "--trainer.max_epochs", "12")
    assert call(*flags(hard, "out", *long)) == 0
    before, answers = contents("out"), {}
    with np.load(hard) as data:
        images = data["x_test"]
    for name in ("best", "last"):
        assert call(*predicting(hard, "--ckpt_path", name, "--overwrite")) == 0
        if name == "last":
            check(Path("out"), images)
        after = contents("out")
        answers[name] = after.pop("predictions.csv")
        assert after == before, "the run itself is unchanged"
    assert answers["best"] != answers["last"], "otherwise the best epoch is the last, and this test checks nothing"
    assert call(*predicting(hard, "--ckpt_path", "out/best.ckpt", out="again")) == 0
    assert Path("again/predictions.csv").read_bytes() == answers["best"]


def test_the_description_in_the_file_overrides_a_recipe(trained: dict[str, Path], test_images: np.ndarray) -> None:
    np.savez("images.npz", images=test_images)
    recipe = ("--config", "advanced", "--data.path", "images.npz")
    assert call(*predicting("images.npz", *recipe, *by_weights(trained["cnn"]))) == 0
    check(trained["cnn"], test_images)


# The images.


def test_a_folder_of_jpegs(simple: Path, test_images: np.ndarray) -> None:
    folder = pictures("scans", test_images, ".jpg")
    shutil.copy("scans/03.jpg", "scans/a.JPEG")
    assert call(*predicting(folder, *by_weights(simple))) == 0
    files = [*(f"{i:02}.jpg" for i in range(10)), "a.JPEG"]
    seen = np.stack([np.asarray(Image.open(Path(folder, name))) for name in files])
    check(simple, seen, files)


def test_one_picture(simple: Path, test_images: np.ndarray) -> None:
    Image.fromarray(test_images[4]).save("four.png")
    assert call(*predicting("four.png", *by_weights(simple))) == 0
    check(simple, test_images[4:5], ["four.png"])


@pytest.mark.parametrize("name", ["images", "whatever"])
def test_an_archive(name: str, simple: Path, test_images: np.ndarray) -> None:
    np.savez("images.npz", **{name: test_images})
    assert call(*predicting("images.npz", *by_weights(simple))) == 0
    check(simple, test_images)


def test_of_a_data_set_the_test_images(simple: Path, few: str) -> None:
    assert call(*predicting(few, *by_weights(simple), "--data.batch_size", "17")) == 0
    with np.load(few) as data:
        check(simple, data["x_test"])


@pytest.mark.parametrize(("path", "labelled"), [("test.csv", False), ("kaggle/mnist_test.csv", True)])
def test_kaggles_csv(path: str, labelled: bool, simple: Path, test_images: np.ndarray) -> None:
    columns = [*(["label"] if labelled else []), *(f"pixel{i}" for i in range(20))]
    rows = [[*([0] if labelled else []), *image.ravel()] for image in test_images]
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text("".join(f"{','.join(map(str, row))}\n" for row in [columns, *rows]))
    source = path if path == "test.csv" else "kaggle"
    assert call(*predicting(source, *by_weights(simple))) == 0
    check(simple, test_images)


def test_vectors_of_floats(run: Path, easy: str) -> None:
    assert call(*predicting(easy, *by_weights(run))) == 0
    with np.load(easy) as data:
        check(run, data["x_test"])


def test_batches_make_no_difference(simple: Path, few: str) -> None:
    for size in ("1", "50"):
        assert call(*predicting(few, *by_weights(simple), "--data.batch_size", size, out=size)) == 0
        with np.load(few) as data:
            check(simple, data["x_test"], out=size)


# The folder.


def test_without_a_folder_the_next_free_one_is_taken(
    simple: Path, few: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", "--data.path", few, "--trainer.accelerator", "cpu", *QUIET, *by_weights(simple)]
    assert [call(*words), call(*words)] == [0, 0]
    predictions = [Path(f"runs/lightning-{n}/predictions.csv").read_bytes() for n in (1, 2)]
    assert predictions[0] == predictions[1]
    assert "120 predictions in runs/lightning-2/predictions.csv" in capsys.readouterr().out


def test_existing_predictions_are_kept_without_overwrite(simple: Path, few: str) -> None:
    words = predicting(few, *by_weights(simple))
    assert call(*words) == 0
    Path("out/predictions.csv").write_text("earlier")
    message = sentence(*words)
    for word in ("--out out", "predictions.csv", "--overwrite"):
        assert word in message
    assert Path("out/predictions.csv").read_text() == "earlier"
    assert call(*words, "--overwrite") == 0
    assert len(table("out/predictions.csv")[1]) == 120


# User errors, which leave no files.


def refused(words: list[str], *expected: str) -> None:
    before = sorted(Path.cwd().rglob("*"))
    message = sentence(*words)
    for word in expected:
        assert word in message, message
    assert sorted(Path.cwd().rglob("*")) == before


def test_pictures_of_another_size(simple: Path, test_images: np.ndarray) -> None:
    folder = pictures("scans", test_images)
    Image.fromarray(test_images[0].T.copy()).save("scans/tall.png")
    strict = ("--preprocess", "none")
    refused(predicting(folder, *by_weights(simple), *strict), "scans/tall.png", "4x5", "expected 5x4")


def test_pictures_are_preprocessed_and_the_inputs_are_saved(
    simple: Path, test_images: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures("scans", np.repeat(np.repeat(test_images, 2, axis=1), 2, axis=2))
    options = ("--save_inputs", "--format", "kaggle")
    assert call(*predicting(folder, *by_weights(simple), *options)) == 0
    assert "10 pictures: resized to 5x4; not inverted or centered" in capsys.readouterr().out
    with np.load("out/inputs.npz") as saved:
        logits = in_numpy(simple)[0].predict(saved["images"])
    assert Path("out/inputs.png").exists()
    header, rows = table("out/predictions.csv")
    assert header == ["ImageId", "Label"]
    assert rows == [[str(i), str(label)] for i, label in enumerate(logits.argmax(axis=1), start=1)]
    refused(predicting(folder, *by_weights(simple), *options), "already holds predictions.csv")


def test_an_archive_of_another_size(simple: Path, test_images: np.ndarray) -> None:
    np.savez("images.npz", images=test_images[:, :3])
    refused(predicting("images.npz", *by_weights(simple)), "images.npz", "(3, 5)", "expected (4, 5)")
    refused(predicting("images.npz", "--ckpt_path", str(simple / "last.ckpt")), "images.npz", "expected (4, 5)")


def test_floats_for_a_network_of_pixels(simple: Path, test_images: np.ndarray) -> None:
    np.savez("images.npz", images=test_images / 100)
    refused(predicting("images.npz", *by_weights(simple)), "images.npz", "floats", "expected uint8 pixels")


def test_a_text_file_with_the_suffix_of_a_picture(simple: Path, test_images: np.ndarray) -> None:
    folder = pictures("scans", test_images)
    Path("scans/note.png").write_text("not a picture")
    refused(predicting(folder, *by_weights(simple)), "scans/note.png", "cannot be read", "expected a complete PNG")


def test_an_empty_folder(simple: Path) -> None:
    Path("scans").mkdir()
    refused(predicting("scans", *by_weights(simple)), "scans", "contains no images", ".png")


def test_missing_images(simple: Path) -> None:
    refused(predicting("nowhere", *by_weights(simple)), "data.path", "nowhere", "does not exist")


def test_pictures_for_a_network_of_vectors(run: Path, test_images: np.ndarray) -> None:
    folder = pictures("scans", test_images)
    refused(predicting(folder, *by_weights(run)), "00.png", "is an image file", "expected arrays of shape (6,)")


def test_several_devices(simple: Path, few: str) -> None:
    words = predicting(few, *by_weights(simple), "--trainer.devices", "2")
    refused(words, "trainer.devices: 2", "expected 1", "predict writes one file")


def test_outputs_that_are_not_finite(run: Path) -> None:
    # With finite weights: others are refused when they are read.
    rng = np.random.default_rng(0)
    np.savez("huge.npz", images=rng.choice(np.float32([3e38, -3e38]), (50, 6)))
    refused(predicting("huge.npz", *by_weights(run)), "huge.npz", "NaN or infinite", "images that give finite outputs")


@pytest.mark.parametrize("kind", ["pictures", "archive"])
def test_a_limit_of_batches_predicts_the_first_images(kind: str, few: str) -> None:
    assert call(*flags(few, "run", "--trainer.limit_test_batches", "1")) == 0
    with np.load(few) as data:
        images = data["x_test"][:10]
    source = "scans" if kind == "pictures" else "images.npz"
    np.savez("images.npz", images=images)
    Path("scans").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(f"scans/{i}.png")
    words = ["predict", "--data.path", source, "--data.batch_size", "3", "--trainer.limit_predict_batches", "2"]
    words += ["--model.weights", "run/weights.safetensors", "--trainer.accelerator", "cpu", *QUIET]
    assert call(*words, "--trainer.default_root_dir", "out") == 0
    rows = [line.split(",") for line in Path("out/predictions.csv").read_text().splitlines()[1:]]
    logits = in_numpy("run")[0].predict(images[:6])
    assert [row[1] for row in rows] == [str(label) for label in logits.argmax(axis=1)]
    if kind == "pictures":
        assert [row[-1] for row in rows] == [f"{i}.png" for i in range(6)]


def test_no_folder_is_left(easy: str, run: Path) -> None:
    np.savez("huge.npz", images=np.random.default_rng(0).choice(np.float32([3e38, -3e38]), (50, 6)))
    np.savez("wide.npz", images=np.zeros((3, 7), np.float32))
    before = sorted(Path.cwd().rglob("*"))
    for data in ("huge.npz", "wide.npz", "nowhere.npz"):
        words = ["predict", "--data.path", data, "--trainer.accelerator", "cpu", "--trainer.default_root_dir", "out"]
        sentence(*words, *QUIET, "--model.weights", str(run / "weights.safetensors"))
        assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize("command", ["predict", "export"])
@pytest.mark.parametrize("content", [None, b"", b"hello"])
def test_weights_that_cannot_be_read(content: bytes | None, command: str, few: str) -> None:
    if content is not None:
        Path("w.safetensors").write_bytes(content)
    words = [command, "--data.path", few, "--model.weights", "w.safetensors", "--trainer.accelerator", "cpu", *QUIET]
    message = sentence(*words, "--trainer.default_root_dir", "out")
    for word in ("model.weights", "w.safetensors"):
        assert word in message, message
    assert not Path("out").exists()


@pytest.mark.parametrize("command", ["predict", "export"])
def test_weights_that_do_not_describe_their_network(command: str, run: Path, easy: str) -> None:
    weights.write(Path("bare.safetensors"), kept(run), {})
    words = [command, "--data.path", easy, "--model.weights", "bare.safetensors", "--trainer.accelerator", "cpu"]
    message = sentence(*words, "--trainer.default_root_dir", "out", *QUIET)
    assert "bare.safetensors does not describe its network" in message
