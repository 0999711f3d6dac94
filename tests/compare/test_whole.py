"""A whole comparison of the five: what it proves, and what it leaves."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from compare import contenders
from compare.report import words as told


def test_all_five_agree_to_1e_12(results: dict[str, Any]) -> None:
    parity = results["parity"]
    assert parity["passed"] is True
    assert set(parity["contenders"]) == {"by_hand", "torch", "lightning", "keras"}
    assert 0 < parity["float64"]["max_abs_diff"] <= 1e-12
    assert parity["float64"]["max_abs_diff"] < parity["float32"]["max_abs_diff"] <= 1e-4
    assert parity["float64"]["steps"] == parity["float32"]["steps"] == 8  # 250 images in batches of 32


def test_gradients_losses_and_weights_were_all_held_against_minigrad(results: dict[str, Any]) -> None:
    for row in results["parity"]["contenders"].values():
        assert [int(step) for step in row["float64"]["by_step"]] == list(range(1, 9))


def test_rows_are_in_order_unique_and_done(results: dict[str, Any]) -> None:
    rows = results["contenders"]
    assert [row["name"] for row in rows] == list(contenders.DEFAULT)
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert {row["division"] for row in rows} == {"closed"}


def test_equal_work_gives_equal_answers(results: dict[str, Any]) -> None:
    rows = results["contenders"]
    assert {row["updates"] for row in rows} == {24}
    assert {row["parameters"] for row in rows} == {20 * 10 + 10 + 10 * 3 + 3}
    assert len({row["test_correct"] for row in rows}) == 1
    assert rows[0]["test_accuracy"] > 0.8
    assert max(row["test_loss"] for row in rows) - min(row["test_loss"] for row in rows) < 1e-5


@pytest.mark.parametrize("phase", ["import", "build", "first_step", "train", "evaluate", "total"])
def test_each_phase_is_timed(results: dict[str, Any], phase: str) -> None:
    for row in results["contenders"]:
        assert row["seconds"][phase] > 0


def test_figures_hang_together(results: dict[str, Any]) -> None:
    for row in results["contenders"]:
        seconds = row["seconds"]
        parts = sum(seconds[phase] for phase in ("import", "build", "train", "evaluate"))
        assert seconds["first_step"] < seconds["train"] < seconds["total"]
        assert parts == pytest.approx(seconds["total"], rel=0.05)
        assert row["step_us"] == pytest.approx(seconds["train"] / 24 * 1e6)
        assert row["images_per_second"] == pytest.approx(3 * 250 / seconds["train"])
        assert row["latency_us"] > 0
        assert row["peak_memory_mb"] > 20
        low, high = row["accuracy_interval"]
        assert low < row["test_accuracy"] <= high


def test_the_environment_is_told(results: dict[str, Any]) -> None:
    environment = results["environment"]
    assert environment["threads"] == 1
    assert environment["cpu"]
    assert environment["versions"]["numpy"]
    assert results["recipe"]["data"]["batch_size"] == 32


def test_the_picture_is_one(whole: Path) -> None:
    with Image.open(whole / "comparison.png") as picture:
        picture.load()
        assert picture.width > 1000


def test_the_report_is_whole_and_needs_no_network(whole: Path, results: dict[str, Any]) -> None:
    page = (whole / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", page)
    data = re.search(r"data:application/json;base64,([^\"]+)", page)
    assert data
    assert json.loads(base64.b64decode(data[1])) == results
    for row in results["contenders"]:
        for cell in told.cells(row):
            assert f"<td>{cell}</td>" in page


def test_the_verdict_says_that_they_agree_and_who_is_quickest(results: dict[str, Any]) -> None:
    agreement, accuracy, speed = told.verdict(results)
    assert agreement.startswith("They agree: over 8 steps")
    assert "within 0.00 points" in accuracy
    quickest = min(results["contenders"], key=lambda row: row["step_us"])
    assert speed.startswith(f"Quickest here: {quickest['title']}")
    for row in results["contenders"]:
        assert row["title"] in speed
