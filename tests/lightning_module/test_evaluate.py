"""`validate`, `test` and `predict` of a finished run, from its checkpoint or its weights file."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from lightning_helpers import QUIET, call, clouds, contents, epochs, in_numpy, measured, network, sentence

from minigrad.runs.metrics import log_softmax


@pytest.fixture(params=["checkpoint", "weights"])
def trained(request: pytest.FixtureRequest, run: Path) -> tuple[str, ...]:
    """Options that load the run's network."""
    if request.param == "checkpoint":
        return ("--ckpt_path", str(run / "last.ckpt"))
    return ("--model.weights", str(run / "weights.safetensors"), "--model.hidden", "[7]")


def test_test_writes_the_metrics_of_the_run(trained: tuple[str, ...], run: Path, easy: str) -> None:
    assert call("test", *network(easy), *trained, "--trainer.default_root_dir", "out") == 0
    metrics, expected = measured("out"), measured(run)
    assert metrics.keys() | {"epochs"} == expected.keys(), "a weights file does not contain the number of epochs"
    assert metrics["test_correct"] == expected["test_correct"]
    assert metrics["test_loss"] == pytest.approx(expected["test_loss"], rel=1e-6)


def test_validate_prints_the_loss_of_the_history(
    trained: tuple[str, ...], run: Path, easy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("validate", *network(easy), *trained, "--trainer.default_root_dir", "out") == 0
    printed = capsys.readouterr().out
    assert "val_loss" in printed
    assert f"{epochs(run)[-1][3]:.5f}" in printed
    assert not Path("out/metrics.json").exists(), "the test set is not used"


def test_predict_writes_one_probability_per_class(trained: tuple[str, ...], run: Path, easy: str) -> None:
    assert call("predict", *network(easy), *trained, "--trainer.default_root_dir", "out") == 0
    with Path("out/predictions.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["index", "label", "probability_0", "probability_1", "probability_2"]
    table = np.array(rows[1:], np.float64)
    net, data = in_numpy(run)
    logits = net.predict(data.test.images)
    np.testing.assert_array_equal(table[:, 0], np.arange(40))
    np.testing.assert_array_equal(table[:, 1], logits.argmax(axis=1))
    np.testing.assert_allclose(table[:, 2:].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(table[:, 2:], np.exp(log_softmax(logits)), atol=1e-5)


@pytest.mark.parametrize("name", ["last", "best"])
def test_a_checkpoint_is_found_by_its_name_in_the_folder(name: str, run: Path, easy: str) -> None:
    shutil.copytree(run, "out")
    words = ("--ckpt_path", name, "--model.hidden", "[7]", "--overwrite")
    assert call("test", *network(easy), *words, "--trainer.default_root_dir", "out") == 0
    assert measured("out")["test_correct"] == measured(run)["test_correct"]


@pytest.mark.parametrize(("stage", "file"), [("test", "metrics.json"), ("predict", "predictions.csv")])
def test_an_existing_file_is_replaced_only_with_overwrite(stage: str, file: str, run: Path, easy: str) -> None:
    shutil.copytree(run, "out")
    words = [stage, *network(easy), "--ckpt_path", "out/last.ckpt", "--trainer.default_root_dir", "out"]
    if stage == "predict":
        assert call(*words) == 0
    Path("out", file).write_text("earlier")
    message = sentence(*words)
    for word in ("--out out", file, "--overwrite"):
        assert word in message
    assert Path("out", file).read_text() == "earlier"
    assert call(*words, "--overwrite") == 0
    assert Path("out", file).read_text() != "earlier"


@pytest.mark.parametrize("stage", ["validate", "predict", "test"])
def test_other_files_of_the_run_are_unchanged(stage: str, run: Path, easy: str) -> None:
    shutil.copytree(run, "out")
    for name in (
        "metrics.json",
        "confusion.png",
        "mistakes.png",
        "reliability.png",
    ):  # as after training on several devices
        Path("out", name).unlink(missing_ok=True)
    before = contents("out")
    words = ("--ckpt_path", "out/last.ckpt", "--trainer.default_root_dir", "out")
    assert call(stage, *network(easy), *words) == 0
    after = contents("out")
    assert {name for name in before if after.get(name) != before[name]} == set()


def test_an_untrained_network_is_tested(easy: str) -> None:
    assert call("test", *network(easy), "--trainer.default_root_dir", "out") == 0
    assert measured("out")["test_images"] == 40


@pytest.mark.parametrize("source", [("--ckpt_path", "run/last.ckpt"), ("--model.weights", "run/weights.safetensors")])
def test_classes_are_compared_by_their_names(source: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    arrays, names = clouds(0, 200, 0.5), np.array(["cat", "dog", "ant"])
    for file, used, more in (
        ("a", names, {}),
        ("b", names, {"class_names": names}),
        ("c", np.array(["cat", "dog", "bee"]), {}),
    ):
        labels = {key: used[arrays[key]] for key in ("y_train", "y_test")}
        np.savez(f"{file}.npz", **{**arrays, **labels, **more})
    assert call("fit", *network("a.npz"), "--trainer.max_epochs", "2", "--out", "run") == 0
    expected = measured("run")
    assert list(expected["test_accuracy_by_class"]) == ["ant", "cat", "dog"]
    capsys.readouterr()
    assert call("test", *network("b.npz"), *source, "--out", "b") == 0
    assert f"b.npz: the classes are numbered in the order of {source[1]}" in capsys.readouterr().out
    assert measured("b")["test_accuracy_by_class"] == expected["test_accuracy_by_class"]
    message = sentence("test", *network("c.npz"), *source, "--out", "c")
    assert f"c.npz has other classes than {source[1]} was trained on: only the data have bee" in message
    assert call("predict", *network("c.npz"), *source, "--out", "p") == 0
    assert (
        Path("p/predictions.csv")
        .read_text()
        .splitlines()[0]
        .endswith("probability_ant,probability_cat,probability_dog")
    )


def test_data_that_the_network_was_not_trained_on_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --data.path, the data are MNIST."""
    rng, labels = np.random.default_rng(0), np.arange(120) % 10
    images = rng.integers(0, 256, (120, 28, 28)).astype(np.uint8)
    np.savez("own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert call("fit", *network("own.npz"), "--trainer.max_epochs", "1", "--out", "run") == 0
    for source in (("--ckpt_path", "run/last.ckpt"), ("--model.weights", "run/weights.safetensors")):
        capsys.readouterr()
        assert call("validate", *source, "--trainer.limit_val_batches", "1", *QUIET) == 0
        assert "mnist is the default of --data.path; this network was trained on own.npz" in capsys.readouterr().out
        assert call("validate", *network("own.npz"), *source) == 0
        assert "default" not in capsys.readouterr().out


def test_the_optimizer_of_the_command_is_named(easy: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--data.path", easy, "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--out", "run")
    assert call("fit", *words, "--data.batch_size", "16", "--optimizer", "SGD", "--optimizer.lr", "0.3") == 0
    assert "103 parameters, SGD, batches of 16" in capsys.readouterr().out


def test_a_divergence_names_the_optimizer_of_the_command(easy: str) -> None:
    words = ("--trainer.max_epochs", "2", "--out", "run", "--optimizer", "SGD", "--optimizer.lr", "1e30")
    assert sentence("fit", *network(easy), *words).startswith("optimizer: SGD: the loss became ")
