"""`fit` and `test` draw the confusion matrix and the misclassified images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from lightning_helpers import call, flags, in_numpy, measured, network

from minigrad.runs import pictures

PICTURES = ("confusion.png", "mistakes.png")


@pytest.fixture(autouse=True)
def _drawings() -> None:
    """Here the pictures are really drawn."""


@pytest.fixture(scope="module")
def wrong(few: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that classifies only some test images correctly."""
    out = tmp_path_factory.mktemp("wrong") / "out"
    assert call(*flags(few, out)) == 0
    assert 0 < measured(out)["test_accuracy"] < 1, "otherwise these tests check nothing"
    return out


def drawn(out: str | Path) -> dict[str, bytes]:
    return {name: Path(out, name).read_bytes() for name in PICTURES if Path(out, name).exists()}


def test_a_run_leaves_both(wrong: Path) -> None:
    # The same pixels as the pictures of minigrad with the same weights.
    net, data = in_numpy(wrong)
    Path("numpy").mkdir()
    pictures.draw(Path("numpy"), data.test.images, data.test.labels, net.predict(data.test.images))
    assert drawn(wrong).keys() == set(PICTURES)
    assert drawn(wrong) == drawn("numpy")


@pytest.mark.parametrize("source", ["checkpoint", "weights"])
def test_the_test_command_draws_both(source: str, wrong: Path, few: str) -> None:
    options = ("--ckpt_path", str(wrong / "last.ckpt"))
    if source == "weights":
        options = ("--model.weights", str(wrong / "weights.safetensors"))
    assert call("test", *network(few), *options, "--trainer.default_root_dir", "out") == 0
    assert drawn("out") == drawn(wrong)


def test_vectors_are_not_drawn(run: Path) -> None:
    assert drawn(run).keys() == {"confusion.png"}


def test_an_old_picture_of_mistakes_is_removed(wrong: Path, few: str) -> None:
    with np.load(few) as data:
        arrays = dict(data)
    net, data = in_numpy(wrong)
    arrays["y_test"] = net.predict(data.test.images).argmax(axis=1)
    np.savez("right.npz", **arrays)
    shutil.copytree(wrong, "out")
    words = ("--ckpt_path", "last", "--trainer.default_root_dir", "out", "--overwrite")
    assert call("test", *network("right.npz"), *words) == 0
    assert measured("out")["test_accuracy"] == 1
    assert drawn("out").keys() == {"confusion.png"}
    assert drawn("out")["confusion.png"] != drawn(wrong)["confusion.png"]


def test_a_part_of_the_test_images_is_not_drawn(wrong: Path, few: str) -> None:
    words = ("--ckpt_path", str(wrong / "last.ckpt"), "--trainer.default_root_dir", "out")
    assert call("test", *network(few), *words, "--trainer.limit_test_batches", "2") == 0
    assert not drawn("out")
    assert not Path("out/metrics.json").exists()
