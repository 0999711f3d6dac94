"""Each user error is one sentence with the key or file, the value and what was expected; no file is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from lightning_helpers import call, clouds, contents, flags, kept, sentence

from minigrad.recipes import Recipe
from minigrad.runs import weights

WRONG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "data missing": (("--data.path", "nowhere.npz"), ("data.path", "nowhere.npz", "expected mnist, digits, an .npz")),
    "unknown key": (("--model.colour", "red"), ("model.colour", "expected")),
    "unknown option": (("--fast",), ("--fast", "expected")),
    "unknown recipe": (("--config", "medium"), ("--config medium", "no such file", "advanced, cnn, simple")),
    "unknown optimizer": (
        ("--model.optimizer", "sdg"),
        ("model.optimizer", "sdg", "expected sgd or rmsprop or adam or adamw"),
    ),
    "unknown schedule": (("--model.schedule", "steep"), ("model.schedule", "steep", "constant or cosine or one_cycle")),
    "hidden 0": (("--model.hidden", "[0]"), ("model.hidden: 0", "whole number of 1 or more")),
    "hidden -3": (("--model.hidden", "[-3]"), ("model.hidden: -3", "whole number of 1 or more")),
    "hidden no list": (("--model.hidden", "3"), ("model.hidden: 3", "expected a list such as")),
    "cnn of vectors": (("--model.architecture", "cnn"), ("model.architecture: cnn", "shape (6,)", "expected images")),
    "shift of vectors": (("--data.augment", "shift"), ("data.augment: shift", "shape (6,)", "expected images")),
    "unknown augment": (("--data.augment", "flip"), ("data.augment", "flip", "none or shift")),
    "no channels": (
        ("--model.architecture", "cnn", "--model.channels", "[]"),
        ("model.channels: []", "expected one number or more"),
    ),
    "even window": (("--model.kernel_size", "4"), ("model.kernel_size: 4", "expected an odd number")),
    "a batch of one": (
        ("--data.batch_size", "43", "--model.batch_norm", "true"),
        ("data.batch_size: 43", "a batch of one of 130", "expected another size"),
    ),
    "schedule without an end": (
        ("--model.schedule", "one_cycle", "--trainer.max_epochs", "-1"),
        ("trainer.max_epochs: -1", "one_cycle", "expected a limit"),
    ),
    "rate no number": (("--model.learning_rate", "fast"), ("model.learning_rate: fast", "expected a number")),
    "rate negative": (("--model.learning_rate", "-1"), ("model.learning_rate: -1", "expected a number from 0")),
    "seed true": (("--seed_everything", "true"), ("seed_everything: true", "expected a whole number")),
    "seed no number": (("--seed_everything", "x"), ("seed_everything: x", "expected a whole number")),
    "unknown callback": (("--trainer.callbacks+=EarlyStoping",), ("EarlyStoping", "the name of a callback's class")),
    "dropout 1": (("--model.dropout", "1"), ("model.dropout: 1", "from 0 to below 1")),
    "workers -1": (("--data.num_workers", "-1"), ("data.num_workers: -1", "0 to 256")),
    "workers 257": (("--data.num_workers", "257"), ("data.num_workers: 257", "0 to 256")),
    "batch 0": (("--data.batch_size", "0"), ("data.batch_size: 0", "whole number of 1 or more")),
    "batch too large": (("--data.batch_size", "500"), ("data.batch_size: 500", "1 to 130")),
    "nothing left": (("--data.validation_size", "160"), ("data.validation_size: 160", "0 to 159")),
    "validation negative": (("--data.validation_size", "-1"), ("data.validation_size: -1", "0 or more")),
    "epochs": (("--trainer.max_epochs", "-3"), ("trainer.max_epochs: -3", "0 or more")),
    "epochs no number": (("--trainer.max_epochs", "x"), ("trainer.max_epochs: x", "a whole number or null")),
    "patience 0": (("--early_stopping.patience", "0"), ("early_stopping.patience: 0", "1 or more")),
    "patience without validation": (
        ("--early_stopping.patience", "2", "--data.validation_size", "0"),
        ("data.validation_size: 0", "expected 1 or more"),
    ),
    "momentum of adam": (
        ("--model.optimizer", "adam", "--model.momentum", "0.9"),
        ("model.momentum: 0.9", "adam", "expected 0"),
    ),
    "seed negative": (("--seed_everything", "-5"), ("seed_everything", "-5", "expected")),
    "checkpoint missing": (("--ckpt_path", "no.ckpt"), ("--ckpt_path no.ckpt", "no such file", "expected")),
    "weights missing": (("--model.weights", "no.safetensors"), ("model.weights", "no.safetensors", "expected")),
    "unknown accelerator": (("--trainer.accelerator", "abacus"), ("accelerator", "abacus", "cpu")),
    "unknown optimizer class": (("--optimizer", "Sdg"), ("optimizer", "Sdg", "xpected")),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_user_error_is_one_sentence_and_leaves_no_files(case: str, easy: str) -> None:
    words, expected = WRONG[case]
    message = sentence(*flags(easy, "out", *words))
    for word in expected:
        assert word in message, message
    assert not Path("out").exists()
    assert not Path("runs").exists()


def test_a_folder_under_a_plain_file_is_refused(easy: str) -> None:
    Path("file").touch()
    for out in ("file", "file/sub"):
        message = sentence(*flags(easy, out))
        assert f"--out {out}" in message
        assert "expected a folder" in message


def test_a_folder_that_holds_a_run_is_refused(run: Path, easy: str) -> None:
    message = sentence(*flags(easy, run))
    for word in (f"--out {run}", "already holds a run", "--ckpt_path last", "--overwrite"):
        assert word in message


MISTAKES = ["data missing", "batch too large", "nothing left", "weights missing", "hidden 0", "unknown accelerator"]


@pytest.mark.parametrize("case", MISTAKES)
def test_a_user_error_with_overwrite_keeps_the_old_run(case: str, run: Path, easy: str) -> None:
    shutil.copytree(run, "out")
    before = contents("out")
    sentence(*flags(easy, "out", "--overwrite", *WRONG[case][0]))
    assert contents("out") == before


def damaged(change: str) -> dict[str, np.ndarray]:
    arrays = clouds(0, 100, 0.5)
    if change == "nan":
        arrays["x_train"][4, 2] = np.nan
    elif change == "label":
        arrays["y_test"][3] = 7
    elif change == "missing":
        del arrays["y_train"]
    elif change == "counts":
        arrays["y_train"] = arrays["y_train"][:-1]
    return arrays


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("nan", ("x_train", "image 4", "NaN", "finite")),
        ("label", ("y_test", "label of image 3 is 7", "expected 0 to 2")),
        ("missing", ("y_train", "expected")),
        ("counts", ("y_train", "79 labels for 80 images")),
    ],
)
def test_bad_data_are_refused(change: str, words: tuple[str, ...]) -> None:
    np.savez("bad.npz", **damaged(change))
    message = sentence(*flags("bad.npz", "out"))
    for word in ("bad.npz", *words):
        assert word in message, message
    assert not Path("out").exists()


def test_bad_weights_are_refused(run: Path, easy: str) -> None:
    good, arrays = (run / "weights.safetensors").read_bytes(), kept(run)
    Path("cut.safetensors").write_bytes(good[: len(good) // 2])
    weights.write(Path("nan.safetensors"), arrays | {"output.bias": arrays["output.bias"] * np.nan}, {})
    weights.write(Path("scaled.safetensors"), arrays, weights.NetworkSpec(Recipe(), (6,), 3, 1 / 255).metadata())
    shutil.copy(run / "weights.safetensors", "good.safetensors")
    for file, hidden, words in (
        ("cut.safetensors", "[7]", ("not a readable safetensors file",)),
        ("good.safetensors", "[9]", ("hidden.0", "shape", "expected")),
        ("good.safetensors", "[7, 7]", ("hidden.1", "the file lacks it")),
        ("nan.safetensors", "[7]", ("output.bias", "NaN", "finite")),
        ("scaled.safetensors", "[7]", ("scaled by 1/255",)),
    ):
        message = sentence(*flags(easy, "out", "--model.weights", file, "--model.hidden", hidden))
        for word in ("model.weights", file, *words):
            assert word in message, message
    assert not Path("out").exists()


def test_minus_1_epochs_is_lightnings_own_for_no_limit(easy: str) -> None:
    assert call(*flags(easy, "out", "--trainer.max_epochs", "-1", "--trainer.max_steps", "4")) == 0


# Divergence.


def test_a_run_that_diverges_is_one_sentence(easy: str, recwarn: pytest.WarningsRecorder) -> None:
    message = sentence(*flags(easy, "out", "--model.learning_rate", "1e30"))
    for word in ("model.learning_rate: 1e+30", "epoch 1", "expected a smaller rate"):
        assert word in message
    assert [str(w.message) for w in recwarn if "nan" in str(w.message)] == [], "no warning in addition"


def test_a_run_that_diverges_within_its_only_epoch_is_refused(easy: str) -> None:
    # The first losses are finite; a mean over those alone would be finite too.
    words = ("--model.learning_rate", "1e19", "--trainer.max_epochs", "1", "--data.validation_size", "0")
    assert "the loss became nan in epoch 1; expected a smaller rate" in sentence(*flags(easy, "out", *words))
