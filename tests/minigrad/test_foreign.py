"""Files that someone else may have written: each damage is refused in one sentence, before memory is allocated for it."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import Report, check

from minigrad import checkpoint, datasets, recipes, restore, train
from minigrad.datasets import idx, npz
from minigrad.recipes import EarlyStopping, Model, Recipe
from minigrad.runs import UserError, foreign, history, manifest, run_command, weights
from minigrad.runs.errors import HALF_MESSAGE
from minigrad.runs.weights import NetworkSpec
from minigrad.training import TrainingState


def refused(read: Callable[[Path], object], path: Path) -> str:
    """Return the sentence in which a file is refused, without much memory or time."""
    report = Report("")
    check(report, read, path, str(path))
    assert report.refused == 1
    assert not report.failures
    with pytest.raises(UserError) as error:
        read(path)
    return str(error.value)


# Arrays.


def npy(header: str | bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header if isinstance(header, bytes) else header.encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + data


def described(descr: str = "'|u1'", shape: str = "(16,)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


HEADERS = {
    "huge shape": described(shape="(99999999999999,)"),
    "shape beyond 64 bits": described(shape="(10**30,)"),
    "shape of many digits": described(shape=f"({'1' * 5000},)"),
    "product beyond 64 bits": described(shape=f"({2**40}, {2**40})"),
    "empty and huge": described(shape=f"(0, {10**30})"),
    "bool dimension": described(shape="(True, 16)"),
    "negative dimension": described(shape="(-1, -16)"),
    "many dimensions": described(shape="(" + "1, " * 100 + "16)"),
    "huge text": described(descr="'|S4000000000'", shape="(1,)"),
    "empty huge text": described(descr="'|S4000000000'", shape="(4,)"),
    "commas": described(descr="'i4,f4,|O'"),
    "nested dtype": described(descr="[('a', [('b', '|O')])]"),
    "objects": described(descr="'|O'", shape="(2,)"),
    "subarray": described(descr="('|u1', (1000000000,))", shape="(1,)"),
    "dates": described(descr="'<M8[D]'", shape="(2,)"),
    "not closed": "{'descr': '|u1', 'shape': (16,",
    "quote": "{'descr': '|u1",
    "brackets": "(" * 5000,
    "no dict": "[1]",
    "no shape": "{'descr': '|u1', 'fortran_order': False}",
    "order": described(order="3"),
    "null byte": described() + "\0",
    "other encoding": b"\xff\xfe",
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0), (9, 9)])
def test_a_header_that_makes_no_sense_is_refused(name: str, version: tuple[int, int]) -> None:
    content = npy(HEADERS[name], bytes(16), version)
    Path("a.npy").write_bytes(content)
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    for path in ("a.npy", "a.npz"):
        assert path in refused(lambda path: datasets.load_images(path, (4, 4), 1 / 255), Path(path))


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numpy_are_read(order: Any) -> None:
    arrays = {"a": np.asarray(np.arange(24.0).reshape(2, 3, 4), order=order), "b": np.array(3), "c": np.array(["x"])}
    np.savez("a.npz", **arrays)
    np.savez_compressed("b.npz", **arrays)
    for path in ("a.npz", "b.npz"):
        for name, array in npz.read_all(Path(path)).items():
            np.testing.assert_array_equal(array, arrays[name])
            assert array.flags.writeable


def zeros(path: str, megabytes: int, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write an archive of equal images, one of them of this size."""
    count = megabytes * 2**20 // 16
    with zipfile.ZipFile(path, "w", compression) as archive, archive.open("x_test.npy", "w", force_zip64=True) as file:
        file.write(npy(described(shape=f"({count}, 4, 4)")))
        for _ in range(megabytes):
            file.write(bytes(2**20))
    return Path(path)


def test_an_archive_that_expands_too_far_is_refused() -> None:
    """The archive itself has 160 kB; with bzip2, less than one."""
    images = lambda path: datasets.load_images(path, (4, 4), 1 / 255)  # noqa: E731
    assert "would expand to 167,77" in refused(images, zeros("deflated.npz", 160))
    assert "compression is not that of NumPy" in refused(images, zeros("bz2.npz", 1, zipfile.ZIP_BZIP2))


def test_a_data_set_of_equal_images_is_read() -> None:
    """All zeros, as many as MNIST has: deflate makes them a thousand times smaller."""
    assert datasets.load_images(zeros("a.npz", 47), (4, 4), 1 / 255).images.shape == (47 * 2**16, 4, 4)


def test_arrays_of_the_same_name_are_refused() -> None:
    np.savez("a.npz", x=np.zeros((2, 4, 4), np.uint8))
    with zipfile.ZipFile("a.npz", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x.npy", npy(described(), bytes(16)))
    assert "two arrays of the same name" in refused(npz.read_all, Path("a.npz"))


# IDX.


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([1] * 65, "65 dimensions"),
        ([1] * 255, "255 dimensions"),
        ([2**32 - 1] * 3, "the shape (4294967295"),
        ([2**16] * 8, "the shape (65536"),
        ([], "not an IDX file"),
        ([3], "contains 2 values"),
        ([1], "contains more values"),
        ([200 * 2**20], "the shape (209715200,)"),
    ],
)
def test_dimensions_that_make_no_sense_are_refused(shape: list[int], words: str, suffix: str) -> None:
    content = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + b"ab"
    path = Path(f"x-idx3-ubyte{suffix}")
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert words in refused(idx.read, path)


def test_a_gzip_file_of_more_data_than_its_header_describes_is_refused() -> None:
    with gzip.open("x-idx1-ubyte.gz", "wb") as file:
        file.write(bytes([0, 0, 8, 1]) + np.array([5], ">u4").tobytes())
        for _ in range(20):
            file.write(bytes(2**20))
    assert "contains more values; expected 5" in refused(idx.read, Path("x-idx1-ubyte.gz"))


# YAML.

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML = {
    "aliases": LAUGHS,
    "one alias": "model: {hidden: &a [3], channels: *a}\n",
    "brackets": "[" * 2000 + "]" * 2000,
    "open brackets": "model: {hidden: " + "[" * 2000,
    "dashes": "- " * 2000,
    "many digits": f"seed_everything: {'1' * 5000}\n",
    "float beyond its range": f"model: {{learning_rate: {'1' * 400}}}\n",
    "a million layers": "model: {hidden: [" + "1, " * 10**6 + "1]}\n",
    "thousands of layers": "model: {hidden: [" + "1, " * 9000 + "1]}\n",
    "many layers": "model: {hidden: [" + "1, " * 101 + "1]}\n",
    "a text of brackets": f"model: {{hidden: '{'[' * 2000}'}}\n",
    "a text of aliases": f"seed_everything: {json.dumps(LAUGHS)}\n",
    "a network too large": "model: {hidden: [1000000, 1000000]}\n",
    "a tag": "model: !!python/object/apply:os.getcwd []\n",
    "a key that is a list": "? [1]\n: 2\n",
    "control characters": 'model: {optimizer: "\\e[2J\\a"}\n',
}


@pytest.mark.parametrize("name", YAML)
@pytest.mark.parametrize("door", ["config", "section", "run"])
def test_yaml_beyond_its_limits_is_refused(name: str, door: str) -> None:
    Path("a.yaml").write_text(YAML[name])

    def read(path: Path) -> object:
        if door == "run":
            return recipes.sizes(recipes.read_trained(path)[0].model, (28, 28), 10)
        flag = "--config" if door == "config" else "--model"
        options = recipes.recipe_parser("x", "").parse_args(recipes.resolve([flag, str(path)]))
        return recipes.sizes(recipes.to_recipe(options).model, (28, 28), 10)

    refused(read, Path("a.yaml"))


@pytest.mark.parametrize("flag", ["model.hidden", "model.learning_rate", "seed_everything", "model", "config"])
@pytest.mark.parametrize("name", sorted(YAML.keys() - {"a million layers", "a network too large", "a tag"}))
def test_a_value_beyond_the_limits_is_refused(name: str, flag: str) -> None:
    def read(path: Path) -> object:
        parser = recipes.recipe_parser("x", "")
        return recipes.to_recipe(parser.parse_args([f"--{flag}", path.read_text()]))

    Path("value").write_text(YAML[name])
    refused(read, Path("value"))


def test_ordinary_values_are_accepted() -> None:
    parse = recipes.recipe_parser("x", "").parse_args
    for path in ("*.npz", "&x/*y", "a [1].npz", "a: b"):
        assert parse(["--data.path", path]).data.path == path
    assert parse(["--model.hidden=[3, 4]", "--model", "{dropout: 0.5}"]).model.hidden == [3, 4]
    Path("anchors.yaml").write_text("model:\n  hidden: &units [3]\n")
    assert recipes.load("anchors.yaml").model.hidden == [3]


# Weights and checkpoints.

SPEC = NetworkSpec(Recipe(model=Model(hidden=[3], optimizer="adam"), early_stopping=EarlyStopping(2)), (4,), 3, 1.0)
PATH = Path("a.safetensors")


def start() -> TrainingState:
    state = TrainingState.start(SPEC, 10)
    assert state.best is not None
    state.best.update(0.5, state.net)
    return state


@pytest.mark.parametrize(
    "model",
    [
        {"hidden": [20_000, 20_000]},
        {"hidden": [1] * 10**6},
        {"architecture": "cnn", "channels": [1] * 10**6},
        {"architecture": "cnn", "kernel_size": 10**9 + 1},
        {"hidden": 3},
        {"hidden": [[3]]},
        {"hidden": [True]},
        {"hidden": "[" * 2000},
        {"learning_rate": 10**400},
        {"activation": "\x1b[2J"},
    ],
    ids=lambda model: str(model)[:40],
)
def test_metadata_that_do_not_fit_the_arrays_are_refused(model: dict[str, Any]) -> None:
    recipe = SPEC.recipe.as_dict()
    content = {
        "recipe": recipe | {"model": recipe["model"] | model},
        "input_shape": [4],
        "classes": 3,
        "input_scale": "1",
    }
    weights.write(PATH, start().net.state_dict(), {weights.KEY: json.dumps(content)})
    for read in (restore.restore, weights.read_spec):
        assert "a.safetensors" in refused(read, PATH)


@pytest.mark.parametrize(
    "changes",
    [
        {"input_shape": [1] * 10**6},
        {"input_shape": [10**30, 10**30]},
        {"classes": 10**30},
        {"recipe": {"model": {}, "not_in_recipe": [1]}},
        {"recipe": None},
        {"input_scale": float("nan")},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_metadata_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    content = json.loads(SPEC.metadata()[weights.KEY]) | changes
    weights.write(PATH, start().net.state_dict(), {weights.KEY: json.dumps(content)})
    assert "a.safetensors" in refused(restore.restore, PATH)


def safetensors(header: dict[str, Any] | str, data: bytes = b"") -> None:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    PATH.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "BF16", "I32", "BOOL", "C64", "U8", "X"])
def test_arrays_of_other_numbers_are_refused(dtype: str) -> None:
    sizes = {"I32": 4, "C64": 8, "BF16": 2}
    header, data = {}, b""
    for name, shape in SPEC.shapes().items():
        size = int(np.prod(shape)) * sizes.get(dtype, 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(size)
    safetensors({"__metadata__": SPEC.metadata(), **header}, data)
    refused(restore.restore, PATH)
    refused(lambda path: weights.load_for(path, SPEC), PATH)


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, "a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}',
        json.dumps({"__metadata__": {"x": "y" * 2 * foreign.MAX_METADATA}}),
        '{"__metadata__": ' + "[" * 5000,
        "[]",
        json.dumps({"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 0]}}),
        json.dumps({"a": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}),
    ],
    ids=lambda header: header[:20],
)
def test_headers_that_make_no_sense_are_refused(header: str) -> None:
    safetensors(header)
    assert "a.safetensors" in refused(weights.read, PATH)


@pytest.mark.parametrize(
    "changes",
    [
        *({"learning_rate": bad} for bad in (float("nan"), float("inf"), -1, "0.1", None, [0.1], True, 10**400)),
        *({"epoch": bad} for bad in (-1, 1.5, "3", [3], None, True, 10**30)),
        *({"plateau": bad} for bad in (None, [1], [1, 2, 3], ["x", 0], [0.5, -1], [float("nan"), 0], "ab", {})),
        *({"best": bad} for bad in (None, [1], [0.5, "x"], [float("inf"), 0])),
        *({"data": bad} for bad in (3, ["x"])),
    ],
    ids=str,
)
def test_a_checkpoint_with_other_values_is_refused(changes: dict[str, Any]) -> None:
    checkpoint.save(PATH, 3, start(), "digest")
    arrays, metadata = weights.read(PATH)
    weights.write(PATH, arrays, {"state": json.dumps(json.loads(metadata["state"]) | changes)})
    assert "--resume: a.safetensors" in refused(lambda path: checkpoint.read(path, SPEC).restore(start()), PATH)


@pytest.mark.parametrize("name", ["net.hidden.0.weight", "optimizer.first.0", "optimizer.steps", "best.output.bias"])
@pytest.mark.parametrize("change", ["missing", "shape", "nan", "bool", "negative"])
def test_a_checkpoint_with_other_arrays_is_refused(name: str, change: str) -> None:
    checkpoint.save(PATH, 3, start(), "digest")
    arrays, metadata = weights.read(PATH)
    array = arrays.pop(name)
    if change == "negative" and name != "optimizer.steps":
        return
    others = {
        "shape": np.stack([array, array]),
        "nan": array * np.float32("nan"),
        "bool": array > 0,
        "negative": -array - 1,
    }
    if change != "missing":
        arrays[name] = others[change]
    weights.write(PATH, arrays, metadata)
    assert "--resume: a.safetensors" in refused(lambda path: checkpoint.read(path, SPEC).restore(start()), PATH)


def test_a_recipe_of_a_huge_network_is_refused_before_the_network_is_built(easy: str) -> None:
    argv = ["--data.path", easy, "--model.hidden", "[3]", "--trainer.max_epochs", "1", "--out", "out"]
    assert run_command("train", train.main, argv) == 0
    recipe = Path("out/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("hidden: [3]", "hidden: [20000, 20000]"))
    Path("out/metrics.json").unlink()
    argv = ["--config", str(recipe), "--out", "out", "--resume"]
    assert "out/checkpoint.safetensors" in refused(lambda _: train.main(argv), recipe)


# History and manifest.


@pytest.mark.parametrize(
    "rows",
    [
        "0,0.5,0.5,,,0.1,1\n",
        "1,,0.5,,,0.1,1\n",
        "1,nan,0.5,,,0.1,1\n",
        "1,0.5,1.5,,,0.1,1\n",
        "1,0.5,0.5,,,-0.1,1\n",
        "1,0.5,0.5,,,0.1\n",
        "1,0.5,0.5,,,0.1,1,2\n",
        "1,0.5,0.5,,,0.1,1\n3,0.5,0.5,,,0.1,1\n",
        "1,0.5,0.5,,,0.1,1\n1,0.5,0.5,,,0.1,1\n",
        f"{'1' * 5000},0.5,0.5,,,0.1,1\n",
        "1,1e999,0.5,,,0.1,1\n",
        "\n",
        "\n" * (foreign.MAX_HISTORY - 200),
        "," * (foreign.MAX_HISTORY - 200),
        "x" * foreign.MAX_HISTORY,
    ],
    ids=lambda rows: rows[:20],
)
def test_a_history_that_makes_no_sense_is_refused(rows: str) -> None:
    Path("history.csv").write_text(",".join(history.COLUMNS) + "\n" + rows)
    assert "is not a history.csv" in refused(history.read, Path("history.csv"))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**5,
        f'{{"files": [{"[]," * (foreign.MAX_JSON // 3 - 20)}[]]}}',
        "{}",
        "[]",
        '{"files": 3}',
        '{"files": [1]}',
        '{"files": [], "files": []}',
    ],
    ids=lambda text: text[:20],
)
def test_a_manifest_that_makes_no_sense_is_refused(text: str) -> None:
    Path(manifest.NAME).write_text(text)
    assert manifest.NAME in refused(manifest.owned, Path())


# Messages.


def test_a_message_is_one_printable_line_of_limited_length() -> None:
    text = str(UserError("a\x1b[2J\n\r\x07\u202e\ud800" + "b" * 10**6 + "; expected c"))
    assert text.isprintable()
    assert text.startswith("a\\x1b[2J\\n\\r\\x07\\u202e\\ud800bb")
    assert text.endswith("; expected c")
    assert len(text) < 2 * HALF_MESSAGE + 10


def test_errors_of_this_package_and_interruptions_pass() -> None:
    for error in (UserError("mine"), ModuleNotFoundError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised, foreign.parsing("file", "x"):
            raise error
        assert raised.value is error
    for other in (MemoryError(), RecursionError(), OSError(5, "Input/output error"), TypeError("x\ny"), SystemError()):
        with pytest.raises(UserError, match=r"^file: .*; expected x$"), foreign.parsing("file", "x"):
            raise other
