"""python -m compare history: changes between two runs, and noise."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare import cli
from minigrad.runs import UserError


def told(capsys: pytest.CaptureFixture[str], *paths: Path) -> str:
    cli.main(["history", *map(str, paths)])
    return capsys.readouterr().out


def written(path: Path, results: dict[str, Any]) -> Path:
    path.write_text(json.dumps(results))
    return path


@pytest.fixture
def long(results: dict[str, Any]) -> dict[str, Any]:
    """Results with ten rounds per seed, whose times vary by 1 %."""
    long = copy.deepcopy(results)
    rng = np.random.default_rng(0)
    closed = [r for r in long["rounds"] if r["stage"] == "closed"]
    long["rounds"] = [
        {**r, "step_us": {row["name"]: row["steady_step_us"] * rng.uniform(0.99, 1.01) for row in long["contenders"]}}
        for r in closed
        for _ in range(5)
    ]
    return long


def test_a_run_compared_with_itself_is_equivalent(
    long: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "results.json", long)
    out = told(capsys, path, tmp_path)
    assert "The same recipe, data, machine and versions." in out
    assert out.count("equivalent") == 3
    assert out.count("the same") == 3


def test_changes_are_listed_and_a_slower_contender_is_reported(
    long: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = copy.deepcopy(long)
    later["recipe"]["model"]["hidden"] = [64]
    later["environment"]["versions"]["numpy"] = "9.9"
    later["contenders"][0]["test_accuracy"] -= 0.5
    for r in later["rounds"]:
        r["step_us"]["minigrad"] *= 1.5
        r["step_us"]["by_hand"] /= 1.5
    out = told(capsys, written(tmp_path / "before.json", long), written(tmp_path / "later.json", later))
    assert "model.hidden: [10], now [64]" in out
    assert f"version of numpy: {long['environment']['versions']['numpy']}, now 9.9" in out
    minigrad, torch, by_hand = (line(out, title) for title in ("minigrad", "torch", "by hand"))
    assert "1.50 (1." in minigrad
    assert "slower" in minigrad
    assert minigrad.endswith("changed")
    assert "faster" in by_hand
    assert "equivalent" in torch


def line(out: str, title: str) -> str:
    return next(line.rstrip() for line in out.splitlines() if line.startswith(title))


def test_few_or_disturbed_rounds_give_no_verdict(
    long: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "long.json", long)
    few = copy.deepcopy(long) | {"rounds": long["rounds"][:12]}
    assert told(capsys, path, written(tmp_path / "few.json", few)).count("undecided") == 3
    noisy = copy.deepcopy(long) | {"status": "not measured", "status_reason": "Other processes disturbed all rounds."}
    out = told(capsys, path, written(tmp_path / "noisy.json", noisy))
    assert out.count("undecided") == 3
    assert "noisy.json: NOT MEASURED. Other processes disturbed all rounds." in out


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_another_schema_is_refused(run_folder: Path, results: dict[str, Any], tmp_path: Path, version: Any) -> None:
    path = written(tmp_path / "other.json", results | {"schema": version})
    with pytest.raises(UserError, match=r"other\.json: .*its schema is .*; expected a results\.json of schema 1"):
        cli.main(["history", str(run_folder), str(path)])


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
