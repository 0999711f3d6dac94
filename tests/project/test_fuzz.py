"""Damaged files of every kind: each reader returns a value or refuses the file in one sentence, quickly and within limits.

The readers that need torch or Keras are in tests/lightning_module and tests/keras_model. Together, the slow tests try
100,000 files; run them with -s to see the counts per reader.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import (
    ANY,
    TEXT,
    archive,
    flip,
    fuzz,
    integers,
    json_values,
    numbers,
    require,
    safetensors_header,
    truncate,
)
from PIL import Image

from compare.jobs import job as jobs
from compare.results import history as comparisons
from compare.results.schema import Run
from minigrad import checkpoint, datasets, recipes, restore
from minigrad.datasets import idx
from minigrad.recipes import Data, EarlyStopping, Model, Recipe, Trainer
from minigrad.runs import Epoch, history, manifest, weights
from minigrad.runs.weights import NetworkSpec
from minigrad.training import TrainingState

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(
    model=Model(architecture="cnn", channels=[2], kernel_size=3, hidden=[3], batch_norm=True, optimizer="adam"),
    data=Data(batch_size=10),
    trainer=Trainer(3),
    early_stopping=EarlyStopping(2),
)
SPEC = NetworkSpec(RECIPE, (4, 4), 3, 1 / 255)
# The number of inputs per reader in the slow test. The ten thousand that are missing are those of the other packages.
COUNTS = {
    "data set .npz": 12_000,
    "images .npz, .npy": 8_000,
    "IDX": 8_000,
    "IDX, gzipped": 6_000,
    "CSV": 6_000,
    "PNG, JPEG": 6_000,
    "weights": 8_000,
    "weights for a recipe": 8_000,
    "minigrad checkpoint": 8_000,
    "history.csv": 8_000,
    "recipe": 2_000,
    "recipe.yaml of a run": 2_000,
    "flags": 2_000,
    ".files.json": 4_000,
    "results.json": 1_000,
    "answers of jobs": 1_000,
}


def saved(save: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arguments, **options)
    return file.getvalue()


def written(write: Callable[[Path], Any]) -> bytes:
    write(Path("good"))
    return Path("good").read_bytes()


def arrays() -> dict[str, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4)).astype(np.uint8)
    labels = np.arange(20) % 3
    return {"x_train": pixels[:15], "y_train": labels[:15], "x_test": pixels[15:], "y_test": labels[15:]}


def state() -> TrainingState:
    state = TrainingState.start(SPEC, 10)
    assert state.best is not None
    state.best.update(0.5, state.net)
    return state


def small_results() -> dict[str, Any]:
    content = json.loads((ROOT / "benchmarks/results/cnn.json").read_text())
    content["contenders"] = [row for row in content["contenders"] if "runs" in row][:2]
    for row in content["contenders"]:
        row["runs"] = row["runs"][:2]
    for key in ("claims", "digits", "accuracy_differences", "open", "sweep"):
        content.pop(key, None)
    content["rounds"], content["ratios"] = content["rounds"][:3], content["ratios"][:2]
    content["parity"]["contenders"] = {}
    return content  # type: ignore[no-any-return]


JOB = jobs.Job("closed", "torch", 1, RECIPE, {"target": None})


def answer(path: Path) -> object:
    folder = Path("answers", JOB.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / jobs.ANSWER).write_bytes(path.read_bytes())
    (folder / jobs.JOB).write_text(json.dumps({"options": dict(JOB.options)}))
    return jobs.read_answer(Path("answers"), JOB)


def one_run() -> bytes:
    run: Run = small_results()["contenders"][0]["runs"][0]
    return json.dumps(run).encode()


def compared(path: Path) -> None:
    """Print the comparison of two results; no escape sequence of the file may reach the terminal."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        comparisons.main(["good.json", str(path)])
    assert "\x1b" not in printed.getvalue()
    assert "\x07" not in printed.getvalue()


def flag(path: Path) -> None:
    text = path.read_bytes().decode(errors="replace").replace("\0", "")
    name = ("model.hidden", "seed_everything", "model.learning_rate", "model", "data", "model.optimizer")[len(text) % 6]
    recipes.to_recipe(recipes.recipe_parser("recipe", "").parse_args([f"--{name}={text}"]))


def in_folder(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a reader of a folder in which the file `name` is the damaged one."""

    def read_folder(path: Path) -> object:
        (Path("folder") / name).write_bytes(path.read_bytes())
        return read(Path("folder"))

    return read_folder


def prepare() -> None:
    Path("folder").mkdir()
    for table in ("mnist_train.csv", "mnist_test.csv"):
        Path("folder", table).write_text(TABLE)
    Path("good.json").write_text(json.dumps(small_results()))


TABLE = "label,a,b,c,d\n" + "".join(f"{i % 3},{i},{2 * i},0,255\n" for i in range(20))
YAML = recipes.dump(RECIPE).encode()
JSON_TEXT = (json_values, json_values, json_values, *TEXT)
SAFETENSORS = (safetensors_header, safetensors_header, safetensors_header, *ANY)


def readers() -> dict[str, tuple[str, Callable[[Path], object], list[tuple[bytes, Any]]]]:
    """Return the name of the damaged file, the reader, and the valid files with their mutations, by the reader's name."""
    data, header = arrays(), np.array([15, 4, 4], ">u4").tobytes()
    idx_file = bytes([0, 0, 8, 3]) + header + data["x_train"].tobytes()
    npy = (numbers, *ANY)
    zipped = (archive(npy), archive(npy), *ANY)
    network = TrainingState.start(SPEC, 10).net.state_dict()
    weights_file = written(lambda path: weights.write(path, network, SPEC.metadata()))
    picture = Image.fromarray(data["x_train"][0])
    epochs = [Epoch(i, 0.5, 0.5, None if i % 2 else 0.25, None if i % 2 else 0.5, 0.1, 1.0) for i in range(1, 9)]
    listed = {"files": ["recipe.yaml", "history.csv", "tensorboard/x"]}
    images = lambda path: datasets.load_images(path, (4, 4), 1 / 255)  # noqa: E731
    return {
        "data set .npz": (
            "a.npz",
            datasets.load,
            [(saved(np.savez, **data), zipped), (saved(np.savez_compressed, **data), zipped)],
        ),
        "images .npz, .npy": (
            "a.npz",
            images,
            [(saved(np.savez, x=data["x_test"]), zipped), (saved(np.save, data["x_test"]), npy)],
        ),
        "IDX": ("train-images-idx3-ubyte", idx.read, [(idx_file, (*ANY, integers))]),
        "IDX, gzipped": ("x-idx3-ubyte.gz", idx.read, [(gzip.compress(idx_file), ANY), (zipped_idx(), ANY)]),
        "CSV": ("a.csv", in_folder("mnist_train.csv", datasets.load), [(TABLE.encode(), TEXT)]),
        "PNG, JPEG": ("a.png", images, [(saved(picture.save, form), ANY) for form in ("png", "jpeg")]),
        "weights": ("a.safetensors", restore.restore, [(weights_file, SAFETENSORS)]),
        "weights for a recipe": (
            "a.safetensors",
            lambda path: weights.load_for(path, SPEC),
            [(weights_file, SAFETENSORS)],
        ),
        "minigrad checkpoint": (
            "a.safetensors",
            lambda path: checkpoint.read(path, SPEC).restore(state()),
            [(written(lambda path: checkpoint.save(path, 3, state(), "a" * 16)), SAFETENSORS)],
        ),
        "history.csv": (
            "history.csv",
            lambda path: history.read(path, 3),
            [(written(lambda path: history.write(path, epochs)), TEXT)],
        ),
        "recipe": ("a.yaml", lambda path: recipes.load(str(path)), [(YAML, TEXT)]),
        "recipe.yaml of a run": (
            "recipe.yaml",
            recipes.read_trained,
            [(recipes.dump(RECIPE, extra={"ema": 0.9, "x": [1]}).encode(), TEXT)],
        ),
        "flags": ("flag", flag, [(text, TEXT) for text in (b"[10, 20]", b"{a: [1, {b: 2}]}", b"0.1", b"&a [1, *a]")]),
        ".files.json": (
            "manifest",
            in_folder(manifest.NAME, manifest.owned),
            [(json.dumps(listed).encode(), JSON_TEXT)],
        ),
        "results.json": ("results.json", compared, [(json.dumps(small_results()).encode(), JSON_TEXT)]),
        "answers of jobs": ("answer.json", answer, [(one_run(), JSON_TEXT)]),
    }


def zipped_idx() -> bytes:
    """Return a gzip file that expands two hundred times."""
    return gzip.compress(bytes([0, 0, 8, 1]) + np.array([200_000], ">u4").tobytes() + bytes(200_000))


def run(counts: dict[str, int]) -> None:
    prepare()
    Path("damaged").mkdir()
    reports = []
    for name, (file, read, files) in readers().items():
        reports.append(fuzz(name, read, Path("damaged", file), copy.copy(files), counts[name]))
        print(reports[-1].row(), flush=True)
    require(reports, sum(counts.values()))


def test_a_damaged_file_is_read_or_refused() -> None:
    run(dict.fromkeys(COUNTS, 25))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ninety_thousand_damaged_files_are_read_or_refused() -> None:
    assert sum(COUNTS.values()) == 90_000
    run(COUNTS)


def test_the_mutations_are_the_same_in_every_run() -> None:
    import random

    for mutation in (flip, truncate, numbers):
        first, second = (mutation(b"abc 12", random.Random("x")) for _ in range(2))
        assert first == second


def test_the_documentation_states_the_counts() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    table = {name: int(count.replace(",", "")) for name, count in re.findall(r"^\| (.+) \| ([\d,]+) \|$", text, re.M)}
    assert table == COUNTS | {"Lightning checkpoint": 6_000, "Keras archive": 1_500, "Keras checkpoint": 2_500}
    assert sum(table.values()) == 100_000
