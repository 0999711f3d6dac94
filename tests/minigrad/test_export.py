"""export: ONNX Runtime answers as minigrad does, for every network that a recipe can name."""

from __future__ import annotations

import json
import os
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
from minigrad.runs import run_command, weights

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


@pytest.mark.parametrize("activation", recipes.schema.Activation.__args__)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_every_network_of_a_recipe(architecture: str, batch_norm: bool, activation: str, call: Command) -> None:
    model = {"architecture": architecture, "batch_norm": batch_norm, "activation": activation, "dropout": 0.4}
    same(*exported(call, IMAGES, channels=[3, 2], kernel_size=3, hidden=[5, 4], **model), IMAGES)


@pytest.mark.parametrize("hidden", [[], [7]])
@pytest.mark.parametrize("batch_norm", [False, True])
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


# The command.


def test_it_says_how_much_it_differs(call: Command) -> None:
    save_network(Path(W), (28, 28), 10, 1 / 255)
    result = call("--model.weights", W, "--out", "a/b/net.onnx")  # the recipe's own data: mnist
    assert result.err == ""
    assert result.out.startswith("a/b/net.onnx: outputs differ from minigrad's by at most ")
    assert result.out.endswith("over 1,000 images\n")
    assert float(result.out.split("at most ")[1].split()[0]) < 1e-5
    assert [p.name for p in Path("a/b").iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("wrong", ["Tanh", "Relu"])
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
    says(given, "weights.onnx: already exists", "--overwrite")
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
    assert "--out FILE" in told.stdout


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
