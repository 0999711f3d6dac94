"""predict: from a weights file alone, the answers that the network was trained to give."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import Command, Result, flags, save_network
from PIL import Image

from minigrad import datasets, predict, restore
from minigrad.classifier import Classifier
from minigrad.runs import metrics, run_command, weights

SHAPE, CLASSES = (6, 8), 3
IMAGES = np.random.default_rng(0).integers(0, 256, (7, *SHAPE)).astype(np.uint8)


def save(path: Path, shape: tuple[int, ...] = SHAPE, scale: float = 1 / 255, **model: Any) -> Classifier:
    return save_network(path, shape, CLASSES, scale, **model)


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    save(tmp_path / "run/weights.safetensors")
    return tmp_path / "run/weights.safetensors"


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Command:
    """Call `python -m minigrad.predict` in process."""

    def call(*argv: object) -> Result:
        capsys.readouterr()
        status = run_command(predict.PROG, predict.main, [str(word) for word in argv])
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def says(answer: Command) -> Callable[..., None]:
    """The command must say no in one line with `words`, and write nothing."""

    def call(argv: tuple[object, ...], *words: str) -> None:
        before = sorted(Path.cwd().rglob("*"))
        result = answer(*argv)
        assert (result.status, result.out) == (2, "")
        assert result.err.count("\n") == 1, result.err
        assert result.err.startswith(f"{predict.PROG}: error: ")
        for word in words:
            assert word in result.err
        assert sorted(Path.cwd().rglob("*")) == before

    return call


def rows(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def check(path: str | Path, net: Classifier, images: np.ndarray) -> None:
    logits = net.predict(images)
    found = rows(path)
    assert [int(row["index"]) for row in found] == list(range(len(images)))
    assert [int(row["label"]) for row in found] == logits.argmax(axis=1).tolist()
    given = [[float(row[f"probability_{k}"]) for k in range(CLASSES)] for row in found]
    np.testing.assert_allclose(given, np.exp(metrics.log_softmax(logits)), rtol=1e-5)


# What it answers.


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_it_answers_as_the_network_did(
    architecture: str, batch_norm: bool, activation: str, tmp_path: Path, answer: Command
) -> None:
    model = {"architecture": architecture, "batch_norm": batch_norm, "activation": activation, "dropout": 0.5}
    net = save(tmp_path / "w.safetensors", channels=[2, 3], kernel_size=3, hidden=[5], **model)
    np.savez("images.npz", x=IMAGES)
    result = answer("--model.weights", "w.safetensors", "--data.path", "images.npz")
    assert (result.status, result.err) == (0, "")
    assert result.out == "7 predictions in predictions.csv\n"
    check("predictions.csv", net, IMAGES)


def test_floats_and_other_shapes(tmp_path: Path, answer: Command) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 9))
    net = save(tmp_path / "w.safetensors", shape=(9,), scale=1.0)
    np.savez("vectors.npz", vectors)
    assert answer("--model.weights", "w.safetensors", "--data.path", "vectors.npz").status == 0
    check("predictions.csv", net, vectors.astype(np.float32))


def test_it_stands_beside_the_weights_or_where_it_was_asked_for(weights_file: Path, answer: Command) -> None:
    np.savez("images.npz", x=IMAGES)
    given = ("--model.weights", weights_file, "--data.path", "images.npz")
    assert answer(*given).status == 0
    assert answer(*given, "--out", "a/new/folder").status == 0
    assert (weights_file.parent / "predictions.csv").read_bytes() == Path("a/new/folder/predictions.csv").read_bytes()


def test_pictures_are_listed_with_their_files(weights_file: Path, answer: Command) -> None:
    Path("scans").mkdir()
    for name, image in zip("cab", IMAGES, strict=False):
        Image.fromarray(image).save(f"scans/{name}.png")
    assert answer("--model.weights", weights_file, "--data.path", "scans", "--out", "p").status == 0
    assert [row["file"] for row in rows("p/predictions.csv")] == ["a.png", "b.png", "c.png"]
    net, _ = restore.restore(weights_file)
    check("p/predictions.csv", net, IMAGES[[1, 2, 0]])
    assert Path("p/predictions.csv").read_text().splitlines()[0].endswith("probability_2,file")


@pytest.mark.usefixtures("undrawn")
def test_a_trained_network_is_as_right_as_its_run_said(easy: str, command: Command, answer: Command) -> None:
    assert command(*flags(easy, "out")).status == 0
    result = answer("--model.weights", "out/weights.safetensors", "--data.path", easy)
    assert result.out == "40 predictions in out/predictions.csv\n"
    labels = np.array([int(row["label"]) for row in rows("out/predictions.csv")])
    correct = int((labels == datasets.load(easy).test.labels).sum())
    assert correct == json.loads(Path("out/metrics.json").read_text())["test_correct"]


def test_the_recipe_and_shape_come_from_the_file(tmp_path: Path) -> None:
    save(tmp_path / "w.safetensors", hidden=[5, 4], dropout=0.3, learning_rate=0.7)
    net, spec = restore.restore(tmp_path / "w.safetensors")
    assert (spec.input_shape, spec.classes, spec.input_scale) == (SHAPE, CLASSES, 1 / 255)
    model = spec.recipe.model
    assert (model.hidden, model.dropout, model.learning_rate) == ([5, 4], 0.3, 0.7)
    assert not net.training


def test_a_key_that_is_newer_than_the_file_takes_its_default(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    net = save(path)
    arrays, metadata = weights.read(path)
    found = json.loads(metadata["minigrad"])
    del found["recipe"]["model"]["batch_norm"], found["recipe"]["early_stopping"]
    weights.write(path, arrays, {"minigrad": json.dumps(found)})
    np.testing.assert_array_equal(restore.restore(path)[0].predict(IMAGES), net.predict(IMAGES))


# What it refuses.


def test_predictions_that_are_there_are_kept_unless_told(weights_file: Path, answer: Command, says: Any) -> None:
    np.savez("images.npz", x=IMAGES)
    given = ("--model.weights", weights_file, "--data.path", "images.npz", "--out", "p")
    assert answer(*given).status == 0
    before = Path("p/predictions.csv").read_bytes()
    np.savez("images.npz", x=IMAGES[:5])
    says(given, "--out p: already holds predictions.csv", "--overwrite")
    assert Path("p/predictions.csv").read_bytes() == before
    assert answer(*given, "--overwrite").status == 0
    assert len(rows("p/predictions.csv")) == 5


def test_a_file_of_somebody_else_is_never_replaced(weights_file: Path, answer: Command, says: Any) -> None:
    np.savez("images.npz", x=IMAGES)
    Path("p").mkdir()
    Path("p/predictions.csv").write_text("mine")
    given = ("--model.weights", weights_file, "--data.path", "images.npz", "--out", "p", "--overwrite")
    says(given, "--out p: holds predictions.csv, which this package did not write")
    assert Path("p/predictions.csv").read_text() == "mine"


def test_places_that_cannot_be_written(weights_file: Path, says: Any) -> None:
    np.savez("images.npz", x=IMAGES)
    given = ("--model.weights", weights_file, "--data.path", "images.npz", "--out")
    says((*given, "images.npz"), "--out images.npz: is a file; expected a folder")
    says((*given, "mine.csv"), "--out mine.csv: names a CSV file; expected a folder, which gets predictions.csv")
    says((*given, "images.npz/p"), "can't be written")
    says((*given, "x" * 5000), "can't be a path")


def test_a_command_that_says_too_little_or_too_much(weights_file: Path, says: Any) -> None:
    says((), "model.weights, data.path: missing; expected a value")
    says(("--model.weights", weights_file), "data.path: missing; expected a value")
    says(("--model.weights", weights_file, "--data.path", "mnist", "--model.hidden", "[3]"), "--model.hidden")


def test_images_that_do_not_fit(weights_file: Path, says: Any) -> None:
    says(("--model.weights", weights_file, "--data.path", "mnist"), "(28, 28)", "expected (6, 8)")
    says(("--model.weights", weights_file, "--data.path", "nowhere"), "nowhere does not exist")


@pytest.mark.parametrize("content", [None, b"", b"hello"])
def test_no_weights(content: bytes | None, says: Any) -> None:
    if content is not None:
        Path("w.safetensors").write_bytes(content)
    says(("--model.weights", "w.safetensors", "--data.path", "mnist"), "model.weights", "w.safetensors")


def changed(path: Path, **changes: Any) -> None:
    """The file with other metadata; a None takes the key away."""
    arrays, metadata = weights.read(path)
    found = {**json.loads(metadata["minigrad"]), **changes}
    weights.write(path, arrays, {"minigrad": json.dumps({k: v for k, v in found.items() if v is not None})})


@pytest.mark.parametrize(
    "changes",
    [
        *({key: None} for key in ("recipe", "input_shape", "classes", "input_scale")),
        *({"input_shape": bad} for bad in ([], 48, [6, -8], [6.0, 8], "68", [True, 8])),
        *({"classes": bad} for bad in (0, "3", [3])),
        *({"input_scale": bad} for bad in (1, "1/256", [1])),
        *({"class_names": bad} for bad in (1, ["a"], [1, 2, 3])),
        *({"mnist_like": bad} for bad in (1, "true")),
        *({"recipe": bad} for bad in ([], "simple", {"model": 3})),
    ],
    ids=str,
)
def test_damaged_metadata(changes: dict[str, Any], weights_file: Path, says: Any) -> None:
    changed(weights_file, **changes)
    says(("--model.weights", weights_file, "--data.path", "mnist"), "metadata are damaged", "input_scale")


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ({"hidden": "abc"}, "model.hidden: abc"),
        ({"heads": 3}, "model.heads"),
        ({"kernel_size": 4}, "model.kernel_size: 4"),
        ({"architecture": "cnn", "channels": [1, 1, 1, 1]}, "model.channels"),
    ],
)
def test_a_recipe_that_makes_no_sense(model: dict[str, Any], word: str, weights_file: Path, says: Any) -> None:
    changed(weights_file, recipe={"model": model})
    says(("--model.weights", weights_file, "--data.path", "mnist"), "its recipe is invalid", word)


def test_weights_that_are_not_those_of_the_recipe(weights_file: Path, says: Any) -> None:
    changed(weights_file, recipe={"model": {"hidden": [11]}})
    says(("--model.weights", weights_file, "--data.path", "mnist"), "hidden.0", "(10, 48)", "expected (11, 48)")


def test_weights_from_elsewhere(tmp_path: Path, says: Any) -> None:
    for metadata in ({}, {"format": "pt"}):
        weights.write(tmp_path / "w.safetensors", {"weight": np.ones(3, np.float32)}, metadata)
        says(("--model.weights", "w.safetensors", "--data.path", "mnist"), "does not describe its network")
    weights.write(tmp_path / "w.safetensors", {"weight": np.ones(3, np.float32)}, {"minigrad": "{"})
    says(("--model.weights", "w.safetensors", "--data.path", "mnist"), "metadata are damaged")


def test_answers_that_are_no_numbers(tmp_path: Path, says: Any) -> None:
    save(tmp_path / "w.safetensors", shape=(4,), scale=1.0, hidden=[])
    np.savez("huge.npz", x=np.random.default_rng(0).choice(np.float32([3e38, -3e38]), (50, 4)))
    says(("--model.weights", "w.safetensors", "--data.path", "huge.npz"), "NaN or infinite", "huge.npz")


# As a command.


def test_its_help_and_its_status(answer: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        answer("--help")
    assert not ended.value.code
    text = " ".join(capsys.readouterr().out.split())
    for word in ("--model.weights FILE", "--data.path PATH", "--out FOLDER", "the folder for predictions.csv"):
        assert word in text
    command = [sys.executable, "-m", "minigrad.predict"]
    failed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1


def test_class_names_are_written_and_formulas_are_not_evaluated(tmp_path: Path, answer: Command) -> None:
    names = ("=1+1", "cat, small", "dog")
    net = save(tmp_path / "w.safetensors")
    spec = replace(weights.read_spec(tmp_path / "w.safetensors"), class_names=names)
    weights.write(tmp_path / "w.safetensors", net.state_dict(), spec.metadata())
    np.savez("images.npz", x=IMAGES)
    assert answer("--model.weights", "w.safetensors", "--data.path", "images.npz").status == 0
    found = rows("predictions.csv")
    assert list(found[0]) == ["index", "label", *(f"probability_{name}" for name in names)]
    expected = np.array(["'=1+1", "cat, small", "dog"])[net.predict(IMAGES).argmax(axis=1)]
    assert [row["label"] for row in found] == expected.tolist()
