"""A full disk, a recipe that names other files, and empty paths: one sentence, and nothing is lost or shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lightning_helpers import call, complaints, flags
from shared import files_of, largest_file

from lightning_module.checkpoints import BEST
from lightning_module.run_folder import RunFolder
from minigrad.runs import folder

SECRET = "root:x:0:0:SECRET"


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence on standard error."""
    (line,) = [line for line in complaints(capsys.readouterr().err) if ": error: " in line]
    return line


@pytest.mark.parametrize("name", [folder.WEIGHTS, BEST])
def test_a_full_disk_keeps_the_run_which_resumes_exactly(
    name: str, easy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*flags(easy, "all")) == 0  # a name as long as "run", since a checkpoint contains the path of its folder
    capsys.readouterr()
    with largest_file((Path("all") / name).stat().st_size - 1):
        assert call(*flags(easy, "run")) == 2
    text = refusal(capsys)
    assert ": can't be written (File too large); expected a folder that can be written" in text
    assert files_of(Path("run")) < files_of(Path("all"))  # no drafts
    resume = ["--ckpt_path", "last"] if folder.holds_run(Path("run")) else []
    assert ("--out run --ckpt_path last continues" in text) == bool(resume)
    assert call(*flags(easy, "run", *resume)) == 0
    assert files_of(Path("run")) == files_of(Path("all"))
    for same in (folder.WEIGHTS, folder.METRICS):
        assert (Path("run") / same).read_bytes() == (Path("all") / same).read_bytes()


def test_a_full_disk_is_one_sentence_for_exports_too(run: Path, easy: str, capsys: pytest.CaptureFixture[str]) -> None:
    weights = str(run / folder.WEIGHTS)
    with largest_file(1000):
        words = ("--trainer.accelerator", "cpu", "--out", "out")
        assert call("export", "--model.weights", weights, "--data.path", easy, *words) == 2
    assert "out/weights.onnx: can't be written (File too large)" in refusal(capsys)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "recipe",
    [
        *("trainer: {callbacks: secret}", "trainer: {logger: secret}", "config: secret", "trainer: secret"),
        *(
            "optimizer: secret",
            "lr_scheduler: secret",
            "fit: secret",
            "fit: {config: secret}",
            "fit: {trainer: secret}",
        ),
    ],
)
def test_a_recipe_does_not_read_other_files(recipe: str, easy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("secret").write_text(f"{SECRET}\nx\n")
    Path("mine.yaml").write_text(recipe)
    for words in (("fit", "--config", "mine.yaml"), ("--config", "mine.yaml", "fit")):
        assert call(*words, *flags(easy, "run")[1:]) == 2
        assert SECRET not in refusal(capsys)
    assert not Path("run").exists()


@pytest.mark.parametrize("name", ["PL_CONFIG", "PL_FIT__CONFIG"])
def test_an_environment_variable_names_a_recipe(
    name: str, easy: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("secret").write_text(f"{SECRET}\nx\n")
    monkeypatch.setenv(name, "secret")
    assert call(*flags(easy, "run")) == 2
    message = refusal(capsys)
    assert "does not contain keys and values" in message
    assert SECRET not in message
    monkeypatch.setenv("PL_FIT__CONFIG", "advanced")
    monkeypatch.delenv("PL_CONFIG", raising=False)
    assert call(*flags(easy, "run")) == 0
    assert "activation: relu" in Path("run/recipe.yaml").read_text()


@pytest.mark.parametrize("flag", ["--out", "--trainer.default_root_dir"])
def test_an_empty_folder_is_refused(flag: str, easy: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = flags(easy, "")
    index = words.index("--trainer.default_root_dir")
    assert call(*words[:index], flag, "") == 2
    assert f"{flag}: ''; expected a folder" in refusal(capsys)


def test_a_folder_that_is_removed_during_training_is_named(
    easy: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's loggers and checkpoints would create the folder again, without the files of the run."""

    def prepare(*_: object) -> None:
        shutil.rmtree("run")

    monkeypatch.setattr(RunFolder, "on_validation_end", prepare)
    assert call(*flags(easy, "run", "--trainer.num_sanity_val_steps", "0")) == 2
    assert "run: has lost its recipe.yaml during the training" in refusal(capsys)
