"""`export`: the files have the outputs of the network for any number of raw images, or are not written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_helpers import CNN, QUIET, call, contents, network, runs_of, sentence

from lightning_module import export
from lightning_module.model import LitClassifier
from lightning_module.restore import LOADERS
from minigrad.restore import restore
from minigrad.runs import formats, weights

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

NETWORKS = {"mlp": ("--model.hidden", "[9, 6]", "--model.dropout", "0.3"), "cnn": CNN}
COUNTS = (1, 3, 130)


@pytest.fixture(scope="module")
def runs(few: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each network."""
    return runs_of(NETWORKS, few, tmp_path_factory.mktemp("networks"))


def exporting(data: str, *more: str) -> list[str]:
    return ["export", "--data.path", data, "--trainer.accelerator", "cpu", *QUIET, *more]


class Exported:
    """The exported files of one network, and the network."""

    def __init__(self, run: Path, source: str, data: str, folder: Path, *more: str) -> None:
        if source == "checkpoint":
            words, self.stem = ("--ckpt_path", str(run / "last.ckpt")), "last"
        else:
            words, self.stem = ("--model.weights", str(run / "weights.safetensors")), "weights"
        printed = io.StringIO()
        with redirect_stdout(printed):
            assert call(*exporting(data, *words, "--trainer.default_root_dir", str(folder), *more)) == 0
        self.printed, self.folder, self.run = printed.getvalue(), folder, run
        self.module = LitClassifier.load_from_checkpoint(run / "last.ckpt", weights_only=True).cpu().eval()
        with np.load(data) as arrays:
            self.images = np.concatenate([arrays["x_test"], arrays["x_train"]])

    def path(self, kind: str) -> Path:
        return self.folder / f"{self.stem}.{kind}"

    def same(self, predict: Callable[[np.ndarray], Any]) -> None:
        """Check that `predict` has the outputs of the network."""
        for count in COUNTS:
            images = self.images[-count:]
            with torch.inference_mode():
                expected = self.module(torch.from_numpy(images)).numpy()
            np.testing.assert_allclose(np.asarray(predict(images)), expected, rtol=1e-5, atol=1e-5)


SLOW = pytest.mark.slow
CASES = [
    pytest.param(("mlp", "checkpoint")),
    pytest.param(("mlp", "weights"), marks=SLOW),
    pytest.param(("cnn", "checkpoint"), marks=SLOW),
    pytest.param(("cnn", "weights"), marks=SLOW),
]


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def exported(
    request: pytest.FixtureRequest, runs: dict[str, Path], few: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exported]:
    network, source = request.param
    return Exported(runs[network], source, few, tmp_path_factory.mktemp("exported") / "a/b")


def test_the_files_are_named_after_what_was_exported(exported: Exported) -> None:
    kinds = ["onnx", "pt2", *(["safetensors"] if exported.stem == "last" else [])]  # weights are a safetensors already
    assert sorted(p.name for p in exported.folder.iterdir() if p.name != ".files.json") == [
        f"{exported.stem}.{kind}" for kind in kinds
    ]
    lines = exported.printed.splitlines()
    for kind in kinds:
        (line,) = [line for line in lines if line.startswith(f"{exported.path(kind)}: ")]
        assert " % on 120 images (network: " in line
        assert float(line.split("largest difference ")[1].split(",")[0]) <= 1e-4


def test_onnx_has_the_outputs_for_raw_images(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.path("onnx"), providers=["CPUExecutionProvider"])
    (input_,), (output,) = session.get_inputs(), session.get_outputs()
    assert (input_.name, input_.type, input_.shape[1:]) == ("images", "tensor(uint8)", [4, 5])
    assert isinstance(input_.shape[0], str), "any number of images"
    assert (output.name, output.type, output.shape[1:]) == ("logits", "tensor(float)", [3])
    exported.same(lambda images: session.run(None, {"images": images})[0])


def test_an_exported_program_has_the_outputs_for_raw_images(exported: Exported) -> None:
    module = torch.export.load(exported.path("pt2")).module()
    exported.same(lambda images: module(torch.from_numpy(images)).detach())


def test_exported_weights_have_the_outputs_in_minigrad(exported: Exported) -> None:
    if exported.stem == "last":
        net, network = restore(exported.path("safetensors"))
        assert (network.input_shape, network.classes) == ((4, 5), 3)
        exported.same(net.predict)
        written, original = (
            weights.read(path)[0] for path in (exported.path("safetensors"), exported.run / "weights.safetensors")
        )
        assert written.keys() == original.keys()
        for name in original:
            np.testing.assert_array_equal(written[name], original[name])


def test_each_file_describes_its_network(exported: Exported) -> None:
    import onnx

    model = onnx.load(exported.path("onnx"))
    onnx.checker.check_model(model, full_check=True)
    texts = [{p.key: p.value for p in model.metadata_props}["minigrad"]]
    extra = {"minigrad": ""}
    torch.export.load(exported.path("pt2"), extra_files=extra)
    texts.append(extra["minigrad"])
    if exported.stem == "last":
        texts.append(weights.read(exported.path("safetensors"))[1]["minigrad"])
    assert len(set(texts)) == 1
    exported_metadata, run = (
        json.loads(text) for text in (texts[0], weights.read(exported.run / "weights.safetensors")[1]["minigrad"])
    )
    assert exported_metadata["recipe"]["model"] == run["recipe"]["model"]
    assert {k: v for k, v in exported_metadata.items() if k != "recipe"} == {
        k: v for k, v in run.items() if k != "recipe"
    }


@pytest.mark.slow
def test_vectors_of_floats(run: Path, easy: str) -> None:
    exported = Exported(run, "checkpoint", easy, Path("out"))
    session = onnxruntime.InferenceSession(exported.path("onnx"), providers=["CPUExecutionProvider"])
    exported.same(lambda images: session.run(None, {"images": images})[0])


@pytest.mark.slow
def test_without_a_folder_they_are_beside_the_checkpoint(runs: dict[str, Path], few: str) -> None:
    Path("out").mkdir()
    Path("out/best.ckpt").write_bytes((runs["mlp"] / "best.ckpt").read_bytes())
    assert call(*exporting(few, "--ckpt_path", "out/best.ckpt")) == 0
    assert sorted(contents("out")) == ["best.ckpt", "best.onnx", "best.pt2", "best.safetensors"]
    assert not Path("runs").exists()


@pytest.mark.slow
def test_overwrite_replaces_these_files_and_no_others(runs: dict[str, Path], few: str) -> None:
    for source, target in (("mlp/best.ckpt", "best.ckpt"), ("mlp/history.csv", "history.csv")):
        Path("out").mkdir(exist_ok=True)
        Path("out", target).write_bytes((runs["mlp"].parent / source).read_bytes())
    Path("out/best.onnx").write_text("of an earlier export")
    Path("out/.files.json").write_text(json.dumps({"files": ["best.onnx"]}))
    before = contents("out")
    assert call(*exporting(few, "--ckpt_path", "out/best.ckpt", "--overwrite")) == 0
    after = contents("out")
    assert after.pop("best.onnx") != before.pop("best.onnx")
    del after["best.pt2"], after["best.safetensors"]
    assert after == before


# User errors, which leave no files.


def here() -> dict[str, bytes]:
    """Return all files, without those of ONNX Runtime in the cache."""
    return {name: content for name, content in contents(Path.cwd()).items() if not name.startswith("cache/")}


def refused(words: list[str], *expected: str) -> None:
    before = here()
    message = sentence(*words)
    for word in expected:
        assert word in message, message
    assert here() == before


@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors"])
def test_existing_files_are_kept_without_overwrite(kind: str, runs: dict[str, Path], few: str) -> None:
    Path("out").mkdir()
    Path(f"out/last.{kind}").write_text("mine")
    options = ("--ckpt_path", str(runs["mlp"] / "last.ckpt"), "--trainer.default_root_dir", "out")
    refused(exporting(few, *options, "--overwrite"), f"--out out: holds last.{kind}, which this package did not write")
    Path("out/.files.json").write_text(json.dumps({"files": [f"last.{kind}"]}))
    refused(exporting(few, *options), f"--out out: already holds last.{kind}", "--overwrite")


def test_nothing_to_export(few: str) -> None:
    refused(exporting(few), "neither --ckpt_path nor --model.weights", "expected a trained network")


def test_a_missing_checkpoint(few: str) -> None:
    refused(exporting(few, "--ckpt_path", "no.ckpt"), "--ckpt_path no.ckpt", "no such file")


def test_images_that_do_not_fit(runs: dict[str, Path], easy: str) -> None:
    options = ("--model.weights", str(runs["cnn"] / "weights.safetensors"), "--trainer.default_root_dir", "out")
    refused(exporting(easy, *options), "(6,)", "expected (4, 5)")
    refused(exporting("nowhere.npz", *options), "nowhere.npz", "does not exist")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2", "safetensors"])
def test_a_file_with_other_outputs_is_not_written(
    kind: str, runs: dict[str, Path], few: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = export.WRITERS[kind]

    def wrong(path: Path, cell: Any, model: LitClassifier, _: Any) -> None:
        other = deepcopy(model)
        with torch.no_grad():
            other.net.output.bias += 0.01
        right(path, cell, other, partial(export.export_program, other))
        assert path.stat().st_size, "it was written"

    good = "safetensors" if kind == "pt2" else "pt2"
    monkeypatch.setitem(export.WRITERS, kind, wrong)
    options = ("--ckpt_path", str(runs["cnn"] / "last.ckpt"), "--trainer.default_root_dir", "out")
    refused(
        exporting(few, *options, "--kinds", good, kind),
        f"out/last.{kind}",
        "differ from the network's by",
        "1e-04",
        "nothing was written",
    )


@pytest.mark.slow
def test_a_file_that_a_fresh_process_cannot_load_is_not_written(
    runs: dict[str, Path], few: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(path: Path, *_: Any) -> None:
        path.write_bytes(b"PK\x03\x04")

    monkeypatch.setitem(export.WRITERS, "pt2", cut)
    options = ("--ckpt_path", str(runs["cnn"] / "last.ckpt"), "--trainer.default_root_dir", "out")
    refused(
        exporting(few, *options, "--kinds", "safetensors", "pt2"),
        ".pt2",
        "a fresh process cannot load it",
        "nothing was written",
    )


@pytest.mark.slow
def test_nothing_is_printed_about_files_that_are_not_written(
    run: Path, easy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(export.WRITERS, "pt2", lambda path, *_: path.write_bytes(b"PK"))
    options = ("--ckpt_path", str(run / "last.ckpt"), "--trainer.default_root_dir", "out")
    sentence("export", *network(easy), *options, "--kinds", "safetensors", "pt2")
    assert "largest difference" not in capsys.readouterr().out


# Every format in every precision.

IN_KERAS = "can't be written by lightning_module; expected python -m keras_model export, which reads the same weights"
NOT_INT8 = {
    "pt2": "torch quantizes exported programs only with a further package, torchao",
    "safetensors": "a weights file contains no scales for integers",
}
REFUSED = {
    **{
        (kind, precision): f"{kind}: {IN_KERAS}"
        for kind in ("savedmodel", "litert", "keras", "h5")
        for precision in formats.PRECISIONS
    },
    **{(kind, "int8"): f"{kind} in int8: {reason}; expected --kinds onnx" for kind, reason in NOT_INT8.items()},
}
CELLS = [formats.Cell(kind, precision) for kind in formats.SUFFIXES for precision in formats.PRECISIONS]
WRITTEN = [cell for cell in CELLS if cell not in REFUSED]


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell in REFUSED], ids="-".join)
def test_other_cells_are_refused(cell: formats.Cell, runs: dict[str, Path], few: str) -> None:
    options = ("--ckpt_path", str(runs["mlp"] / "last.ckpt"), "--out", "out")
    refused(exporting(few, *options, "--kinds", cell.kind, "--precision", cell.precision), REFUSED[cell])


@pytest.fixture(scope="module", params=NETWORKS)
def matrix(
    request: pytest.FixtureRequest, runs: dict[str, Path], few: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Exported, list[str]]:
    """All files in all precisions."""
    folder = tmp_path_factory.mktemp("matrix") / "out"
    made = Exported(runs[request.param], "checkpoint", few, folder, "--precision", *formats.PRECISIONS)
    return made, made.printed.splitlines()


@pytest.mark.slow
@pytest.mark.timeout(900)  # a fresh process per file
@pytest.mark.parametrize("cell", WRITTEN, ids="-".join)
def test_other_cells_are_written(cell: formats.Cell, matrix: tuple[Exported, list[str]]) -> None:
    made, lines = matrix
    path = made.folder / cell.file("last")
    (line,) = [line for line in lines if line.startswith(f"{path}: ")]
    images = made.images[:120]  # the test images
    with torch.inference_mode():
        expected = made.module(torch.from_numpy(images)).numpy()
    logits = LOADERS[path.suffix](path)(images)
    assert logits.dtype == np.float32
    assert (np.abs(logits - expected).max() > 1e-6) == (cell.precision != "float32")
    largest = np.abs(logits - expected).max() / max(1, np.abs(expected).max())
    assert largest <= {"float32": 1e-4, "float16": 3e-3, "int8": 0.1}[cell.precision]
    if cell.precision != "float32":
        assert float(line.split("largest difference ")[1].split(",")[0]) == pytest.approx(largest, rel=0.05)
    assert line.endswith(" kB")
    assert " % on 120 images (network: " in line


@pytest.mark.slow
@pytest.mark.timeout(900)  # a fresh process per file
def test_what_cannot_be_written_has_a_line(matrix: tuple[Exported, list[str]]) -> None:
    made, lines = matrix
    assert lines[: len(NOT_INT8)] == [REFUSED[kind, "int8"] for kind in NOT_INT8]
    assert {p.name for p in made.folder.iterdir()} == {".files.json", *(cell.file("last") for cell in WRITTEN)}


@pytest.mark.slow
def test_a_weights_file_is_copied_on_request(runs: dict[str, Path], few: str) -> None:
    options = ("--model.weights", str(runs["mlp"] / "weights.safetensors"), "--out", "out", "--kinds", "safetensors")
    assert call(*exporting(few, *options, "--precision", "float32", "float16")) == 0
    original, copy, half = (
        weights.read(path)[0] for path in (options[1], "out/weights.safetensors", "out/weights.float16.safetensors")
    )
    for name, array in original.items():
        np.testing.assert_array_equal(copy[name], array)
        np.testing.assert_array_equal(half[name], array.astype(np.float16))


@pytest.mark.slow
def test_a_network_that_float16_cannot_hold_is_refused(run: Path, easy: str) -> None:
    arrays, metadata = weights.read(run / "weights.safetensors")
    large = {name: array * 1e6 if name.startswith("output") else array for name, array in arrays.items()}
    weights.write(Path("large.safetensors"), large, metadata)
    options = ("--model.weights", "large.safetensors", "--kinds", "pt2", "--precision", "float16")
    refused(exporting(easy, *options), "its outputs are NaN or infinite; expected --precision float32")
