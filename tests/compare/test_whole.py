"""A complete comparison, of three contenders or of the five default ones: its results and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from compare import contenders
from compare.report import text


@pytest.fixture(scope="module", params=[3, pytest.param(5, marks=pytest.mark.slow)])
def names(request: pytest.FixtureRequest) -> list[str]:
    """The contenders."""
    return list(contenders.DEFAULT[: request.param])


@pytest.fixture(scope="module")
def run_folder(names: list[str], run_folder: Path, complete: Callable[..., Path]) -> Path:
    """The run folder of their comparison."""
    return run_folder if len(names) == 3 else complete(names)


@pytest.fixture(scope="module")
def results(run_folder: Path) -> dict[str, Any]:
    """Its results.json."""
    return json.loads((run_folder / "results.json").read_text())


def test_all_agree_to_1e_12(names: list[str], results: dict[str, Any]) -> None:
    parity = results["parity"]
    assert parity["passed"] is True
    assert set(parity["contenders"]) == set(names) - {"minigrad"}
    assert 0 < parity["float64"]["max_abs_diff"] <= 1e-12
    assert parity["float64"]["max_abs_diff"] < parity["float32"]["max_abs_diff"] <= 1e-4
    assert parity["float64"]["steps"] == parity["float32"]["steps"] == 8  # 250 images in batches of 32


def test_the_steps_with_weights_are_in_the_results(results: dict[str, Any]) -> None:
    for row in results["parity"]["contenders"].values():
        for key in ("by_step", "share_by_step"):
            assert [int(step) for step in row["float64"][key]] == [1, 2, 3, 4, 5, 7, 8]


def test_all_contenders_are_done_and_in_order(names: list[str], results: dict[str, Any]) -> None:
    rows = results["contenders"]
    assert [row["name"] for row in rows] == names
    assert [row["status"] for row in rows] == ["ok"] * len(names)
    assert {row["division"] for row in rows} == {"closed"}


def test_equal_work_gives_equal_predictions(results: dict[str, Any]) -> None:
    rows = results["contenders"]
    assert {row["updates"] for row in rows} == {24}
    assert {row["parameters"] for row in rows} == {20 * 10 + 10 + 10 * 3 + 3}
    assert all(row["equal_work"] for row in rows)
    for seed in (0, 1):
        assert len({row["runs"][seed]["test_correct"] for row in rows}) == 1
    assert rows[0]["test_accuracy"] > 0.8
    assert max(row["test_loss"] for row in rows) - min(row["test_loss"] for row in rows) < 1e-5


def test_a_contender_that_did_other_work_is_named(results: dict[str, Any]) -> None:
    assert text.equal_work(results).startswith(
        "The same work for all: 24 updates of 243 parameters, as counted in each contender"
    )
    other = [row | {"equal_work": row["name"] != "torch"} for row in results["contenders"]]
    assert text.equal_work(results | {"contenders": other}).endswith("but torch did something else.")


def test_the_work_is_counted(results: dict[str, Any]) -> None:
    # Forward and both gradients of two products, without the gradient of the images.
    each = 2 * (3 * (20 * 10 + 10 * 3) - 20 * 10)
    parameters = 20 * 10 + 10 + 10 * 3 + 3
    samples = 3 * 250
    assert results["work"] == {
        "updates": 24,
        "samples": samples,
        "flops_per_sample": each,
        "flops": samples * each,
        "parameters": parameters,
    }


@pytest.mark.parametrize("phase", ["import", "build", "first_step", "startup", "train", "evaluate", "total"])
def test_each_phase_is_timed(results: dict[str, Any], phase: str) -> None:
    for row in results["contenders"]:
        assert row["seconds"][phase] > 0


def test_measurements_are_consistent(results: dict[str, Any]) -> None:
    for row in (run for contender in results["contenders"] for run in contender["runs"]):
        seconds = row["seconds"]
        parts = sum(seconds[phase] for phase in ("import", "build", "train", "evaluate"))
        assert seconds["first_step"] < seconds["train"] < seconds["total"]
        assert parts == pytest.approx(seconds["total"], rel=0.05)
        assert row["step_us"] == pytest.approx(seconds["train"] / 24 * 1e6)
        # The time to the end of the first step lies between that of building and the end of the first epoch.
        begin = seconds["import"] + seconds["build"]
        assert begin < seconds["startup"] <= begin + row["epoch_us"][0] * 8 / 1e6
        if row["steady_us"]["steps_a_look"] == 1:  # the first call comes after the first step
            assert begin + seconds["first_step"] <= seconds["startup"]
        assert row["steady_step_us"] == pytest.approx(np.median(row["epoch_us"][1:]))
        assert len(row["epoch_us"]) == 3
        for looks in row["latency"].values():
            assert 0 < looks["p50"] <= looks["p99"]
        steady = row["steady_us"]
        assert 0 < steady["p50"] <= steady["p90"] <= steady["p99"]
        assert row["peak_memory_mb"] > 20
        assert row["saved_bytes"] > 4 * 243


def test_a_row_has_the_medians_of_its_seeds(results: dict[str, Any]) -> None:
    for row in results["contenders"]:
        assert [run["seed"] for run in row["runs"]] == [42, 43]
        for figure in ("step_us", "peak_memory_mb", "test_accuracy"):
            assert row[figure] == pytest.approx(np.median([run[figure] for run in row["runs"]]))
        assert row["images_per_second"] == pytest.approx(250 / 8 / row["steady_step_us"] * 1e6)
        assert row["latency"]["32"]["p99"] == pytest.approx(
            np.median([run["latency"]["32"]["p99"] for run in row["runs"]])
        )
        low, high = row["accuracy_interval"]
        assert low < row["test_accuracy"] <= high


def test_seeds_differ_and_contenders_agree(results: dict[str, Any]) -> None:
    losses = np.array([[run["test_loss"] for run in row["runs"]] for row in results["contenders"]])
    assert losses[0, 0] != pytest.approx(losses[0, 1], rel=1e-4)
    np.testing.assert_allclose(losses, losses[:1].repeat(len(losses), axis=0), rtol=1e-5)


def test_validation_accuracy_is_recorded_per_epoch(results: dict[str, Any]) -> None:
    for row in results["contenders"]:
        for run in row["runs"]:
            seconds = [point["seconds"] for point in run["curve"]]
            assert len(seconds) == 3
            assert seconds == sorted(seconds)
            assert seconds[-1] <= run["seconds"]["train"] * 1.001
    curves = {tuple(p["accuracy"] for p in row["runs"][0]["curve"]) for row in results["contenders"]}
    assert len(curves) == 1  # one ruler, equal weights


def test_the_target_is_reached_by_all_runs(results: dict[str, Any]) -> None:
    target = results["target"]
    every = [run for row in (*results["contenders"], *results["open"]) for run in row["runs"]]
    assert target == int(100 * min(max(p["accuracy"] for p in run["curve"]) for run in every)) / 100
    for run in every:
        reached = next(p["seconds"] for p in run["curve"] if p["accuracy"] >= target)
        assert run["seconds_to_target"] == reached


def test_the_open_division_does_the_same_number_of_updates(names: list[str], results: dict[str, Any]) -> None:
    assert [row["name"] for row in results["open"]] == names
    for row in results["open"]:
        assert row["division"] == "open"
        assert row["updates"] == 24
        assert [run["seed"] for run in row["runs"]] == [42, 43]
    assert {row["name"] for row in results["open"] if row["changes"]} == {"lightning", "keras"} & set(names)


def test_contenders_take_turns_in_rotating_order(names: list[str], results: dict[str, Any]) -> None:
    for division in ("closed", "open"):
        rounds = [r for r in results["rounds"] if r["stage"] == division]
        assert [r["seed"] for r in rounds] == [42, 42, 43, 43]  # the first epoch warms up
        assert all(set(r["step_us"]) == set(names) for r in rounds)
        assert {next(iter(r["step_us"])) for r in rounds} >= {"minigrad", "by_hand", "torch"}
        times = [datetime.fromisoformat(r["started"]) for r in rounds]
        assert times == sorted(times)


def test_steady_steps_and_ratios_are_medians_over_rounds(names: list[str], results: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in results["contenders"]}
    rounds = [r["step_us"] for r in results["rounds"] if r["stage"] == "closed"]
    for name, row in rows.items():
        assert row["steady_step_us"] == pytest.approx(np.median([r[name] for r in rounds]))
        assert sorted(us for run in row["runs"] for us in run["epoch_us"][1:]) == sorted(r[name] for r in rounds)
    for division in ("closed", "open"):
        ratios = [r for r in results["ratios"] if r["division"] == division]
        assert len({frozenset((r["a"], r["b"])) for r in ratios}) == len(ratios) == len(names) * (len(names) - 1) // 2
        for ratio in ratios:
            times = [r["step_us"] for r in results["rounds"] if r["stage"] == division]
            assert ratio["median"] == pytest.approx(np.median([r[ratio["a"]] / r[ratio["b"]] for r in times]))
            assert ratio["low"] <= ratio["median"] <= ratio["high"]
            assert ratio["paired"]
            assert (ratio["rounds"], ratio["verdict"]) == (4, "undecided")  # too few rounds for a verdict


def test_a_waiting_contender_does_not_use_the_cpu(results: dict[str, Any]) -> None:
    """Over all rounds of the sweep, which take seconds, all processes together wait for longer than that."""
    rounds = [r for r in results["rounds"] if r["stage"] == "sweep"]
    begin, end = (datetime.fromisoformat(r["started"]).timestamp() for r in (rounds[0], rounds[-1]))
    assert sum(r["waiting"] for r in rounds) < 0.02 * (end - begin)


def test_the_results_describe_what_was_run(results: dict[str, Any]) -> None:
    assert results["schema"] == 1
    assert results["status"] == "measured"
    assert results["status_reason"] == ""
    assert results["command"] == "compare.run"
    assert results["environment"]["host"]
    assert results["plan"]["divisions"] == ["closed", "open"]


def test_all_contenders_give_the_same_answers(names: list[str], results: dict[str, Any]) -> None:
    assert results["answers"] == {"agree": 90, "images": 90}
    assert len(results["accuracy_differences"]) == len(names) * (len(names) - 1) // 2
    for row in results["accuracy_differences"]:
        assert [row[key] for key in ("difference", "low", "high", "only_a", "only_b")] == [0, 0, 0, 0, 0]


def test_each_contender_measures_its_own_matrix_products(results: dict[str, Any]) -> None:
    for row in results["contenders"]:
        products = row["products"]
        assert products["library"]
        # Forward and both gradients of two products in a batch of 32, without the gradient of the images.
        flops = 32 * 2 * (3 * (20 * 10 + 10 * 3) - 20 * 10)
        speed = flops / products["step_us"] / 1e3
        assert 0.2 * speed < products["gflops"] < 5 * speed  # medians over the seeds of both


def test_the_sweep_has_a_time_for_each_width_and_a_floor(names: list[str], results: dict[str, Any]) -> None:
    sweep = results["sweep"]
    assert [row["contender"] for row in sweep["rows"]] == names
    assert sweep["batch_sizes"] == [32]
    assert sweep["champion"] == "by_hand"
    for row in sweep["rows"]:
        assert [(p["width"], p["batch_size"]) for p in row["points"]] == [(4, 32), (16, 32)]
        assert all(p["step_us"] > 0 and p["products"]["step_us"] > 0 for p in row["points"])
        assert row["floor_us"] > 0
        for point in row["points"]:
            if row["contender"] != "by_hand":
                assert point["ratio"]["rounds"] == 16
                assert point["ratio"]["low"] <= point["ratio"]["median"] <= point["ratio"]["high"]
        if row["contender"] == "lightning":
            assert {p["ratio"]["verdict"] for p in row["points"]} == {"slower"}
    flops = {tuple(p["flops"] for p in row["points"]) for row in sweep["rows"]}
    assert flops == {(32 * 2 * (3 * 23 * 4 - 20 * 4), 32 * 2 * (3 * 23 * 16 - 20 * 16))}


def test_each_claim_has_a_source_and_a_verdict(results: dict[str, Any]) -> None:
    assert len(results["claims"]) == 4
    for claim in results["claims"]:
        assert claim["source"]
        assert claim["judged_by"]
        assert claim["verdict"] in ("undecided", "does not hold", "not measured")  # too few rounds for a time to hold
        assert claim["why"].endswith(".")


def test_the_hardest_images_have_the_largest_loss(run_folder: Path, small: str, results: dict[str, Any]) -> None:
    hardest = results["digits"]["hardest"]
    with np.load(run_folder / "jobs/closed/torch/42/logits.npz") as archive, np.load(small) as data:
        z, labels = archive["logits"].astype(float), data["y_test"]
    loss = np.log(np.exp(z).sum(axis=1)) - z[np.arange(90), labels]
    indices = [digit["index"] for digit in hardest]
    np.testing.assert_allclose(loss[indices], np.sort(loss)[::-1][:24], rtol=1e-4)
    for digit in hardest:
        assert digit["label"] == labels[digit["index"]]
        assert digit["answers"]["torch"] == z[digit["index"]].argmax()
    assert results["digits"]["disputed"] == 0


def test_the_environment_is_recorded(results: dict[str, Any]) -> None:
    environment = results["environment"]
    assert environment["threads"] == 1
    assert environment["cpu"]
    assert environment["versions"]["numpy"]
    assert results["recipe"]["data"]["batch_size"] == 32


def test_the_figure_is_an_image(run_folder: Path) -> None:
    with Image.open(run_folder / "comparison.png") as picture:
        picture.load()
        assert picture.width > 1000
