"""python -m compare history: changes between two runs, and noise."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from compare import cli
from minigrad.runs import UserError


def told(capsys: pytest.CaptureFixture[str], *paths: Path) -> str:
    cli.main(["history", *map(str, paths)])
    return capsys.readouterr().out


def written(path: Path, results: dict[str, Any]) -> Path:
    path.write_text(json.dumps(results))
    return path


def test_a_run_compared_with_itself_shows_no_difference(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, run_folder, run_folder / "results.json")
    assert "The same recipe, data, machine and versions." in out
    assert out.count("no difference") == 5
    assert out.count("the same") == 5


def test_changes_are_listed_and_a_slower_contender_is_reported(
    run_folder: Path, results: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = copy.deepcopy(results)
    later["recipe"]["model"]["hidden"] = [64]
    later["environment"]["versions"]["numpy"] = "9.9"
    row = later["contenders"][0]
    for i, run in enumerate(row["runs"]):
        run["step_us"] = 99_000 + i
    row["step_us"] = 99_000
    row["test_accuracy"] -= 0.5
    out = told(capsys, run_folder, written(tmp_path / "later.json", later))
    assert "model.hidden: [10], now [64]" in out
    assert f"version of numpy: {results['environment']['versions']['numpy']}, now 9.9" in out
    minigrad = next(line for line in out.splitlines() if line.startswith("minigrad"))
    assert "slower" in minigrad
    assert minigrad.endswith("changed")
    assert "changed" not in next(line for line in out.splitlines() if line.startswith("torch"))


def test_one_seed_gives_no_verdict(
    run_folder: Path, results: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    single = copy.deepcopy(results)
    for row in single["contenders"]:
        del row["runs"][1:]
    assert told(capsys, run_folder, written(tmp_path / "single.json", single)).count("one seed") == 5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"contenders": 3, "environment": {}}', "\x00"])
def test_files_without_results_are_refused_in_one_sentence(run_folder: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    for path in (tmp_path, tmp_path / "results.json"):
        with pytest.raises(UserError, match="no results of python -m compare"):
            cli.main(["history", str(run_folder), str(path)])


def test_missing_runs_are_refused_in_one_sentence(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected two or more"):
        cli.main(["history", str(run_folder)])
    with pytest.raises(UserError, match=r"nowhere: no results\.json"):
        cli.main(["history", str(run_folder), "nowhere"])
