"""export: ONNX Runtime answers as minigrad does, for every network that a recipe can name, and in every precision."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import Command, Result, save_network

import minigrad
from minigrad import export, predict, recipes
from minigrad.classifier import ACTIVATIONS
from minigrad.restore import LOADERS, restore
from minigrad.runs import formats, precision, run_command, weights

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 8, 6)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (9, 8, 6, 3)).astype(np.uint8)
VECTORS = np.random.default_rng(2).normal(size=(9, 5)).astype(np.float32)
W = "weights.safetensors"


ROOT = Path(minigrad.__file__).parents[1]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Command:
    """Call `python -m minigrad.export` in process."""

    def call(*argv: object) -> Result:
        capsys.readouterr()
        status = run_command(export.PROG, export.main, [str(word) for word in argv], extra="onnx")
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def says(call: Command) -> Callable[..., None]:
    """The command must say no in one line with `words`, and leave every file as it was."""

    def says(argv: tuple[object, ...], *words: str) -> None:
        before = {p: p.read_bytes() for p in Path.cwd().rglob("*") if p.is_file()}
        result = call(*argv)
        assert (result.status, result.out) == (2, "")
        assert result.err.count("\n") == 1, result.err
        for word in words:
            assert word in result.err
        assert {p: p.read_bytes() for p in Path.cwd().rglob("*") if p.is_file()} == before

    return says


def session(path: str) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def exported(call: Command, images: np.ndarray, **model: Any) -> tuple[Any, Any]:
    """A network for `images`, and a session of what the command wrote of it."""
    scale = 1 / 255 if images.dtype == np.uint8 else 1.0
    net = save_network(Path(W), images.shape[1:], 4, scale, **model)
    np.savez("images.npz", x=images)
    result = call("--model.weights", W, "--data.path", "images.npz")
    assert (result.status, result.err) == (0, "")
    return net, session("weights.onnx")


def same(net: Any, onnx_session: Any, images: np.ndarray) -> None:
    (logits,) = onnx_session.run(None, {"images": images})
    expected = net.predict(images)
    assert logits.shape == expected.shape
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "activation", ["relu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tanh", "sigmoid"))]
)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_every_network_of_a_recipe(architecture: str, batch_norm: bool, activation: str, call: Command) -> None:
    model = {"architecture": architecture, "batch_norm": batch_norm, "activation": activation, "dropout": 0.4}
    same(*exported(call, IMAGES, channels=[3, 2], kernel_size=3, hidden=[5, 4], **model), IMAGES)


@pytest.mark.parametrize("hidden", [[], pytest.param([7], marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch_norm", [pytest.param(False, marks=pytest.mark.slow), True])
def test_colour_images(batch_norm: bool, hidden: list[int], call: Command) -> None:
    cnn = {"architecture": "cnn", "channels": [4], "kernel_size": 5, "hidden": hidden}
    same(*exported(call, COLOUR, batch_norm=batch_norm, **cnn), COLOUR)


def test_vectors_of_floats(call: Command) -> None:
    same(*exported(call, VECTORS, hidden=[]), VECTORS)


def test_it_takes_raw_pixels_and_any_number_of_them(call: Command) -> None:
    net, onnx_session = exported(call, IMAGES)
    (given,) = onnx_session.get_inputs()
    (answer,) = onnx_session.get_outputs()
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["n", 8, 6])
    assert (answer.name, answer.type, answer.shape) == ("logits", "tensor(float)", ["n", 4])
    for n in (1, 2, 9):
        same(net, onnx_session, IMAGES[:n])


def test_it_holds_the_weights_by_name_and_no_dropout(call: Command) -> None:
    net, _ = exported(call, IMAGES, dropout=0.5, batch_norm=True)
    model = onnx.load("weights.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == [
        *("Cast", "Mul", "Flatten", "Gemm", "BatchNormalization", "Relu", "Gemm")
    ]
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(arrays[name], array)
    described = {p.key: p.value for p in model.metadata_props}
    assert json.loads(described["minigrad"]) == json.loads(weights.read(W)[1]["minigrad"])


def test_every_activation_is_known() -> None:
    assert set(export.ACTIVATIONS) == set(ACTIVATIONS.values())
    assert set(recipes.schema.Activation.__args__) == {"relu", "tanh", "sigmoid"}, "test_every_network_of_a_recipe"


# Every format in every precision.

IN_KERAS = "can't be written by minigrad; expected python -m keras_model export, which reads the same weights"
REFUSED = {
    **{
        (kind, precision): f"{kind}: {IN_KERAS}"
        for kind in ("savedmodel", "litert", "keras", "h5")
        for precision in formats.PRECISIONS
    },
    **{
        ("pt2", precision): f"pt2: {IN_KERAS.replace('keras_model', 'lightning_module')}"
        for precision in formats.PRECISIONS
    },
    (
        "safetensors",
        "int8",
    ): "safetensors in int8: a weights file contains no scales for integers; expected --kinds onnx",
}


@pytest.fixture
def learned() -> Path:
    """Images of three classes, and a network that knows them: each class lights its own third of the pixels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    images = (rng.integers(0, 100, (400, 6)) + 120 * (np.arange(6) // 2 == labels[:, None])).astype(np.uint8)
    np.savez("three.npz", x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:])
    net = save_network(Path(W), (6,), 3, 1 / 255, hidden=[])
    net.output.weight.data[:] = 9.123 * (np.arange(6) // 2 == np.arange(3)[:, None])
    net.output.bias.data[:] = 0
    spec = weights.read_spec(W)
    weights.write(Path(W), net.state_dict(), spec.metadata())
    return Path("three.npz")


@pytest.mark.parametrize("precision", formats.PRECISIONS)
@pytest.mark.parametrize("kind", formats.SUFFIXES)
def test_every_cell_is_written_or_refused(
    kind: str, precision: str, learned: Path, call: Command, says: Callable[..., None]
) -> None:
    words = ("--model.weights", W, "--data.path", learned, "--kinds", kind, "--precision", precision, "--out", "out")
    if (kind, precision) in REFUSED:
        says(words, f"error: {REFUSED[kind, precision]}\n")
        return
    result = call(*words)
    path = Path("out", formats.Cell(kind, precision).file("weights"))
    assert (result.status, result.err) == (0, "")
    line = re.fullmatch(LINE, result.out.removesuffix("\n"))
    assert line, result.out
    assert (line["path"], line["count"], line["network"]) == (str(path), "100", "100.00")
    with np.load(learned) as arrays:
        images, labels = arrays["x_test"], arrays["y_test"]
    expected = restore(W)[0].predict(images)
    logits = LOADERS[path.suffix](path)(images)
    assert logits.dtype == np.float32
    assert float(line["largest"]) == pytest.approx(np.abs(logits - expected).max() / np.abs(expected).max(), rel=0.05)
    assert float(line["largest"]) <= {"float32": 1e-4, "float16": 2e-3, "int8": 0.1}[precision]
    assert (logits != expected).any() == (precision != "float32")
    assert float(line["accuracy"]) == pytest.approx(100 * (logits.argmax(1) == labels).mean(), abs=0.01)
    assert float(line["size"]) == pytest.approx(path.stat().st_size / 1000, abs=0.06)


LINE = (
    r"(?P<path>\S+): largest difference (?P<largest>\S+), mean difference (?P<mean>\S+), accuracy (?P<accuracy>\S+) % on"
    r" (?P<count>\S+) images \(network: (?P<network>\S+) %\), (?P<size>\S+) kB"
)


def test_all_precisions_at_once(learned: Path, call: Command) -> None:
    result = call("--model.weights", W, "--data.path", learned, "--precision", *formats.PRECISIONS)
    refused, *lines = result.out.splitlines()
    assert refused == REFUSED["safetensors", "int8"]
    names = ["weights.onnx", "weights.float16.onnx", "weights.int8.onnx", "weights.float16.safetensors"]
    assert [line.split(":")[0] for line in lines] == names, "not the weights file that was read"
    assert all(Path(name).exists() for name in names)
    half, metadata = weights.read("weights.float16.safetensors")
    assert {array.dtype for array in half.values()} == {np.dtype(np.float16)}
    assert metadata == weights.read(W)[1]
    net, _ = restore("weights.float16.safetensors")
    assert {t.data.dtype for _, t in net.named_tensors()} == {np.dtype(np.float32)}, "networks compute in float32"


def test_int8_computes_in_integers_and_describes_its_network(learned: Path, call: Command) -> None:
    call("--model.weights", W, "--data.path", learned, "--precision", "int8", "--kinds", "onnx")
    model = onnx.load("weights.int8.onnx")
    assert {p.key: p.value for p in model.metadata_props} == weights.read(W)[1]
    stored = {t.name: t.data_type for t in model.graph.initializer if len(t.dims) == 2}
    assert set(stored.values()) == {onnx.TensorProto.INT8}


def test_int8_needs_training_images(learned: Path, says: Any) -> None:
    np.savez("images.npz", x=np.load(learned)["x_test"])
    given = ("--model.weights", W, "--data.path", "images.npz", "--precision", "float32", "int8", "--kinds", "onnx")
    says(given, "images.npz", "int8 needs training images")


def test_without_labels_the_network_is_the_measure(learned: Path, call: Command) -> None:
    np.savez("images.npz", x=np.load(learned)["x_test"])
    result = call("--model.weights", W, "--data.path", "images.npz", "--precision", "float16", "--kinds", "onnx")
    assert ", 100.00 % of 100 images classified as by the network, " in result.out


@pytest.mark.parametrize("labelled", [True, False])
def test_a_file_with_a_lower_accuracy_is_not_written(
    labelled: bool, learned: Path, says: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def negated(path: Path, _: Any) -> None:
        arrays, metadata = weights.read(path)
        weights.write(path, {name: -array.astype(np.float16) for name, array in arrays.items()}, metadata)

    monkeypatch.setitem(precision.CONVERTERS, formats.Cell("safetensors", "float16"), negated)
    np.savez("images.npz", x=np.load(learned)["x_test"])
    data, share = (learned, "expected at most 1 % less") if labelled else ("images.npz", "expected at most 5 % less")
    says(("--model.weights", W, "--data.path", data, "--precision", "float16", "--kinds", "safetensors"), share)


def test_weights_that_float16_cannot_hold_are_refused(learned: Path, says: Any) -> None:
    arrays, metadata = weights.read(W)
    weights.write(Path(W), arrays | {"output.weight": np.full_like(arrays["output.weight"], 7e4)}, metadata)
    words = ("--model.weights", W, "--data.path", learned, "--precision", "float16", "--kinds", "safetensors")
    says(words, "output.weight contains 70000; expected at most 65,504")


# The command.


def test_it_says_how_much_it_differs(call: Command) -> None:
    save_network(Path(W), (28, 28), 10, 1 / 255)
    result = call("--model.weights", W, "--out", "a/b/net.onnx")  # the recipe's own data: mnist
    assert result.err == ""
    assert result.out.startswith("a/b/net.onnx: largest difference ")
    assert " % on 10,000 images (network: " in result.out
    assert float(result.out.split("largest difference ")[1].split(",")[0]) < 1e-5
    assert sorted(p.name for p in Path("a/b").iterdir()) == [".files.json", "net.onnx"]


@pytest.mark.parametrize("wrong", ["Tanh", pytest.param("Relu", marks=pytest.mark.slow)])
def test_a_file_that_answers_otherwise_is_never_there(
    wrong: str, call: Command, says: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(call, IMAGES, activation="sigmoid")
    monkeypatch.setitem(export.ACTIVATIONS, ACTIVATIONS["sigmoid"], wrong)
    given = ("--model.weights", W, "--data.path", "images.npz")
    says((*given, "--overwrite"), "weights.onnx", "differ from the network's by", "expected at most 1e-04")
    says((*given, "--out", "other.onnx"), "other.onnx", "nothing was written")


def test_answers_that_are_no_numbers(says: Any) -> None:
    save_network(Path(W), (4,), 3, 1.0, hidden=[])
    np.savez("huge.npz", x=np.random.default_rng(0).choice(np.float32([3e38, -3e38]), (50, 4)))
    says(("--model.weights", W, "--data.path", "huge.npz"), "the network's outputs are NaN or infinite")


def test_a_file_that_is_there_is_kept_unless_told(call: Command, says: Any) -> None:
    exported(call, IMAGES)
    given = ("--model.weights", W, "--data.path", "images.npz")
    net = save_network(Path(W), (8, 6), 4, 1 / 255, hidden=[3])
    says(given, "already holds weights.onnx", "--overwrite")
    assert call(*given, "--overwrite").status == 0
    same(net, session("weights.onnx"), IMAGES)


def test_what_does_not_fit(says: Any) -> None:
    save_network(Path(W), (8, 6), 4, 1 / 255)
    says(("--model.weights", "nowhere"), "model.weights: nowhere does not exist")
    says(("--model.weights", W), "mnist", "(28, 28)", "expected (8, 6)")
    says((), "model.weights: missing; expected a value")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_onnx_it_says_what_to_install(missing: str, says: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    says(("--model.weights", W), f"needs {missing}; expected pip install '.[onnx]' first")


def test_numbers_that_only_onnx_knows_are_refused(says: Any) -> None:
    header = json.dumps({"output.bias": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    Path(W).write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    says(("--model.weights", W), W, "output.bias is of dtype BF16")


def test_predict_and_the_file_agree_on_the_labels(call: Command) -> None:
    _, onnx_session = exported(call, IMAGES, architecture="cnn", channels=[3], kernel_size=3)
    assert run_command(predict.PROG, predict.main, ["--model.weights", W, "--data.path", "images.npz"]) == 0
    labels = [int(line.split(",")[1]) for line in Path("predictions.csv").read_text().splitlines()[1:]]
    assert onnx_session.run(None, {"images": IMAGES})[0].argmax(axis=1).tolist() == labels


def test_its_help_needs_no_onnx() -> None:
    program = (
        "import sys; sys.modules['onnx'] = sys.modules['onnxruntime'] = None; from minigrad import export;"
        "export.main(['--help'])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "--out FOLDER" in told.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the cache's place is Linux's")
def test_onnx_runtime_is_told_to_report_nothing(call: Command) -> None:
    exported(call, IMAGES, hidden=[4])  # leaves the weights and the images here
    words = [sys.executable, "-m", "minigrad.export", "--model.weights", str(Path(W).absolute()), "--overwrite"]
    env = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    home = Path("home").absolute()
    home.mkdir()
    env |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(ROOT)}
    words += ["--data.path", str(Path("images.npz").absolute())]
    subprocess.run(words, env=env, cwd=home, check=True, capture_output=True, timeout=120)
    assert not [p for p in home.rglob("*") if "onnxruntime" in p.name]
