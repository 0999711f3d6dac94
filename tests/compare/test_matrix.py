"""python -m compare parity: the matrix of recipes and optimizers, its file and exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compare import contenders
from compare.parity import matrix, tolerances
from minigrad import recipes
from minigrad.runs import UserError

FEW = ["--steps", "3", "--threads", "1"]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The parity.json of two contenders, three recipes and two optimizers, one of them with dropout."""
    out = tmp_path_factory.mktemp("matrix")
    chosen = ["--contenders", "by_hand", "torch", "--optimizers", "adam", "sgd"]
    matrix.main([*FEW, *chosen, "--out", str(out)])
    return json.loads((out / matrix.FILE).read_text())


def test_all_cells_agree_and_contain_the_largest_differences(left: dict[str, Any]) -> None:
    assert left["passed"] is True
    assert [cell["name"] for cell in left["cells"]] == [
        f"{recipe} by {optimizer}" for recipe in recipes.names() for optimizer in ("sgd", "adam")
    ]
    for cell in left["cells"]:
        torch = cell["contenders"]["torch"]
        assert torch["passed"] is True
        assert 0 < torch["float64"]["max_abs_diff"] < torch["float32"]["max_abs_diff"]
        assert torch["float64"]["steps"] == left["steps"] == 3


def test_a_contender_that_does_not_support_a_recipe_is_excluded(left: dict[str, Any]) -> None:
    by_hand = {cell["name"]: cell["contenders"]["by_hand"] for cell in left["cells"]}
    assert [name for name, row in by_hand.items() if row["passed"]] == ["simple by sgd"]
    assert by_hand["cnn by adam"]["excluded"].startswith("requires an mlp")


def test_dropout_is_compared_with_the_same_masks(left: dict[str, Any]) -> None:
    for cell in left["cells"]:
        dropout, has_dropout = cell["contenders"]["torch"]["dropout"], cell["name"].startswith("advanced")
        assert dropout["passed"] is (True if has_dropout else None)
        assert dropout["said"].startswith("same masks: ") if has_dropout else dropout["said"] == "off"


def test_a_difference_is_reported_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tolerances, "FLOAT64", 1e-30)
    with pytest.raises(SystemExit) as end:
        matrix.main(
            [*FEW, "--contenders", "by_hand", "--recipes", "simple", "--optimizers", "sgd", "--out", str(tmp_path)]
        )
    assert end.value.code == 1
    assert json.loads((tmp_path / matrix.FILE).read_text())["passed"] is False
    shown = capsys.readouterr().out
    assert "by hand, float64: differs in 1 of 1, first in simple by sgd: step 1, " in shown
    assert "The contenders do NOT agree." in shown
    assert "The contenders agree" not in shown


def test_the_matrix_has_every_schedule_and_optimizer() -> None:
    cells = matrix.matrix_recipes(recipes.names(), matrix.OPTIMIZERS)
    assert len(cells) == len(recipes.names()) * 5
    models = [cell.model for cell in cells.values()]
    assert {m.schedule for m in models} == {"constant", "cosine", "one_cycle"}
    assert {m.optimizer for m in models} == {"sgd", "rmsprop", "adam", "adamw"}
    assert {m.architecture for m in models} == {"mlp", "cnn"}
    assert any(m.momentum for m in models)
    assert all(m.weight_decay > 0 for m in models if m.optimizer == "adamw")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--steps", "0"], ["--steps", "0", "1 or more"]),
        (["--contenders", "caffe"], ["--contenders", "caffe", "minigrad"]),
        (["--optimizers", "lion"], ["--optimizers", "lion", "adamw"]),
        (["--recipes", "nowhere"], ["nowhere", "simple"]),
        (["--threads", "0"], ["--threads", "0"]),
        (["--data", "nowhere.npz"], ["data.path", "nowhere.npz"]),
    ],
)
def test_an_invalid_argument_is_refused_in_one_sentence(tmp_path: Path, flags: list[str], expected: list[str]) -> None:
    with pytest.raises(UserError) as error:
        matrix.main(["--out", str(tmp_path / "o"), *flags])
    for part in expected:
        assert part in str(error.value)
    assert not (tmp_path / "o").exists()


def test_an_earlier_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / matrix.FILE).write_text("{}")
    (tmp_path / ".files.json").write_text(json.dumps({"files": [matrix.FILE]}))
    with pytest.raises(UserError, match=r"already holds parity\.json"):
        matrix.main(["--out", str(tmp_path)])
    assert (tmp_path / matrix.FILE).read_text() == "{}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_installed_contender_agrees_everywhere(tmp_path: Path) -> None:
    matrix.main(["--out", str(tmp_path)])
    found = json.loads((tmp_path / matrix.FILE).read_text())
    assert found["passed"] is True
    for cell in found["cells"]:
        for name, row in cell["contenders"].items():
            if not contenders.find(name).outside_verdict:
                assert row["passed"] is True or "excluded" in row, (name, cell["name"])
