"""`fit`: the files of a run, and that their numbers are correct."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from lightning_helpers import call, contents, epochs, flags, in_numpy, kept, measured, network, same_weights

from minigrad import recipes
from minigrad.runs import history, metrics, weights

LEFT = {
    *("recipe.yaml", "config.yaml", "history.csv", "curves.png", "weights.safetensors", "metrics.json"),
    *("last.ckpt", "best.ckpt", "confusion.png", "reliability.png"),
}


def test_it_leaves_a_run_folder(run: Path) -> None:
    assert {p.name for p in run.iterdir()} >= LEFT
    assert not [p for p in run.iterdir() if p.name.startswith(".") and p.name != ".files.json"], "no drafts"
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_it_learns(run: Path) -> None:
    found = measured(run)
    assert found["test_accuracy"] > 0.8  # chance is a third
    assert found["test_accuracy"] == found["test_correct"] / found["test_images"]
    assert (found["test_images"], found["epochs"], found["parameters"]) == (40, 5, 6 * 7 + 7 + 7 * 3 + 3)
    rows = history.read(run / "history.csv")
    assert [e.epoch for e in rows] == [1, 2, 3, 4, 5]
    assert rows[-1].train_loss < rows[0].train_loss
    assert rows[-1].val_loss < rows[0].val_loss  # type: ignore[operator]
    assert all(e.learning_rate == 0.1 and e.seconds > 0 for e in rows)


def test_its_metrics_are_numpys_on_its_weights_file(run: Path) -> None:
    net, data = in_numpy(run)
    expected = metrics.test_metrics(net.predict(data.test.images), data.test.labels)
    found = measured(run)
    assert found["test_accuracy"] == expected["test_accuracy"]
    assert found["test_loss"] == pytest.approx(expected["test_loss"], rel=1e-5)


def test_its_last_epoch_has_the_metrics_of_its_weights_file(run: Path) -> None:
    net, data = in_numpy(run)
    expected = metrics.score(net.predict(data.validation.images), data.validation.labels)
    last = history.read(run / "history.csv")[-1]
    assert last.val_loss == pytest.approx(expected["loss"], rel=1e-5)
    assert last.val_accuracy == pytest.approx(expected["accuracy"])


def test_the_weights_file_contains_its_recipe(run: Path, easy: str) -> None:
    _, described = weights.read(run / "weights.safetensors")
    assert (
        described
        == weights.NetworkSpec(recipes.load(str(run / "recipe.yaml")), (6,), 3, 1.0, mnist_like=False).metadata()
    )
    assert recipes.load(str(run / "recipe.yaml")).data.path == easy


def test_it_prints_the_accuracy_at_the_end(easy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*flags(easy, "out")) == 0
    assert f"{metrics.test_accuracy_text(measured('out'))}, in out" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_run(easy: str) -> None:
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert call(*flags(easy, out, "--seed_everything", seed, "--model.dropout", "0.3")) == 0
    same_weights("a", "b")
    assert epochs("a") == epochs("b")
    assert epochs("a") != epochs("c")


def test_it_runs_without_validation(easy: str) -> None:
    assert call(*flags(easy, "out", "--data.validation_size", "0")) == 0
    assert [row[3:5] for row in epochs("out")] == [(None, None)] * 3
    assert Path("out/last.ckpt").exists()


def test_validation_every_second_epoch_leaves_the_others_empty(easy: str) -> None:
    words = ("--trainer.check_val_every_n_epoch", "2", "--trainer.max_epochs", "4")
    assert call(*flags(easy, "out", *words)) == 0
    seen = [row[3] is not None for row in epochs("out")]
    assert seen == [False, True, False, True], "no values of an earlier epoch"


def test_0_epochs_only_evaluate(run: Path, easy: str) -> None:
    start = ("--model.hidden", "[7]", "--model.weights", str(run / "weights.safetensors"))
    assert call(*flags(easy, "out", *start, "--trainer.max_epochs", "0")) == 0
    assert measured("out")["test_correct"] == measured(run)["test_correct"]
    assert measured("out")["test_loss"] == measured(run)["test_loss"]
    same_weights("out", run)


def test_a_limit_of_steps_replaces_that_of_epochs(easy: str) -> None:
    assert call(*flags(easy, "out", "--trainer.max_epochs", "-1", "--trainer.max_steps", "18")) == 0
    assert len(epochs("out")) == 2  # of 9 steps


@pytest.mark.parametrize("name", recipes.names())
def test_a_built_in_recipe_runs_unchanged(name: str, larger_images: str) -> None:
    words = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false")
    out = ("--data.path", larger_images, "--trainer.default_root_dir", "out")
    assert call("fit", "--config", name, *out, *words) == 0
    left, built_in = recipes.load("out/recipe.yaml"), recipes.load(name)
    assert (left.model, left.trainer, left.early_stopping) == (
        built_in.model,
        built_in.trainer,
        built_in.early_stopping,
    )
    assert vars(left.data) == vars(built_in.data) | {"path": larger_images}
    assert len(epochs("out")) == built_in.trainer.max_epochs
    assert measured("out")["test_accuracy"] > 0.2  # chance is a tenth
    net, data = in_numpy("out")
    assert (
        metrics.score(net.predict(data.test.images), data.test.labels)["accuracy"] == measured("out")["test_accuracy"]
    )


def test_the_recorded_recipe_gives_the_same_run(run: Path) -> None:
    words = (*network("")[2:], "--trainer.default_root_dir", "out")  # after the data's path
    assert call("fit", "--config", str(run / "recipe.yaml"), *words) == 0
    same_weights("out", run)
    assert Path("out/recipe.yaml").read_text() == (run / "recipe.yaml").read_text()


def test_the_saved_config_gives_the_same_run_in_another_folder(run: Path) -> None:
    shutil.copytree(run, "old")
    before = contents("old")
    assert call("fit", "--config", "old/config.yaml", "--trainer.default_root_dir", "new") == 0
    same_weights("new", "old")
    assert contents("old") == before, "the copied run is unchanged"
    assert Path("new/config.yaml").exists()


def test_the_printed_config_runs(easy: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = flags(easy, "a", "--model.hidden", "[7, 5]", "--model.learning_rate", "1e-05")
    assert call(*words, "--print_config") == 0
    Path("printed.yaml").write_text(capsys.readouterr().out)
    assert not Path("a").exists()
    assert call("fit", "--config", "printed.yaml") == 0
    left = recipes.load("a/recipe.yaml").model
    assert (left.hidden, left.learning_rate) == ([7, 5], 1e-05)


def test_without_a_folder_runs_are_numbered(easy: str) -> None:
    words = ["fit", *network(easy), "--trainer.max_epochs", "1"]
    assert [call(*words), call(*words)] == [0, 0]
    assert sorted(p.name for p in Path("runs").iterdir()) == ["lightning-1", "lightning-2"]


def test_training_starts_from_the_weights_given(run: Path, easy: str) -> None:
    start = ("--model.hidden", "[7]", "--model.weights", str(run / "weights.safetensors"))
    assert call(*flags(easy, "frozen", *start, "--model.learning_rate", "0")) == 0
    same_weights("frozen", run)
    assert call(*flags(easy, "moved", *start)) == 0
    assert any((kept("moved")[name] != a).any() for name, a in kept(run).items())


def test_a_folder_with_a_run_is_refused_and_overwrite_replaces_it(run: Path, easy: str) -> None:
    shutil.copytree(run, "out")
    Path("out/notes.txt").write_text("mine")
    before = contents("out")
    assert call(*flags(easy, "out")) == 2
    assert contents("out") == before
    assert call(*flags(easy, "out", "--overwrite")) == 0
    assert measured("out")["epochs"] == 3
    assert Path("out/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_a_trial_run_writes_and_removes_no_files(more: tuple[str, ...], run: Path, easy: str) -> None:
    shutil.copytree(run, "out")
    before = contents("out")
    call(*flags(easy, "out", "--trainer.fast_dev_run", "true", *more))
    assert contents("out") == before
    assert call(*flags(easy, "new", "--trainer.fast_dev_run", "true")) == 0
    assert not Path("new").exists()
    assert not os.environ.get("MINIGRAD_RUN_FOLDER")


def test_it_runs_without_checkpoints(easy: str) -> None:
    assert call(*flags(easy, "out", "--trainer.enable_checkpointing", "false")) == 0
    assert not list(Path("out").glob("*.ckpt"))
    assert measured("out")["epochs"] == 3
