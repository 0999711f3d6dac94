"""Damaged files of Keras are refused in one sentence, or hold what they must hold."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import keras
import pytest
from fuzzing import ANY, archive, fuzz, json_values, require, safetensors_header
from keras_helpers import flags, once

from keras_model import cli, resume, training
from keras_model.options import CHECKPOINT, MODEL, Options
from keras_model.parts import Parts
from keras_model.restore import restore
from minigrad import datasets, recipes
from minigrad.runs import UserError, history, weights

pytestmark = [once, pytest.mark.usefixtures("_undrawn")]
ADAM = ("--model.hidden", "[3]", "--model.optimizer", "adam", "--early_stopping.patience", "2")


@pytest.fixture(scope="module")
def run_folder(easy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fuzz") / "out"
    cli.main(["fit", *flags(easy, out, *ADAM)])
    return out


def config(content: bytes, dice: random.Random) -> bytes:
    """Change a value of config.json, but leave binary members as they are."""
    return json_values(content, dice) if content.startswith(b"{") else dice.choice(ANY)(content, dice)


class Checkpoint:
    """Reads checkpoints as a resumed run does."""

    def __init__(self, run: Path) -> None:
        recipe, _ = recipes.read_trained(run / "recipe.yaml")
        data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
        self.net = training._compiled(recipe, data, Options(), Parts(), 4)
        self.digest = data.digest
        self.others = training.build_callbacks(recipe, run, resumed=True)

    def read(self, path: Path) -> None:
        settings = resume.shared_settings(Options(), Parts())
        resume.ResumableState(path, self.others, settings, self.digest).restore(self.net, "data")


def run_fuzz(run: Path, archives: int, checkpoints: int) -> None:
    zipped = (archive((config,)), archive((config,)), *ANY)
    header = (safetensors_header, safetensors_header, safetensors_header, *ANY)
    reports = [
        fuzz(
            "Keras archive",
            lambda path: restore(str(path)),
            Path("a.keras"),
            [((run / MODEL).read_bytes(), zipped)],
            archives,
        ),
        fuzz(
            "Keras checkpoint",
            Checkpoint(run).read,
            Path("a.safetensors"),
            [((run / CHECKPOINT).read_bytes(), header)],
            checkpoints,
        ),
    ]
    require(reports, archives + checkpoints)


def test_a_damaged_file_is_read_or_refused(run_folder: Path) -> None:
    run_fuzz(run_folder, 20, 60)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_thousand_damaged_files_are_read_or_refused(run_folder: Path) -> None:
    run_fuzz(run_folder, 1_500, 2_500)


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": -1},
        {"epoch": "3"},
        {"epoch": [3]},
        {"made_with": None},
        {"data": 3},
        {"EarlyStopping": [None]},
        {"EarlyStopping": [[1], 0, 0]},
        {"EarlyStopping": "abc"},
        {"EarlyStopping": [0.5, 1e400, 0]},
    ],
    ids=str,
)
def test_a_checkpoint_with_other_values_is_refused(changes: dict[str, Any], run_folder: Path) -> None:
    arrays, metadata = weights.read(run_folder / CHECKPOINT)
    weights.write(Path("bad.safetensors"), arrays, {"state": json.dumps(json.loads(metadata["state"]) | changes)})
    with pytest.raises(UserError, match=r"--resume: bad.safetensors is damaged|--resume: bad.safetensors: is damaged"):
        Checkpoint(run_folder).read(Path("bad.safetensors"))


def test_arrays_that_do_not_fit_leave_the_network_as_it_is(run_folder: Path) -> None:
    arrays, metadata = weights.read(run_folder / CHECKPOINT)
    checkpoint = Checkpoint(run_folder)
    before = [keras.ops.convert_to_numpy(v).copy() for v in checkpoint.net.variables]
    for name in ("best.0", "model.1", "optimizer.0"):
        weights.write(Path("bad.safetensors"), {**arrays, name: arrays[name].reshape(1, -1)}, metadata)
        with pytest.raises(UserError, match="bad"):
            checkpoint.read(Path("bad.safetensors"))
    for old, variable in zip(before, checkpoint.net.variables, strict=True):
        assert (keras.ops.convert_to_numpy(variable) == old).all()


def test_a_checkpoint_of_a_smaller_network_is_refused_before_the_network_is_built(
    run_folder: Path, easy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(run_folder, "out")
    Path("out/metrics.json").unlink()
    recipe = Path("out/recipe.yaml")
    recipe.write_text(recipe.read_text().replace("hidden: [3]", "hidden: [20000, 20000]"))
    monkeypatch.setattr(training, "_compiled", lambda *_: pytest.fail("the network is built"))
    with pytest.raises(UserError, match="the network has 4"):
        cli.main(["fit", "--config", str(recipe), "--out", "out", "--resume"])
    assert history.read(Path("out/history.csv"))
