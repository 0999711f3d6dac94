"""Contenders on the GPU: when they take part, their environment, and waiting for queued work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare import contenders, machine
from compare.contenders.base import Observer
from compare.timing.synchronized import SynchronizedObserver

sys.path.insert(0, str(Path(__file__).parent))

import alone

GPU = ("torch_gpu", "lightning_gpu", "keras_gpu", "jax_gpu")
HERE = pytest.mark.skipif(machine.gpu() is not None, reason="there is a GPU")


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    machine.gpu.cache_clear()
    yield
    machine.gpu.cache_clear()


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Replace the driver's command by a script."""
    command = folder / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("echo 'NVIDIA H100 80GB HBM3'; echo 'NVIDIA T4'", "NVIDIA H100 80GB HBM3"),
        ("echo 'NVIDIA-SMI has failed'; exit 9", None),
        ("exit 0", None),
    ],
)
def test_the_driver_names_the_gpu(script: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, script)
    assert machine.gpu() == name


def test_without_a_driver_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu() is None


@pytest.mark.parametrize("name", GPU)
def test_gpu_contenders_take_part_if_there_is_a_gpu(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contender = contenders.find(name)
    monkeypatch.setattr(contender, "needs", ())
    nvidia_smi(tmp_path, monkeypatch, "exit 1")
    assert contender.missing() == "needs an NVIDIA GPU: nvidia-smi finds none on this machine"
    machine.gpu.cache_clear()
    nvidia_smi(tmp_path, monkeypatch, "echo 'NVIDIA T4'")
    assert contender.missing() is None


def test_only_gpu_contenders_see_the_gpu() -> None:
    for name in contenders.names():
        contender = contenders.find(name)
        assert contender.device == ("gpu" if name in GPU else "cpu")
        hidden = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}.items() <= contender.environment.items()
        assert hidden == (name not in GPU)


class Diary(Observer):
    """Records calls and waits."""

    def __init__(self, every_step: bool = False) -> None:
        self.every_step, self.lines = every_step, []

    def after_steps(self, steps: int, loss: Any, weights: Any, gradients: Any) -> None:
        self.lines.append(steps)

    def wait(self) -> None:
        self.lines.append("wait")


@pytest.mark.parametrize(
    ("every_step", "calls", "lines"),
    [
        (False, [1] * 8, ["wait", 1, "wait", 3] * 2),
        (False, [3, 1, 3, 1], ["wait", 3, "wait", 1] * 2),
        (True, [1] * 3, ["wait", 1] * 3),
    ],
)
def test_the_observer_waits_for_the_device(every_step: bool, calls: list[int], lines: list) -> None:
    diary = Diary(every_step)
    queued = SynchronizedObserver(diary, 4, diary.wait)
    assert queued.every_step == every_step
    for steps in calls:
        queued.after_steps(steps, float, dict, dict)
    assert diary.lines == lines


@HERE
@pytest.mark.parametrize(
    "name", ["torch_gpu", *(pytest.param(n, marks=pytest.mark.slow) for n in ("lightning_gpu", "keras_gpu"))]
)
def test_a_build_without_cuda_is_refused(name: str) -> None:
    """It does not train on the CPU instead."""
    program = f"from compare import contenders; contenders.find({name!r})().load()"
    environment = os.environ | dict(contenders.find(name).environment)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "finds no GPU; expected a build for CUDA" in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", GPU)
def test_a_gpu_contender_on_the_cpu_trains_like_its_base_class(name: str, small: str, tmp_path: Path) -> None:
    same = {"epochs": 2, "hidden": [6], "optimizer": "adam", "learning_rate": 0.01, "augment": "shift"}
    both = [alone.asked(small, tmp_path / name / how, how, **same) for how in ("fit", "fit_open")]
    plain_images = same | {"augment": "none"}
    both.append(alone.asked(small, tmp_path / name / "default", "fit_default", **plain_images))
    found = alone.train(name, both, script=__file__, JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="-1")
    plain = alone.train(name.removesuffix("_gpu"), [alone.asked(small, tmp_path / "plain", "fit", **same)])[0]
    assert [sum(answer["looks"]) for answer in found] == [20, 20, 20]
    assert found[0]["accuracy"] == plain["accuracy"]
    assert np.allclose(list(found[0]["sums"].values()), list(plain["sums"].values()), rtol=1e-6)
    assert found[0]["described"]["precision"] == "float32, TF32 off"
    assert found[1]["test_loss"] < plain["test_loss"] * 1.5
    if name != "keras_gpu":  # which tells of several steps at once anyhow
        assert found[0]["looks"] == [1, 9, 1, 9]
    if name in ("torch_gpu", "lightning_gpu"):
        assert found[2]["looks"] == [1, 9, 1, 9]
    assert found[0]["product_error"] < 1e-5


def main(path: str) -> None:
    """Train as `alone` does, with a GPU contender moved to the CPU."""
    given = json.loads(Path(path).read_text())
    kind = contenders.find(given["name"])

    class OnProcessor(kind):  # type: ignore[misc, valid-type]
        device = torch_device = "cpu"

        def load(self) -> None:
            super(kind, self).load()

        def wait(self) -> None:
            pass

    alone.main(OnProcessor(), given["trainings"])


if __name__ == "__main__":
    main(sys.argv[1])
