"""Every mistake is refused in one sentence, and changes no earlier run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from keras_helpers import Command, clouds, complaints, contents, flags, once, slow_except, weights_of

from keras_model import cli
from minigrad.runs import weights

pytestmark = slow_except("tensorflow", "torch")

# The arguments, and the words of the message, which also names the first argument.
BAD: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "missing path": (("--data.path", "nowhere.npz"), ("nowhere.npz", "does not exist", "expected")),
    "unknown key": (("--model.foo", "1"), ("unknown", "expected")),
    "near key": (("--model.laerning_rate", "1"), ("unknown", "model.learning_rate")),
    "unknown recipe": (("--config", "nope"), ("nope", "simple", "advanced")),
    "unknown optimizer": (("--model.optimizer", "lion"), ("lion", "sgd", "adamw")),
    "hidden 0": (("--model.hidden", "[0]"), ("0", "expected")),
    "hidden negative": (("--model.hidden", "[-3]"), ("-3", "expected")),
    "cnn of vectors": (("--model.architecture", "cnn"), ("cnn", "shape (6,)", "expected images")),
    "shift of vectors": (("--data.augment", "shift"), ("shift", "shape (6,)", "expected images")),
    "no channels": (("--model.channels", "[]", "--model.architecture", "cnn"), ("[]", "expected one number")),
    "even window": (("--model.kernel_size", "4"), ("4", "expected an odd number")),
    "a batch of one": (("--data.batch_size", "43", "--model.batch_norm", "true"), ("43", "a batch of one of 130")),
    "rate": (("--model.learning_rate", "fast"), ("fast", "expected a number")),
    "batch 0": (("--data.batch_size", "0"), ("0", "expected")),
    "batch too large": (("--data.batch_size", "131"), ("131", "1 to 130")),
    "validation": (("--data.validation_size", "160"), ("160", "0 to 159")),
    "epochs": (("--trainer.max_epochs", "-1"), ("-1", "expected")),
    "missing weights": (("--model.weights", "nowhere.safetensors"), ("nowhere.safetensors", "does not exist")),
    "other weights": (
        ("--model.weights", "out/weights.safetensors", "--model.hidden", "[3]"),
        ("out/weights.safetensors", "shape (10, 6)", "expected (3, 6)"),
    ),
    "truncated weights": (("--model.weights", "cut.safetensors"), ("cut.safetensors", "not a readable")),
    "weights with NaN": (("--model.weights", "nan.safetensors"), ("nan.safetensors", "NaN", "finite")),
    "NaN in data": (("--data.path", "nan.npz"), ("nan.npz: x_train", "image 3", "NaN")),
    "label out of range": (("--data.path", "label.npz"), ("label.npz: y_test", "image 5 is 7", "0 to 2")),
    "negative label": (("--data.path", "negative.npz"), ("negative.npz: y_train", "image 2 is -1", "expected")),
}


@pytest.fixture(scope="module")
def trained(easy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in `out`, beside invalid files."""
    here = tmp_path_factory.mktemp("refusals")
    cli.main(["fit", *flags(easy, here / "out", "--trainer.max_epochs", "1")])
    whole = (here / "out" / "weights.safetensors").read_bytes()
    (here / "cut.safetensors").write_bytes(whole[:-5])
    arrays = weights_of(here / "out")
    arrays["output.bias"][0] = np.nan
    weights.write(here / "nan.safetensors", arrays, {})
    for name, key, row, value in (
        ("nan", "x_train", 3, np.nan),
        ("label", "y_test", 5, 7),
        ("negative", "y_train", 2, -1),
    ):
        changed = clouds(0, 200, 0.5)
        changed[key][row] = value
        np.savez(here / f"{name}.npz", **changed)
    return here


@once
@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_is_one_sentence_and_changes_no_earlier_run(
    mistake: str, easy: str, trained: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with --overwrite, which may remove the earlier run only after all checks."""
    monkeypatch.chdir(trained)
    before = contents("out")
    words, named = BAD[mistake]
    text = refused("fit", *flags(easy, "out"), "--overwrite", *words)
    if words[0] != "--data.path" or mistake == "missing path":  # otherwise the message names the file
        assert words[0].removeprefix("--") in text
    for part in named:
        assert part in text
    assert contents("out") == before


@once
@pytest.mark.parametrize("subcommand", ["test", "predict"])
@pytest.mark.parametrize("mistake", ["missing path", "missing weights", "truncated weights", "hidden 0"])
def test_the_other_commands_refuse_it_too(
    subcommand: str,
    mistake: str,
    easy: str,
    trained: Path,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one sentence, and without creating a folder."""
    monkeypatch.chdir(trained)
    words, named = BAD[mistake]
    text = refused(
        subcommand, "--data.path", easy, "--out", "new", "--model.weights", "out/weights.safetensors", *words
    )
    for part in named:
        assert part in text
    assert not Path("new").exists()


@once
def test_a_folder_that_holds_a_run_is_refused(
    easy: str, trained: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the options that help."""
    monkeypatch.chdir(trained)
    before = contents("out")
    text = refused("fit", *flags(easy, "out"))
    for part in ("--out out", "already holds a run", "--resume", "--overwrite"):
        assert part in text
    assert contents("out") == before


@once
def test_resume_and_overwrite_together_are_refused(
    easy: str, trained: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They contradict each other."""
    monkeypatch.chdir(trained)
    assert "expected one of them" in refused("fit", *flags(easy, "out"), "--resume", "--overwrite")


@once
def test_a_run_folder_under_a_file_is_refused(easy: str, refused: Callable[..., str]) -> None:
    """Before data are read."""
    Path("file").touch()
    assert "--out file/sub: can't be written" in refused("fit", *flags(easy, "file/sub"))
    assert "--out file: is a file" in refused("fit", *flags(easy, "file"))


@once
def test_a_mistake_creates_no_folder(refused: Callable[..., str]) -> None:
    """Not even an empty one."""
    refused("fit", *flags("nowhere.npz", "new"))
    assert not Path("new").exists()


@pytest.mark.parametrize("validation", [pytest.param("0", marks=once), "30"])
def test_divergence_is_one_sentence(validation: str, easy: str, refused: Callable[..., str]) -> None:
    """The message names the learning rate."""
    text = refused("fit", *flags(easy, "out", "--model.learning_rate", "1e30", "--data.validation_size", validation))
    assert "model.learning_rate: 1e+30" in text
    assert "smaller" in text


@pytest.mark.parametrize("validation", [pytest.param("0", marks=once), "30"])
def test_divergence_in_the_last_step_is_noticed(validation: str, easy: str, command: Command) -> None:
    """The loss of the last step was computed before the step ruined the weights."""
    whole = str(160 - int(validation))
    words = ("--data.validation_size", validation, "--data.batch_size", whole, "--trainer.max_epochs", "1")
    result = command("fit", *flags(easy, "out", *words, "--model.learning_rate", "1e38"))
    assert (result.status, len(complaints(result.err))) == (2, 1)
    assert "model.learning_rate" in result.err
    assert not Path("out/metrics.json").exists()
