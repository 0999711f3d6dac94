"""A trained network is built from its file: both formats of a network have the same outputs, on every backend."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from keras_helpers import (
    BACKEND,
    NETWORKS,
    Command,
    arrays_for,
    clouds,
    complaints,
    ended,
    flags,
    measured,
    network,
    once,
    slow_except,
    started,
    stock,
)

from keras_model.model import compile_model, get_weights
from keras_model.restore import restore
from minigrad.recipes import Model
from minigrad.runs import weights

pytestmark = slow_except("tensorflow", "torch")

OTHERS = sorted({"tensorflow", "jax", "torch"} - {BACKEND})


def predicted(path: str | Path) -> np.ndarray:
    with Path(path).open(newline="") as file:
        return np.array([row[2:] for row in csv.reader(file)][1:], float)


QUICK = ("cnn with batch norm", "tanh")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_both_files_of_a_network_answer_alike(name: str, command: Command) -> None:
    """The outputs are equal to the last bit."""
    net, described = network(name)
    stock(net).save("model.keras")
    weights.write(Path("weights.safetensors"), get_weights(net), described)
    np.savez("data.npz", **arrays_for(NETWORKS[name][1]))
    for file in ("model.keras", "weights.safetensors"):
        words = ("predict", "--data.path", "data.npz", "--model.weights", file, "--out", f"by {file}")
        assert command(*words)[::2] == (0, "")
    answers = [predicted(f"by {file}/predictions.csv") for file in ("model.keras", "weights.safetensors")]
    assert np.ptp(answers[0]) > 0.01, "constant outputs would make this test trivial"
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("name", ["cnn with batch norm", "tanh"])
def test_a_file_of_an_earlier_version_is_read(name: str) -> None:
    """Earlier versions saved the network with the classes of this package."""
    net, _ = network(name)
    compile_model(net, Model(optimizer="adamw", schedule="cosine"), 10, 2)
    net.save("model.keras")
    with zipfile.ZipFile("model.keras") as archive:
        config = archive.read("config.json")
    assert b"keras_model.optimizers" in config
    assert (b"keras_model.layers" in config) == ("norm" in name)
    read, _ = restore("model.keras")
    assert get_weights(read).keys() == get_weights(net).keys()
    for key, array in get_weights(net).items():
        np.testing.assert_array_equal(get_weights(read)[key], array)


@once
def test_a_runs_own_files_answer_alike(easy: str, command: Command) -> None:
    """Both files of a run reproduce its metrics.json, also after training in half precision."""
    assert command("fit", *flags(easy, "out", "--trainer.max_epochs", "1", "--precision", "mixed_bfloat16")).status == 0
    expected = {key: value for key, value in measured("out").items() if key != "epochs"}
    for file in ("model.keras", "weights.safetensors"):
        words = ("--data.path", easy, "--model.weights", f"out/{file}", "--out", f"by {file}")
        assert command("test", *words)[::2] == (0, "")
        assert command("predict", *words)[::2] == (0, "")
        assert measured(f"by {file}") == expected
    np.testing.assert_array_equal(
        *(predicted(f"by {f}/predictions.csv") for f in ("model.keras", "weights.safetensors"))
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHERS)
def test_a_file_written_on_another_backend_is_read(backend: str, easy: str, command: Command) -> None:
    """The files don't depend on the backend that wrote them."""
    words = flags(easy, "out", "--trainer.max_epochs", "1", "--model.batch_norm", "true", "--model.dropout", "0.2")
    process = started("fit", *words, KERAS_BACKEND=backend)
    try:
        assert complaints(process.communicate(timeout=120)[1]) == []
    finally:
        ended([process])
    for file in ("model.keras", "weights.safetensors"):
        words = ["--data.path", easy, "--model.weights", f"out/{file}", "--out", f"by {file}"]
        assert command("predict", *words)[::2] == (0, "")
        assert command("test", *words)[::2] == (0, "")
        assert measured(f"by {file}")["test_accuracy"] == measured("out")["test_accuracy"]
    np.testing.assert_array_equal(
        *(predicted(f"by {f}/predictions.csv") for f in ("model.keras", "weights.safetensors"))
    )


@once
def test_classes_are_compared_by_their_names(command: Command) -> None:
    arrays, names = clouds(0, 200, 0.5), np.array(["cat", "dog", "ant"])
    for file, used, more in (
        ("a", names, {}),
        ("b", names, {"class_names": names}),
        ("c", np.array(["cat", "dog", "bee"]), {}),
    ):
        labels = {key: used[arrays[key]] for key in ("y_train", "y_test")}
        np.savez(f"{file}.npz", **{**arrays, **labels, **more})
    assert command("fit", *flags("a.npz", "run")).status == 0
    expected = measured("run")
    assert list(expected["test_accuracy_by_class"]) == ["ant", "cat", "dog"]
    source = ("--model.weights", "run/weights.safetensors")
    result = command("test", *flags("b.npz", "b"), *source)
    assert "b.npz: the classes are numbered in the order of run/weights.safetensors" in result.out
    assert measured("b")["test_accuracy_by_class"] == expected["test_accuracy_by_class"]
    result = command("test", *flags("c.npz", "c"), *source)
    assert result.status == 2
    assert "c.npz has other classes than run/weights.safetensors was trained on" in result.err
    assert command("predict", *flags("c.npz", "p"), *source).status == 0
    assert (
        Path("p/predictions.csv")
        .read_text()
        .splitlines()[0]
        .endswith("probability_ant,probability_cat,probability_dog")
    )
    # A .keras archive has no names, so that those of the data are used.
    assert command("test", *flags("c.npz", "k"), "--model.weights", "run/model.keras").status == 0
    assert list(measured("k")["test_accuracy_by_class"]) == ["bee", "cat", "dog"]
    assert command("predict", *flags("c.npz", "q"), "--model.weights", "run/model.keras").status == 0
    assert "probability_0" in Path("q/predictions.csv").read_text()


@pytest.mark.slow
def test_data_that_the_network_was_not_trained_on_are_named(command: Command) -> None:
    """Without --data.path, the data are MNIST."""
    rng, labels = np.random.default_rng(0), np.arange(120) % 10
    images = rng.integers(0, 256, (120, 28, 28)).astype(np.uint8)
    np.savez("own.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert command("fit", *flags("own.npz", "run", "--trainer.max_epochs", "1")).status == 0
    words = ("validate", "--model.weights", "run/weights.safetensors")
    note = "mnist is the default of --data.path; this network was trained on own.npz"
    assert note in command(*words).out
    assert note not in command(*words, "--data.path", "own.npz").out
