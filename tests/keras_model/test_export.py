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
from keras_helpers import BACKEND, CNN, Command, clouds, flags, once, pictures, slow_except

import keras_model
from keras_model.export import choice, reader
from keras_model.export import command as exporting
from keras_model.export.command import export
from keras_model.restore import restore
from minigrad import train
from minigrad.restore import restore as restore_in_minigrad
from minigrad.runs import NetworkSpec, UserError, exports, formats, manifest, weights
from minigrad.runs.formats import Kind, Precision

pytestmark = slow_except("tensorflow", "torch")

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
if keras.backend.backend() == "tensorflow":
    pytest.importorskip("tf2onnx")
    pytest.importorskip("ai_edge_litert")

WRITTEN: list[Kind] = {
    "tensorflow": ["savedmodel", "onnx", "litert", "keras", "safetensors"],
    "jax": ["savedmodel", "keras", "safetensors"],
    "torch": ["onnx", "pt2", "keras", "safetensors"],
}[BACKEND]
# A weights file doesn't depend on the backend.
EXPORTED = WRITTEN if BACKEND == "tensorflow" else WRITTEN[:-1]
INT8 = ["int8"] if BACKEND == "tensorflow" else []  # the earlier name of --kinds litert --precision int8
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

    def export(
        self, out: Path, kinds: list[str] | None, *precisions: str, overwrite: bool = False, labelled: bool = True
    ) -> list[str]:
        """Export to `out`, and return the printed lines."""
        printed = io.StringIO()
        examples = exports.Examples(self.images, self.labels if labelled else None, self.calibration)
        with redirect_stdout(printed):
            cells = choice.choose(kinds, precisions or ("float32",))
            export(self.net, self.spec, examples, out, "digits", cells, overwrite=overwrite)
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

    def path(self, kind: Kind, precision: Precision = "float32") -> Path:
        return self.folder / formats.Cell(kind, precision).file("digits")

    def line(self, kind: Kind, precision: Precision = "float32") -> str:
        (line,) = [line for line in self.lines if line.startswith(f"{self.path(kind, precision)}: ")]
        return line


@pytest.fixture(scope="session")
def made(digits: Trained, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Every kind that this backend can write, and LiteRT in int8; a weights file only on TensorFlow."""
    folder = tmp_path_factory.mktemp("exports") / "a/b"
    had = "tensorflow" in sys.modules
    lines = digits.export(folder, [*EXPORTED, *INT8])
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
    files = [*(made.path(kind) for kind in EXPORTED), *(made.path("litert", "int8") for _ in INT8)]
    assert {p.name for p in made.folder.iterdir()} == {".files.json", *(path.name for path in files)}
    assert len(made.lines) == len(files)
    for kind in EXPORTED:
        assert made.line(kind).endswith(" kB")
        assert float(made.line(kind).split(": largest difference ")[1].split(",")[0]) <= 1e-4
        assert " % on 400 images (network: " in made.line(kind)


@slow_except("tensorflow")
@pytest.mark.parametrize("kind", EXPORTED)
def test_each_answers_raw_images_as_minigrad_does(kind: Kind, made: Made, digits: Trained) -> None:
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
def test_int8_says_what_it_loses(made: Made, digits: Trained) -> None:
    path = made.path("litert", "int8")
    expected, logits = digits.expected(digits.images), answered_by(path, digits)(digits.images)
    right = [100 * float((x.argmax(1) == digits.labels).mean()) for x in (logits, expected)]
    distance = np.abs(logits - expected) / np.abs(expected).max()
    assert made.line("litert", "int8").removeprefix(f"{path}: ") == (
        f"largest difference {distance.max():.1e}, mean difference {distance.mean():.1e}, accuracy {right[0]:.2f} % on 400"
        f" images (network: {right[1]:.2f} %), {path.stat().st_size / 1000:.1f} kB"
    )
    assert right[1] > 90, "an untrained network would make this test trivial"
    assert right[0] >= right[1] - 1
    assert path.stat().st_size < made.path("litert").stat().st_size


@slow_except("tensorflow")
@on_tensorflow
def test_int8_computes_in_integers_from_raw_pixels(made: Made) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(made.path("litert", "int8")))
    (images,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (images["dtype"], images["quantization"], list(images["shape_signature"])) == (
        np.uint8,
        (1, 0),
        [-1, 12, 12],
    )
    floats = {t["index"] for t in interpreter.get_tensor_details() if t["dtype"] == np.float32}
    assert floats == {logits["index"]}


# Every format in every precision.

BACKENDS = {"savedmodel": "tensorflow or jax", "onnx": "tensorflow or torch", "litert": "tensorflow", "pt2": "torch"}
IN_ONNX = "expected --kinds onnx" + (" and KERAS_BACKEND=tensorflow or torch" if BACKEND == "jax" else "")
IN_FLOAT32 = "Keras writes its weights as they are, in float32"
REFUSED = {
    ("savedmodel", "int8"): f"savedmodel in int8: TensorFlow quantizes LiteRT files only; {IN_ONNX}",
    ("pt2", "int8"): f"pt2 in int8: torch quantizes exported programs only with a further package, torchao; {IN_ONNX}",
    ("keras", "int8"): f"keras in int8: Keras quantizes dense layers only, no convolutions; {IN_ONNX}",
    ("safetensors", "int8"): f"safetensors in int8: a weights file contains no scales for integers; {IN_ONNX}",
    ("h5", "float16"): f"h5 in float16: {IN_FLOAT32}; expected --kinds safetensors",
    ("h5", "int8"): f"h5 in int8: {IN_FLOAT32}; {IN_ONNX}",
} | {
    (kind, precision): f"{kind}: can't be written on the {BACKEND} backend; expected KERAS_BACKEND={backends}"
    for kind, backends in BACKENDS.items()
    if BACKEND not in backends.split(" or ")
    for precision in formats.PRECISIONS
}
CELLS = [formats.Cell(kind, precision) for kind in formats.SUFFIXES for precision in formats.PRECISIONS]


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell in REFUSED], ids="-".join)
def test_other_cells_are_refused_before_any_work(cell: formats.Cell, refused: Callable[..., str]) -> None:
    words = ("--model.weights", "nowhere.safetensors", "--out", "out", "--kinds", cell.kind, "--precision")
    assert refused("export", *words, cell.precision) == REFUSED[cell]
    assert not Path("out").exists()


@pytest.fixture(scope="session", params=["mlp", "cnn"])
def matrix(
    request: pytest.FixtureRequest, pixels: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trained, Made]:
    """All files in all precisions."""
    out = tmp_path_factory.mktemp("matrix")
    words = CNN if request.param == "cnn" else ("--model.hidden", "[16]", "--model.batch_norm", "true")
    train.main([*flags(pixels, out / "run"), *words, "--trainer.max_epochs", "8"])
    network = trained(out / "run/weights.safetensors", pixels)
    made = Made(out / "files", network.export(out / "files", None, *formats.PRECISIONS))
    network.export(out / "files", ["h5"])
    return network, made


@pytest.mark.slow
@pytest.mark.timeout(900)  # a fresh process per file
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell not in REFUSED and cell.kind != "h5"], ids="-".join)
def test_other_cells_are_written(cell: formats.Cell, matrix: tuple[Trained, Made]) -> None:
    network, made = matrix
    path, line = made.path(*cell), made.line(*cell)
    logits, expected = answered_by(path, network)(network.images), network.expected(network.images)
    assert logits.dtype == np.float32
    largest = np.abs(logits - expected).max() / max(1, np.abs(expected).max())
    assert largest <= {"float32": 1e-4, "float16": 1e-2, "int8": 0.2}[cell.precision]
    if cell.precision != "float32":
        assert largest > 1e-6
        assert float(line.split("largest difference ")[1].split(",")[0]) == pytest.approx(largest, rel=0.05)
    accuracies = [100 * float((x.argmax(1) == network.labels).mean()) for x in (logits, expected)]
    assert accuracies[1] > 80, "an untrained network would make this test trivial"
    assert f"accuracy {accuracies[0]:.2f} % on 400 images (network: {accuracies[1]:.2f} %), " in line
    assert line.endswith(f"{exports.size(path) / 1000:,.1f} kB")


@pytest.mark.slow
@pytest.mark.timeout(900)  # a fresh process per file
def test_a_line_names_what_cannot_be_written(matrix: tuple[Trained, Made]) -> None:
    _, made = matrix
    reasons = dict.fromkeys(REFUSED[cell] for cell in CELLS if cell in REFUSED and cell.kind != "h5")
    assert made.lines[: len(reasons)] == list(reasons)
    assert made.lines[len(reasons)].startswith(f"{made.folder}/")


def test_float32_names_only_the_backends(capsys: pytest.CaptureFixture[str]) -> None:
    assert choice.choose(None) == [formats.Cell(kind, "float32") for kind in WRITTEN]
    missing = [kind for kind in formats.OF_KERAS if kind not in WRITTEN]
    assert capsys.readouterr().out.splitlines() == [REFUSED[kind, "float32"] for kind in missing]


def test_unknown_kinds_and_precisions(refused: Callable[..., str]) -> None:
    with pytest.raises(UserError, match="kinds: pickle; expected some of savedmodel, onnx, "):
        choice.choose(["pickle"])
    with pytest.raises(UserError, match="precision: int4; expected some of float32, float16, int8"):
        choice.choose(None, ["int4"])
    assert "int4" in refused("export", "--model.weights", "nowhere.safetensors", "--precision", "int4")


@on_tensorflow
def test_the_kind_int8_is_litert_in_int8() -> None:
    cells = [formats.Cell("onnx", "float32"), formats.Cell("litert", "int8")]
    assert choice.choose(["onnx", "int8"]) == cells
    assert choice.choose(["int8"]) == choice.choose(["int8", "litert"], ["int8"]) == cells[1:]


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
    kind = {"onnx": "onnx", "litert": "litert", "keras": "savedmodel"}[extra]
    said = f"{kind}: needs {module}; expected pip install '.[{extra}]' first"
    with pytest.raises(UserError) as refused:
        digits.export(Path("out"), [kind])
    assert str(refused.value) == said
    assert formats.Cell(kind, "float32") not in choice.choose(None)
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


def test_the_file_that_was_read_is_not_written_again(
    digits: Trained, pixels: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "outputs", lambda path, images, _: repeated(digits, images))
    monkeypatch.setattr(exporting, "WRITERS", dict.fromkeys(formats.SUFFIXES, lambda path, *_: path.touch()))
    Path("out").mkdir()
    source = Path("out/digits.safetensors")
    source.write_bytes(digits.weights.read_bytes())
    result = command("export", "--model.weights", str(source.absolute()), "--data.path", pixels)
    assert (result.status, result.err) == (0, "")
    assert source.read_bytes() == digits.weights.read_bytes()
    assert Path("out/digits.keras").read_bytes() == b""


def repeated(digits: Trained, images: np.ndarray) -> np.ndarray:
    """The outputs that a fresh process should return."""
    return digits.expected(np.concatenate([images, images[:1]]))


def test_overwriting_replaces_and_is_quiet(
    digits: Trained, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exporting, "outputs", lambda path, images, _: repeated(digits, images))
    kinds = [WRITTEN[0], "keras"]
    names = [formats.Cell(kind, "float32").file("digits") for kind in kinds]
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
            *names,
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


def failing(digits: Trained, kinds: list[Kind], precision: Precision = "float32") -> str:
    """Export over an old file, which must fail and leave that file unchanged; return the message."""
    Path("out").mkdir()
    old = Path("out", formats.Cell(kinds[0], precision).file("digits"))
    old.write_text("old")
    manifest.add(Path("out"), [old.name])
    with pytest.raises(UserError) as refused:
        digits.export(Path("out"), kinds, precision, overwrite=True)
    assert {p.name for p in Path("out").iterdir()} == {".files.json", old.name}
    assert old.read_text() == "old"
    return str(refused.value)


def writing_the_wrong_network(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = exporting.WRITERS[kind]
    monkeypatch.setitem(exporting.WRITERS, kind, lambda path, job: writer(path, job._replace(net=wrong(job.net))))


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
    writer = exporting.WRITERS["litert"]

    def twice(path: Path, job: Any) -> None:
        scaled = chain(job.net, [keras.layers.Rescaling(1 / 255), *job.net.layers[1:]], "uint8")
        writer(path, job._replace(net=scaled))

    monkeypatch.setitem(exporting.WRITERS, "litert", twice)
    said = failing(digits, ["litert"], "int8")
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
def test_without_labels_int8_is_compared_with_the_network(digits: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 400 images, at most 20 may be classified differently."""
    others = 0

    def outputs(path: Path, images: np.ndarray, _: Any) -> np.ndarray:
        logits = repeated(digits, images)
        logits[:others] *= -1
        return logits

    monkeypatch.setattr(exporting, "outputs", outputs)
    others = 20
    (line,) = digits.export(Path("out"), ["onnx"], "int8", labelled=False)
    assert ", 95.00 % of 400 images classified as by the network, " in line
    others = 21
    with pytest.raises(
        UserError, match=r"94.75 % of 400 images classified as by the network; expected at most 5 % less"
    ):
        digits.export(Path("out"), ["onnx"], "int8", labelled=False, overwrite=True)


@pytest.mark.slow
def test_an_h5_is_written_on_request(digits: Trained) -> None:
    (line,) = digits.export(Path("out"), ["h5"])
    assert line.startswith("out/digits.weights.h5: largest difference ")
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
    lines = network.export(tmp_path / "out", [*WRITTEN, *INT8])
    assert len(lines) == len([*WRITTEN, *INT8])
    assert network.spec.input_shape == network.images.shape[1:]
    expected = network.expected(network.images)
    for kind in WRITTEN:
        path = tmp_path / "out" / formats.Cell(kind, "float32").file("digits")
        np.testing.assert_allclose(answered_by(path, network)(network.images), expected, rtol=1e-4, atol=1e-4)
    for _ in INT8:
        logits = answered_by(tmp_path / "out/digits.int8.tflite", network)(network.images)
        assert np.mean(logits.argmax(1) == network.labels) >= np.mean(expected.argmax(1) == network.labels) - 0.01
