"""Several devices: the results of one, the same bits in every run, and no process that is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import Command, complaints, flags

from minigrad import blas, devices, recipes, train
from minigrad.classifier import Classifier
from minigrad.parallel import DataParallel
from minigrad.recipes import Model
from minigrad.runs import UserError, history
from minigrad.training import Schedule, backward, build_optimizer, train_epoch

pytestmark = pytest.mark.usefixtures("undrawn")

OUT = Path("out")
SIZES = (7, 1, 16, 5, 2, 16)  # of batches: odd ones, and some with fewer images than devices


@pytest.fixture(autouse=True)
def _four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "processors", lambda: 4)


# The numbers of one device.


def trained(
    model: Model, ranks: int, *, shift: bool = False, dtype: Any = np.float64
) -> tuple[Classifier, list[float]]:
    """Train for two epochs of batches of several sizes; returns the network, and the loss and accuracy of the epochs."""
    rng = np.random.default_rng(3)
    images, labels = rng.integers(0, 256, (sum(SIZES), 8, 8)).astype(np.uint8), rng.integers(0, 3, sum(SIZES))
    shifts = rng.integers(-1, 2, (sum(SIZES), 2)) if shift else None
    net = Classifier(model, (8, 8), 3, seed=4, dtype=dtype)
    optimizer = build_optimizer(net.parameters(), model)
    schedule = Schedule(model.schedule, optimizer, 2 * len(SIZES))
    numbers: list[float] = []

    def epochs(parallel: DataParallel | None) -> None:
        for epoch in range(2):
            (parallel or net).begin_epoch(epoch)
            batches = np.split(rng.permutation(sum(SIZES)), np.cumsum(SIZES)[:-1])
            numbers.extend(train_epoch(net, optimizer, images, labels, batches, schedule, None, shifts, parallel))

    if ranks == 1:
        epochs(None)
    else:
        with DataParallel(net, model, (8, 8), np.uint8, max(SIZES), ranks) as parallel:
            epochs(parallel)
    return net, numbers


MODELS = {
    "dropout and adam": (Model(hidden=[9, 6], dropout=0.4, optimizer="adam", learning_rate=0.01), False),
    "momentum and cosine": (Model(hidden=[9], momentum=0.9, weight_decay=0.01, schedule="cosine"), True),
    "cnn": (Model(architecture="cnn", channels=[2, 3], kernel_size=3, hidden=[5], dropout=0.3), True),
}


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("dropout and adam", 3),
        ("cnn", 2),
        *(
            pytest.param(name, ranks, marks=pytest.mark.slow)
            for name, ranks in (
                ("dropout and adam", 2),
                ("momentum and cosine", 2),
                ("momentum and cosine", 4),
                ("cnn", 5),
            )
        ),
    ],
)
def test_several_devices_train_as_one_does(name: str, ranks: int) -> None:
    model, shift = MODELS[name]
    (alone, expected), (net, numbers) = trained(model, 1, shift=shift), trained(model, ranks, shift=shift)
    start = Classifier(model, (8, 8), 3, seed=4, dtype=np.float64).state_dict()
    for key, weight in net.state_dict().items():
        np.testing.assert_allclose(weight, alone.state_dict()[key], rtol=0, atol=1e-12)
        assert np.abs(weight - start[key]).max() > 1e-3
    np.testing.assert_allclose(numbers, expected, rtol=1e-12)


def test_a_network_stays_usable_after_the_context() -> None:
    net, _ = trained(MODELS["cnn"][0], 2, dtype=np.float32)
    before = net.state_dict()
    net.load_state_dict({name: array + 1 for name, array in before.items()})
    assert np.isfinite(net.predict(np.zeros((2, 8, 8), np.uint8))).all()
    np.testing.assert_array_equal(net.output.weight.data, before["output.weight"] + 1)


# Runs.


def contents(out: str | Path) -> dict[str, bytes]:
    return {
        name: Path(out, name).read_bytes() for name in ("weights.safetensors", "checkpoint.safetensors", "recipe.yaml")
    }


def stopped_after(command: Command, monkeypatch: pytest.MonkeyPatch, epochs: int, *words: str) -> None:
    real = train.ProgressReport.epoch

    def call(self: Any, e: Any) -> None:
        real(self, e)
        if e.epoch == epochs:
            raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(train.ProgressReport, "epoch", call)
        assert command(*words).status == 130


def test_a_continued_run_has_the_bits_of_an_uninterrupted_one(
    hard: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--model.dropout", "0.3", "--model.hidden", "[5, 4]", "--model.optimizer", "adam")
    assert command(*flags(hard, "whole", *words, "--devices", "2")).status == 0
    stopped_after(command, monkeypatch, 2, *flags(hard, OUT, *words, "--devices", "2"))
    text = refused(*flags(hard, OUT, *words, "--resume", "--devices", "3"))
    assert text == "--resume: devices is 3, but the run was made with 2; expected 2, or a new run"
    assert command(*flags(hard, OUT, *words, "--resume")).status == 0  # uses the recorded number
    assert contents(OUT) == contents("whole")
    assert recipes.read_trained(OUT / "recipe.yaml")[1] == {"devices": 2}
    stored = ("--config", "whole/recipe.yaml", "--out", "whole", "--resume")
    assert "finished run" in command(*stored).out


def test_one_device_leaves_no_trace(easy: str, command: Command) -> None:
    command(*flags(easy, "default"))
    command(*flags(easy, OUT, "--devices", "1"))
    assert contents(OUT) == contents("default")
    assert "devices" not in (OUT / "recipe.yaml").read_text()


@pytest.mark.slow
def test_fit_takes_the_number_of_devices(easy: str) -> None:
    recipe = recipes.load("simple")
    recipe.data.path, recipe.data.batch_size, recipe.trainer.max_epochs = easy, 15, 3
    recipe.early_stopping.patience = 2
    one, two = train.fit(recipe, out="one"), train.fit(recipe, out="two", devices=2)
    assert len(one.history) == len(two.history)
    for a, b in zip(one.history, two.history, strict=True):
        np.testing.assert_allclose(list(vars(a).values())[:-1], list(vars(b).values())[:-1], rtol=1e-4)


@pytest.mark.slow
def test_a_run_continues_on_a_machine_with_fewer_processors(
    easy: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(*flags(easy, OUT, "--devices", "3"))
    monkeypatch.setattr(devices, "processors", lambda: 2)
    result = command(*flags(easy, OUT, "--resume", "--trainer.max_epochs", "4"))
    assert (result.status, len(history.read(OUT / "history.csv"))) == (0, 4)
    assert "the run was made with 3 and continues with them, but this process may use only 2" in result.err


# Numbers that are not possible, and `auto`.


@pytest.mark.parametrize(
    ("value", "more", "sentence"),
    [
        ("0", (), "devices: 0; expected a whole number of 1 or more, or auto"),
        ("-1", (), "devices: -1; expected a whole number of 1 or more, or auto"),
        ("many", (), "devices: many; expected a whole number or auto or null"),
        ("1.5", (), "devices: 1.5; expected a whole number or auto or null"),
        ("5", (), "devices: 5; expected at most 4, the number of processors that this process may use"),
        (
            "4",
            ("--data.batch_size", "3"),
            "devices: 4 with data.batch_size 3; expected at most 3, one per image of a batch",
        ),
        (
            "2",
            ("--model.batch_norm", "true"),
            "devices: 2 with model.batch_norm true; expected 1, since batch normalization needs the whole batch on one device",
        ),
    ],
)
def test_an_impossible_number_is_refused(
    value: str, more: tuple[str, ...], sentence: str, easy: str, refused: Callable[..., str]
) -> None:
    assert refused(*flags(easy, OUT, "--devices", value, *more)) == sentence
    assert not OUT.exists()


@pytest.mark.parametrize("value", [0, True, 2.0, "many", 5])
def test_fit_refuses_it_too(value: Any, easy: str) -> None:
    with pytest.raises(UserError, match=f"devices: {value}; expected"):
        train.fit(recipes.load("simple"), out=OUT, devices=value)
    assert not OUT.exists()


def test_a_damaged_number_in_a_run_is_refused(easy: str, command: Command, refused: Callable[..., str]) -> None:
    command(*flags(easy, OUT))
    with (OUT / "recipe.yaml").open("a") as file:
        file.write("devices: [2]\n")
    text = refused(*flags(easy, OUT, "--resume", "--trainer.max_epochs", "4"))
    assert text.startswith("out/recipe.yaml: is damaged (devices is [2]")


@pytest.mark.parametrize(
    ("model", "batch_size", "expected"),
    [
        (Model(architecture="cnn"), 128, "devices: auto chooses 4 of 4\n"),
        (Model(architecture="cnn"), 2, "devices: auto chooses 2 of 4\n"),
        (Model(architecture="cnn", channels=[2, 3], kernel_size=3), 64, "devices: auto chooses 3 of 4\n"),
        (
            Model(architecture="cnn", channels=[2], kernel_size=1),
            128,
            "devices: auto chooses 1 of 4: the convolutions of a step have 1.2 million floating-point operations, fewer than"
            " 3 million per device\n",
        ),
        (
            Model(architecture="cnn", batch_norm=True),
            128,
            "devices: auto chooses 1 of 4: batch_norm needs the whole batch on one device\n",
        ),
        (
            Model(hidden=[1024]),
            128,
            "devices: auto chooses 1 of 4: only networks with convolutions become faster\n",
        ),
    ],
)
def test_auto_counts_the_operations_of_convolutions(
    model: Model, batch_size: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipes.Recipe(model=model, data=recipes.Data(batch_size=batch_size))
    spec = train.NetworkSpec(recipe, (28, 28), 10, 1 / 255)
    number = devices.resolve_devices("auto", spec)
    assert capsys.readouterr().out == expected
    assert expected.startswith(f"devices: auto chooses {number} of 4")


def test_the_operations_of_convolutions_are_counted_by_hand() -> None:
    model = Model(architecture="cnn", channels=[8, 16], kernel_size=5, hidden=[])
    spec = train.NetworkSpec(recipes.Recipe(model=model), (28, 28), 10, 1)
    products = 8 * 25 * 28 * 28 + 8 * 16 * 25 * 14 * 14
    assert devices.convolution_flops_per_step(spec) == 6 * products * spec.recipe.data.batch_size


# The end of a process.


def test_an_exception_in_a_child_ends_the_training(capfd: pytest.CaptureFixture[str]) -> None:
    model = Model(hidden=[4])
    net = Classifier(model, (8, 8), 3)
    with DataParallel(net, model, (8, 8), np.uint8, 4, 2) as ranks:
        ranks.begin_epoch(0)
        labels = np.array([0, 0, 0, 99])  # the last row belongs to the child
        with pytest.raises(RuntimeError, match="the process of device 1 failed with exit status 1; see its traceback"):
            ranks.backward(np.zeros((4, 8, 8), np.uint8), labels)
    assert "expected 0 to 2" in capfd.readouterr().err


def test_a_step_after_an_error_has_the_right_gradients() -> None:
    """The answer of a rank to the step that failed is not taken for that to the next one."""
    model = Model(hidden=[4])
    net = Classifier(model, (8, 8), 3, dtype=np.float64)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8)).astype(np.uint8)
    backward(net, images, np.array([0, 1, 2, 1]))
    expected = [np.array(p.grad) for p in net.parameters()]
    with DataParallel(net, model, (8, 8), np.uint8, 4, 2) as ranks:
        for _ in range(3):
            with pytest.raises(ValueError, match="labels from 0 to 99"):  # in a row of rank 0
                ranks.backward(images, np.array([99, 0, 0, 0]))
        ranks.backward(images, np.array([0, 1, 2, 1]))
        for p, gradient in zip(net.parameters(), expected, strict=True):
            np.testing.assert_allclose(p.grad, gradient, rtol=0, atol=1e-12)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def training(easy: str) -> Iterator[subprocess.Popen[str]]:
    """A training on two devices that has completed an epoch."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor")
    words = [*flags(easy, OUT), "--trainer.max_epochs", "1000000", "--devices", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "minigrad", "train", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually((OUT / "checkpoint.safetensors").exists, process)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("victim", "number", "status", "sentence"),
    [
        (
            "child",
            signal.SIGKILL,
            2,
            "error: devices: the process of device 1 of 2 was ended by SIGKILL; expected it to run",
        ),
        pytest.param("child", signal.SIGINT, 2, "was ended by SIGINT", marks=pytest.mark.slow),
        pytest.param("child", signal.SIGTERM, 143, "stopped; ", marks=pytest.mark.slow),
        pytest.param("rank 0", signal.SIGTERM, 143, "stopped; ", marks=pytest.mark.slow),
        pytest.param("rank 0", signal.SIGINT, 130, "stopped; ", marks=pytest.mark.slow),
        pytest.param("rank 0", signal.SIGKILL, -9, "", marks=pytest.mark.slow),
    ],
)
def test_the_end_of_one_process_ends_all(
    victim: str, number: int, status: int, sentence: str, training: subprocess.Popen[str]
) -> None:
    shared = set(Path("/dev/shm").iterdir())
    (child,) = children(training.pid)
    os.kill(child if victim == "child" else training.pid, number)
    _, err = training.communicate(timeout=60)
    end = time.monotonic() + 10
    while is_running(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_running(child)
    assert training.returncode == status
    assert set(Path("/dev/shm").iterdir()) <= shared
    lines = complaints(err)
    if sentence:
        assert len(lines) == 1
        assert sentence in lines[0]
        assert "completed epochs are kept" in lines[0]
        assert "--out out --resume continues" in lines[0]
    assert history.read(OUT / "history.csv")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_program_needs_no_guard(method: str, easy: str) -> None:
    """The processes do not import the program that calls fit."""
    Path("program.py").write_text(
        f"import multiprocessing; multiprocessing.set_start_method('{method}')\n"
        "from minigrad import devices, recipes, train\n"
        "devices.processors = lambda: 2\n"
        f"recipe = recipes.load('simple'); recipe.data.path = {easy!r}; recipe.data.batch_size = 16\n"
        "recipe.trainer.max_epochs = 2\n"
        "print(len(train.fit(recipe, out='out', devices=2).history))\n"
    )
    root = str(Path(train.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "program.py"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.stdout.endswith("2\n")


# Threads.


def test_matrix_products_use_one_thread_in_the_context() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def numbers() -> set[int]:
        found = threadpoolctl.threadpool_info()
        return {pool["num_threads"] for pool in found if pool["user_api"] == "blas"}

    with blas.threads(2) as is_known:
        if not is_known:
            pytest.skip("NumPy uses another BLAS library")
        assert numbers() == {2}
        with blas.threads(1):
            assert numbers() == {1}
        assert numbers() == {2}
