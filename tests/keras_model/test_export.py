"""`export`: files that other programs read have the same outputs as the network, for any number of raw images."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import BACKEND, CNN, clouds, flags, once, pictures, slow_except

import keras_model
from keras_model.export import command as exporting
from keras_model.export import formats, reader
from keras_model.export.command import export
from keras_model.restore import restore
from minigrad import train
from minigrad.restore import restore as restore_in_minigrad
from minigrad.runs import NetworkSpec, UserError, exports, manifest, weights

pytestmark = slow_except("tensorflow", "torch")

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
if keras.backend.backend() == "tensorflow":
    pytest.importorskip("tf2onnx")
    pytest.importorskip("ai_edge_litert")

WRITTEN = {
    "tensorflow": ["savedmodel", "onnx", "litert", "int8", "keras", "safetensors"],
    "jax": ["savedmodel", "keras", "safetensors"],
    "torch": ["onnx", "keras", "safetensors"],
}[BACKEND]
# A weights file doesn't depend on the backend.
EXPORTED = WRITTEN if BACKEND == "tensorflow" else WRITTEN[:-1]
QUICK = "onnx"  # a fresh process reads it without Keras and TensorFlow
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow writes LiteRT")
COUNTS = (1, 3, 130)


@dataclass(frozen=True)
class Trained:
    """A trained network and its images."""

    weights: Path
    net: keras.Model
    spec: NetworkSpec
    images: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray

    def export(self, out: Path, kinds: list[str] | None, **more: Any) -> list[str]:
        """Export to `out`, and return the printed lines."""
        printed = io.StringIO()
        options = {"calibration": self.calibration, "overwrite": False, **more}
        with redirect_stdout(printed):
            export(self.net, self.spec, self.images, self.labels, out, "digits", kinds, **options)
        return printed.getvalue().splitlines()

    def expected(self, images: np.ndarray) -> np.ndarray:
        """The outputs of minigrad with the same weights."""
        return restore_in_minigrad(self.weights)[0].predict(images)


def trained(path: Path, data: str) -> Trained:
    net, spec = restore(str(path))
    with np.load(data) as arrays:
        images = (arrays["x_test"], arrays["y_test"], arrays["x_train"])
    return Trained(path, net, spec, *images)


@pytest.fixture(scope="session")
def digits(minigrad_run: Path, pixels: str) -> Trained:
    return trained(minigrad_run / "weights.safetensors", pixels)


@dataclass(frozen=True)
class Made:
    """A folder of exports, and the printed lines."""

    folder: Path
    lines: list[str]

    def path(self, kind: str) -> Path:
        return self.folder / f"digits{formats.SUFFIXES[kind]}"

    def line(self, kind: str) -> str:
        (line,) = [line for line in self.lines if line.startswith(f"{self.path(kind)}: ")]
        return line


@pytest.fixture(scope="session")
def made(digits: Trained, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Every kind that this backend can write; a weights file only on TensorFlow."""
    folder = tmp_path_factory.mktemp("exports") / "a/b"
    had = "tensorflow" in sys.modules
    lines = digits.export(folder, EXPORTED)
    assert BACKEND != "torch" or had or "tensorflow" not in sys.modules, "the two can hang in one process"
    return Made(folder, lines)


def wrong(net: keras.Model) -> keras.Model:
    """Another network of the same shape."""
    other = keras.models.clone_model(net)
    other.set_weights([-array for array in net.get_weights()])
    other(np.zeros((1, *net.input.shape[1:]), net.input.dtype))  # Keras exports no network that was never called
    return other


def answered_by(path: Path, digits: Trained) -> Callable[[np.ndarray], np.ndarray]:
    """Load the file in this process, as another program would."""
    if path.suffix == ".safetensors":
        return restore_in_minigrad(path)[0].predict
    return reader.LOADERS[path.suffix](path)


@slow_except("tensorflow")
def test_all_kinds_are_there_with_a_line_each(made: Made) -> None:
    assert sorted(p.name for p in made.folder.iterdir() if p.name != ".files.json") == sorted(
        made.path(kind).name for kind in EXPORTED
    )
    for kind in EXPORTED:
        assert made.line(kind).rstrip(")").split()[-1] == "kB"
        if kind != "int8":
            assert float(made.line(kind).split("outputs differ from the network's by at most ")[1].split()[0]) <= 1e-4
            assert "over 400 images, " in made.line(kind)


@slow_except("tensorflow")
@pytest.mark.parametrize("kind", [kind for kind in EXPORTED if kind != "int8"])
def test_each_answers_raw_images_as_minigrad_does(kind: str, made: Made, digits: Trained) -> None:
    answer = answered_by(made.path(kind), digits)
    for count in COUNTS:
        images = digits.images[-count:]
        np.testing.assert_allclose(answer(images), digits.expected(images), rtol=1e-4, atol=1e-4)


@slow_except("tensorflow")
@on_tensorflow
def test_weights_are_written_unchanged(made: Made, digits: Trained) -> None:
    written, metadata = weights.read(made.path("safetensors"))
    original = weights.read(digits.weights)[0]
    assert metadata == digits.spec.metadata()
    assert written.keys() == original.keys()
    for name in original:
        np.testing.assert_array_equal(written[name], original[name])


@slow_except("tensorflow")
def test_a_keras_file_is_compiled_and_of_keras_own_classes(made: Made, digits: Trained) -> None:
    """By the recipe in the weights file, so that it can be evaluated and trained further anywhere."""
    net = keras.saving.load_model(made.path("keras"), safe_mode=True)
    right = float((digits.expected(digits.images).argmax(1) == digits.labels).mean())
    assert net.evaluate(digits.images, digits.labels, verbose=0)[1] == pytest.approx(right, abs=1e-6)
    assert net.optimizer.get_config()["learning_rate"] == pytest.approx(0.1)
    with zipfile.ZipFile(made.path("keras")) as archive:
        assert b"keras_model" not in archive.read("config.json")


@slow_except("tensorflow")
@pytest.mark.skipif("onnx" not in WRITTEN, reason="this backend writes none")
def test_onnx_is_as_the_other_packages_write_it(made: Made, digits: Trained) -> None:
    import onnx

    model = onnx.load(made.path("onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: p.value for p in model.metadata_props} == digits.spec.metadata()
    (images,), (logits,) = model.graph.input, model.graph.output
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (images, logits)]
    assert (images.name, logits.name, shapes) == ("images", "logits", [["n", 12, 12], ["n", 10]])
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8


@slow_except("tensorflow")
def test_no_file_names_a_folder_of_this_machine(made: Made) -> None:
    files = [p for p in made.folder.rglob("*") if p.is_file()]
    here = [str(Path(keras_model.__file__).parents[1]).encode(), str(made.folder.parent).encode()]
    assert [p.name for p in files if any(place in p.read_bytes() for place in here)] == []


@slow_except("tensorflow")
@on_tensorflow
def test_int8_says_what_it_loses_and_what_it_saves(made: Made, digits: Trained) -> None:
    found = answered_by(made.path("int8"), digits)(digits.images)
    right = [
        100 * float((logits.argmax(1) == digits.labels).mean()) for logits in (found, digits.expected(digits.images))
    ]
    small, large = (made.path(kind).stat().st_size / 1000 for kind in ("int8", "litert"))
    assert made.line("int8").removeprefix(f"{made.path('int8')}: ") == (
        f"accuracy {right[0]:.2f} % on 400 images (network: {right[1]:.2f} %), {small:.1f} kB (float32: {large:.1f} kB)"
    )
    assert right[1] > 90, "an untrained network would make this test trivial"
    assert right[0] >= right[1] - 1
    assert small < large


@slow_except("tensorflow")
@on_tensorflow
def test_int8_computes_in_integers_from_raw_pixels(made: Made) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(made.path("int8")))
    (images,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (images["dtype"], images["quantization"], list(images["shape_signature"])) == (
        np.uint8,
        (1, 0),
        [-1, 12, 12],
    )
    floats = {t["index"] for t in interpreter.get_tensor_details() if t["dtype"] == np.float32}
    assert floats == {logits["index"]}


# Kinds that can't be written.


def test_a_line_names_each_kind_that_this_backend_cannot_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert formats.writable_kinds(None) == WRITTEN
    missing = [kind for kind in formats.SUFFIXES if kind not in [*WRITTEN, "h5"]]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == missing
    assert all(
        f": can't be written on the {BACKEND} backend; expected KERAS_BACKEND=tensorflow" in line for line in lines
    )


def test_such_a_kind_is_refused_before_any_work(digits: Trained) -> None:
    for kind in formats.SUFFIXES:
        if kind not in [*WRITTEN, "h5"]:
            with pytest.raises(UserError, match=f"{kind}: can't be written on the {BACKEND} backend; expected KERAS"):
                digits.export(Path("out"), ["safetensors", kind])
    with pytest.raises(UserError, match="kinds: pickle; expected some of savedmodel, onnx, "):
        digits.export(Path("out"), ["pickle"])
    assert not Path("out").exists()


MODULES = {
    "tensorflow": {"tf2onnx": "onnx", "ai_edge_litert": "litert"},
    "torch": {"onnxruntime": "onnx"},
    "jax": {"tensorflow": "keras"},
}


@pytest.mark.parametrize(("module", "extra"), MODULES[BACKEND].items())
def test_a_missing_library_is_one_sentence(
    module: str, extra: str, digits: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    kind = {"onnx": "onnx", "litert": "int8", "keras": "savedmodel"}[extra]
    said = f"{kind}: needs {module}; expected pip install '.[{extra}]' first"
    with pytest.raises(UserError) as refused:
        digits.export(Path("out"), [kind])
    assert str(refused.value) == said
    assert kind not in formats.writable_kinds(None)
    assert said in capsys.readouterr().out
    assert not Path("out").exists()


# Existing files.


def test_a_file_that_is_there_is_refused_before_any_work(digits: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "WRITERS", {})
    Path("out").mkdir()
    Path("out/digits.keras").write_text("mine")
    with pytest.raises(UserError, match=r"--out out: holds digits\.keras, which this package did not write"):
        digits.export(Path("out"), None, overwrite=True)
    assert [(p.name, p.read_text()) for p in Path("out").iterdir()] == [("digits.keras", "mine")]
    manifest.add(Path("out"), ["digits.keras"])
    with pytest.raises(UserError) as refused:
        digits.export(Path("out"), None)
    assert str(refused.value) == "--out out: already holds digits.keras; expected another folder or --overwrite"
    assert Path("out/digits.keras").read_text() == "mine"


def test_the_file_that_was_read_is_not_written_again(digits: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "outputs", lambda path, images, _: repeated(digits, images))
    monkeypatch.setattr(exporting, "WRITERS", dict.fromkeys(formats.SUFFIXES, lambda path, *_: path.touch()))
    Path("out").mkdir()
    source = Path("out/digits.safetensors")
    source.write_text("mine")
    digits.export(Path("out"), None, source=source.absolute())
    assert source.read_text() == "mine"
    assert Path("out/digits.keras").exists()


def repeated(digits: Trained, images: np.ndarray) -> np.ndarray:
    """The outputs that a fresh process should return."""
    return digits.expected(np.concatenate([images, images[:1]]))


def test_overwriting_replaces_and_is_quiet(
    digits: Trained, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "outputs", lambda path, images, _: repeated(digits, images))
    kinds = [WRITTEN[0], "keras"]
    Path("out/digits.savedmodel").mkdir(parents=True)
    for name in ("digits.savedmodel/saved_model.pb", "digits.savedmodel/old", "digits.keras", "other.txt"):
        Path("out", name).write_text("old")
    manifest.add(Path("out"), ["digits.savedmodel/saved_model.pb", "digits.savedmodel/old", "digits.keras"])
    capfd.readouterr()
    lines = digits.export(Path("out"), kinds, overwrite=True)
    assert capfd.readouterr() == ("", "")
    assert len(lines) == len(kinds)
    replaced = "savedmodel" in kinds
    assert sorted(p.name for p in Path("out").iterdir()) == sorted(
        [
            ".files.json",
            "other.txt",
            *(f"digits{formats.SUFFIXES[kind]}" for kind in kinds),
            *([] if replaced else ["digits.savedmodel"]),
        ]
    )
    assert Path("out/digits.keras").read_bytes() != b"old"
    assert Path("out/digits.savedmodel/old").exists() != replaced
    assert Path("out/other.txt").read_text() == "old"


def test_what_is_no_export_is_never_overwritten(digits: Trained) -> None:
    Path("out/digits.safetensors").mkdir(parents=True)
    Path("out/digits.savedmodel").mkdir()
    Path("out/digits.savedmodel/thesis.txt").touch()
    with pytest.raises(UserError, match=r"holds digits\.safetensors, which this package did not write"):
        digits.export(Path("out"), ["safetensors"], overwrite=True)
    if "savedmodel" in WRITTEN:
        manifest.add(Path("out"), ["digits.savedmodel/saved_model.pb"])
        Path("out/digits.savedmodel/saved_model.pb").touch()
        with pytest.raises(UserError, match=r"holds digits\.savedmodel, which this package did not write"):
            digits.export(Path("out"), ["savedmodel"], overwrite=True)
    assert Path("out/digits.savedmodel/thesis.txt").exists()


# Files with other outputs.


def failing(digits: Trained, kinds: list[str]) -> str:
    """Export over an old file, which must fail and leave that file unchanged; return the message."""
    Path("out").mkdir()
    old = Path("out", f"digits{formats.SUFFIXES[kinds[0]]}")
    old.write_text("old")
    manifest.add(Path("out"), [old.name])
    with pytest.raises(UserError) as refused:
        digits.export(Path("out"), kinds, overwrite=True)
    assert {p.name for p in Path("out").iterdir()} == {".files.json", old.name}
    assert old.read_text() == "old"
    return str(refused.value)


def writing_the_wrong_network(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = exporting.WRITERS[kind]
    monkeypatch.setitem(exporting.WRITERS, kind, lambda path, net, *more: writer(path, wrong(net), *more))


@once
def test_a_file_with_other_outputs_is_not_written(digits: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    writing_the_wrong_network(QUICK, monkeypatch)
    said = failing(digits, [QUICK])
    assert said.startswith(f"out/digits.{QUICK}: its outputs differ from the network's by ")
    assert said.endswith("; expected at most 1e-04, so nothing was written")


@once
def test_the_outputs_for_a_single_image_are_checked_too(digits: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def outputs(path: Path, images: np.ndarray, _: Any) -> np.ndarray:
        found = repeated(digits, images)
        found[-1] += 1
        return found

    monkeypatch.setattr(exporting, "outputs", outputs)
    assert "its outputs differ" in failing(digits, [QUICK])


@once
def test_a_file_that_cannot_be_read_is_not_written(digits: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exporting.WRITERS, QUICK, lambda path, *_: path.write_bytes(b"nothing"))
    assert failing(digits, [QUICK]).startswith(f"digits.{QUICK}: a fresh process cannot load it (")


@once
@pytest.mark.parametrize("kind", ["safetensors", "h5"])
def test_a_recipe_in_the_metadata_is_checked(kind: str, digits: Trained) -> None:
    """The process that reads the exported file refuses an invalid recipe in one sentence."""
    metadata = {"minigrad": digits.spec.metadata()["minigrad"].replace('"relu"', '"eval"')}
    weights.write(Path("bad.safetensors"), weights.read(digits.weights)[0], metadata)
    path, more = (Path("bad.safetensors"), []) if kind == "safetensors" else (Path("x.h5"), [Path("bad.safetensors")])
    with pytest.raises(UserError) as refused:
        exports.outputs_in_fresh_process(exporting.READER, path, digits.images, *more)
    assert f"{path}: a fresh process cannot load it ({reader.PROG}: error: model.weights: bad" in str(refused.value)
    assert "model.activation: eval" in str(refused.value)


@on_tensorflow
def test_int8_with_a_lower_accuracy_is_not_written(digits: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example because its pixels were scaled twice."""
    writer = exporting.WRITERS["int8"]

    def twice(path: Path, net: keras.Model, *more: Any) -> None:
        scaled = chain(net, [keras.layers.Rescaling(1 / 255), *net.layers[1:]], "uint8")
        writer(path, scaled, *more)

    monkeypatch.setitem(exporting.WRITERS, "int8", twice)
    said = failing(digits, ["int8"])
    assert " % on 400 images (network: " in said
    assert said.endswith("; expected at most 1 % less, so nothing was written")


@on_tensorflow
def test_int8_with_scaled_pixels_is_refused(digits: Trained) -> None:
    """A network without its scale quantizes pixels with 1/255."""
    import tensorflow as tf

    chain(digits.net, digits.net.layers[2:], "float32").export(
        "scaled.tflite",
        format="litert",
        verbose=False,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([np.float32(image[None] / 255)] for image in digits.images[:9]),
        inference_input_type=tf.uint8,
    )
    with pytest.raises(ValueError, match=r"quantized with \(scale, zero point\) \(0.003.*; expected \(1, 0\)"):
        reader.load_litert(Path("scaled.tflite"))


def chain(net: keras.Model, layers: list[Any], dtype: str) -> keras.Model:
    """One layer after another."""
    x = images = keras.Input(net.input.shape[1:], dtype=dtype)
    for layer in layers:
        x = layer(x)
    return keras.Model(images, x)


@once
def test_without_labels_int8_is_compared_with_the_network() -> None:
    expected = np.eye(10)[np.arange(100) % 10]
    found = expected.copy()
    found[:5] = expected[1:6]
    assert (
        exporting.check_accuracy(Path("x"), found, expected, None)
        == "95.00 % of 100 images classified as by the network"
    )
    found[5] = expected[6]
    with pytest.raises(
        UserError, match=r"94.00 % of 100 images classified as by the network; expected at most 5 % less"
    ):
        exporting.check_accuracy(Path("x"), found, expected, None)
    labels = expected.argmax(1)
    assert exporting.check_accuracy(Path("x"), expected[:50], expected[:50], labels[:50]).startswith(
        "accuracy 100.00 % on 50 "
    )
    with pytest.raises(
        UserError, match=r"accuracy 94.00 % on 100 images \(network: 100.00 %\); expected at most 1 % less"
    ):
        exporting.check_accuracy(Path("x"), found, expected, labels)


@pytest.mark.slow
def test_an_h5_is_written_on_request(digits: Trained) -> None:
    (line,) = digits.export(Path("out"), ["h5"])
    assert line.startswith("out/digits.weights.h5: outputs differ from the network's by at most ")
    net = wrong(digits.net)
    net.load_weights("out/digits.weights.h5")
    for array, original in zip(net.get_weights(), digits.net.get_weights(), strict=True):
        np.testing.assert_array_equal(array, original)


# Other networks.

MLP = ("--model.hidden", "[32]", "--model.dropout", "0.2", "--model.optimizer", "adam", "--model.learning_rate", "0.01")
NETWORKS = {
    "dropout": ("--data.path", "pixels", *MLP),
    "tanh": ("--data.path", "vectors", *MLP, "--model.activation", "tanh", "--model.batch_norm", "true"),
    "cnn": ("--data.path", "pixels", *CNN, "--trainer.max_epochs", "8"),
    "colours": ("--data.path", "colours", *CNN, "--trainer.max_epochs", "8", "--model.activation", "sigmoid"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_all_kinds(name: str, tmp_path: Path) -> None:
    grey = pictures(2, 2000)
    colours = {key: np.stack([array] * 3, -1) if key.startswith("x") else array for key, array in grey.items()}
    for data, arrays in (("pixels", grey), ("colours", colours), ("vectors", clouds(0, 400, 0.5))):
        np.savez(data, **arrays)
    _, data, *words = NETWORKS[name]
    train.main([*flags(f"{data}.npz", "run"), *words])
    network = trained(Path("run/weights.safetensors"), f"{data}.npz")
    lines = network.export(tmp_path / "out", WRITTEN)
    assert len(lines) == len(WRITTEN)
    assert network.spec.input_shape == network.images.shape[1:]
    for kind in WRITTEN:
        path = tmp_path / "out" / f"digits{formats.SUFFIXES[kind]}"
        found = answered_by(path, network)(network.images)
        expected = network.expected(network.images)
        if kind == "int8":
            assert np.mean(found.argmax(1) == network.labels) >= np.mean(expected.argmax(1) == network.labels) - 0.01
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
