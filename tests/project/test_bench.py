"""The benchmark measures what it says: every peer trains the same network, and the ratios are of this run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import engine, peers
from minigrad.classifier import Classifier
from minigrad.recipes import Model

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (256, 28, 28)).astype(np.uint8)
LABELS = RNG.integers(0, 10, 256)


@pytest.mark.parametrize("module", ["engine", "exports", "gpu", "keras", "lightning", "parallel", "speedrun", "tables"])
def test_every_benchmark_can_be_imported(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import benchmarks.{module}"], check=True, cwd=ROOT)


@pytest.mark.parametrize("network", engine.NETWORKS)
@pytest.mark.parametrize("peer", ["hand-written NumPy", "torch eager", "JAX jit"])
def test_a_peer_takes_the_same_steps_as_minigrad(network: str, peer: str) -> None:
    model = engine.NETWORKS[network]
    start = Classifier(model, (28, 28), 10, seed=1).state_dict()
    case = peers.Case(model, IMAGES, LABELS, start)
    built = peers.PEERS[peer](case)
    if built is None:
        assert peer == "hand-written NumPy"
        assert not case.is_simple
        return
    (step, weights), (ours, reference) = built, peers.minigrad(case)
    for indices in (np.arange(128), np.arange(128, 256), np.arange(128)):
        step(indices)
        ours(indices)
    moved = 0.0
    for name, expected in reference().items():
        np.testing.assert_allclose(weights()[name], expected, atol=1e-4)
        moved = max(moved, float(np.abs(expected - start[name]).max()))
    assert moved > 1e-3


def test_an_optional_peer_is_named_with_its_reason_when_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(case: peers.Case) -> None:
        raise ModuleNotFoundError("No module named 'mygrad'")

    monkeypatch.setitem(peers.PEERS, "mygrad", missing)
    monkeypatch.setitem(engine.STEPS, "784-10-10", 2)
    data = engine.datasets.Split(np.repeat(IMAGES, 10, axis=0), np.repeat(LABELS, 10))
    rows = engine.measure("784-10-10", Model(), data, 1, ["mygrad"])
    assert [row["status"] for row in rows] == ["ok", "not measured: No module named 'mygrad'"]


def test_a_peer_that_trains_otherwise_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(case: peers.Case) -> peers.Peer:
        return peers.minigrad(peers.Case(Model(learning_rate=0.2), case.images, case.labels, case.start))

    monkeypatch.setitem(peers.PEERS, "mygrad", wrong)
    data = engine.datasets.Split(np.repeat(IMAGES, 10, axis=0), np.repeat(LABELS, 10))
    with pytest.raises(SystemExit, match="mygrad differs from minigrad"):
        engine.measure("784-10-10", Model(), data, 1, ["mygrad"])


def test_the_profile_names_the_engines_own_functions() -> None:
    data = engine.datasets.Split(np.repeat(IMAGES, 20, axis=0), np.repeat(LABELS, 20))
    text = engine.profile(Model(), data, steps=10)
    for name in ("tape.py", "propagate", "cross_entropy", "'dot'"):
        assert name in text


@pytest.mark.slow
def test_the_command_writes_ratios_with_their_environment(tmp_path: Path) -> None:
    out = tmp_path / "engine.json"
    words = ["--rounds", "2", "--networks", "784-10-10", "--peers", "hand-written NumPy", "floor", "--out", str(out)]
    words += ["--imports", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "hand-written NumPy" in done.stdout
    found = json.loads(out.read_text())
    assert found["environment"]["threads"] == engine.THREADS
    *rows_of_steps, imported, reference = found["rows"]
    rows = {row["peer"]: row for row in rows_of_steps}
    assert list(rows) == ["minigrad", "hand-written NumPy", "floor"]
    assert rows["minigrad"]["ratio"] == 1
    assert all(row["step_us"] > 0 and row["ratio"] > 0 for row in rows.values())
    assert rows["hand-written NumPy"]["goal"] == 1.05
    assert (imported["peer"], reference["peer"], reference["goal"]) == ("minigrad", "numpy", 1.3)
    assert imported["step_us"] / reference["step_us"] == pytest.approx(reference["ratio"])


@pytest.mark.slow
def test_the_bare_loop_takes_lightnings_steps(tmp_path: Path) -> None:
    out = tmp_path / "lightning.json"
    words = ["--rounds", "1", "--starts", "0", "--networks", "784-10-10", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.lightning", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "bare torch loop" in done.stdout
    trainer, *peers = json.loads(out.read_text())["rows"]
    assert trainer["peer"] == "Lightning"
    assert [row["peer"] for row in peers] == ["bare torch loop", "default Lightning"]
    for row in peers:
        assert trainer["step_us"] / row["step_us"] == pytest.approx(row["ratio"])


@pytest.mark.slow
def test_a_bare_loop_that_trains_otherwise_is_not_timed(tmp_path: Path) -> None:
    words = ["--rounds", "1", "--starts", "0", "--networks", "784-10-10", "--out", str(tmp_path / "lightning.json")]
    planted = "import sys; from benchmarks import lightning; lightning.RATE = 0.2; lightning.main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", planted, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "784-10-10: after an epoch a weight differs by" in done.stderr
    assert not (tmp_path / "lightning.json").exists()


@pytest.mark.slow
def test_the_benchmark_of_keras_runs_and_its_trainers_agree(tmp_path: Path) -> None:
    """It times nothing unless all weights agree after an epoch."""
    out = tmp_path / "keras.json"
    subprocess.run([sys.executable, "-m", "benchmarks.keras", "--rounds", "1", "--out", out], check=True, cwd=ROOT)
    found = json.loads(out.read_text())
    assert {row["network"] for row in found["rows"]} == {f"on {b}" for b in ("tensorflow", "jax", "torch")}
    assert all(row["step_us"] > 0 for row in found["rows"])


@pytest.mark.slow
def test_the_benchmark_of_devices_writes_the_time_per_epoch(tmp_path: Path) -> None:
    """It times nothing unless the gradients of the first step agree."""
    out = tmp_path / "parallel.json"
    words = ["--rounds", "2", "--recipes", "simple", "--out", str(out)]
    subprocess.run([sys.executable, "-m", "benchmarks.parallel", *words], check=True, cwd=ROOT)
    found = json.loads(out.read_text())
    assert [row["peer"] for row in found["rows"]][-1] == found["subject"] == "2 devices"
    for row in found["rows"]:
        assert row["epoch_s"] == pytest.approx(row["step_us"] * 430 / 1e6)
    assert found["rows"][-1]["ratio"] == 1


@pytest.mark.slow
def test_the_speed_run_writes_the_log_of_each_seed(tmp_path: Path) -> None:
    out = tmp_path / "speedrun.json"
    subprocess.run(
        [sys.executable, "-m", "benchmarks.speedrun", "--seeds", "1", "--out", str(out)], check=True, cwd=ROOT
    )
    (row,) = json.loads(out.read_text())["rows"]
    assert row["test_accuracy"] == row["test_correct"] / 10_000 > 0.98
    assert f"({row['test_correct']:,} of 10,000)" in row["log"]
    assert 0 < row["seconds"] < row["total_seconds"]


@pytest.mark.slow
def test_the_matrix_of_exports_has_a_row_per_cell(tmp_path: Path) -> None:
    out = tmp_path / "exports.json"
    words = ["--networks", "simple", "--backends", "minigrad", "--out", str(out)]
    subprocess.run([sys.executable, "-m", "benchmarks.exports", *words], check=True, cwd=ROOT)
    rows = json.loads(out.read_text())["rows"]
    assert len({(row["kind"], row["precision"]) for row in rows}) == len(rows) == 6 * 3
    measured = {(row["kind"], row["precision"]): row for row in rows if row["status"] == "ok"}
    assert set(measured) == {
        *(("onnx", precision) for precision in ("float32", "float16", "int8")),
        *(("safetensors", precision) for precision in ("float32", "float16")),
    }
    assert all("expected" in row["status"] for row in rows if row["status"] != "ok")
    for (_, precision), row in measured.items():
        assert (row["largest"] <= 1e-4) == (precision == "float32")
        assert row["mean"] <= row["largest"]
        assert abs(row["accuracy"] - row["network_accuracy"]) < 0.01
        assert 0 < row["ms"]["1"] < row["ms"]["1000"]
    assert (
        measured["onnx", "int8"]["bytes"] < measured["onnx", "float16"]["bytes"] < measured["onnx", "float32"]["bytes"]
    )
