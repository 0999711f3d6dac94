"""Training on several devices equals training on one: two virtual CPU devices in one process; on JAX two processes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import (
    BACKEND,
    CNN,
    Command,
    Result,
    clouds,
    complaints,
    contents,
    ended,
    epochs,
    flags,
    measured,
    once,
    same_run,
    slow_except,
    started,
    weights_of,
)

from keras_model import cli, training
from keras_model.devices import DeviceGroup
from minigrad import datasets
from minigrad.runs import UserError, weights

DEADLINE = 240  # seconds, far more than a run takes
SEVERAL = BACKEND in ("tensorflow", "jax")
several = pytest.mark.skipif(not SEVERAL, reason="Keras on torch supports one device only")
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="Keras supports several processes on JAX only")

# Runs each command in `sys.argv[1]` in one process, since the number of devices can't change within a process, and
# prints the results. The number beside a command is the epoch at whose end Ctrl-C is raised; 0 for none.
COMMANDS = """
import io, json, logging, sys
from contextlib import redirect_stderr, redirect_stdout
from keras_model import cli
from minigrad.runs import run_command

def stopping(at, real):
    def call(self, epoch, logs=None):
        real(self, epoch, logs)
        if epoch + 1 == at:
            raise KeyboardInterrupt
    return call

logging.getLogger("tensorflow").setLevel("ERROR")  # it warns if many models are built in one process
ended = {}
for name, (words, at) in json.loads(sys.argv[1]).items():
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        if at:
            from keras_model.resume import ResumableState
            real = ResumableState.on_epoch_end
            ResumableState.on_epoch_end = stopping(at, real)
        ended[name] = [run_command(cli.PROG, cli.main, words), out, err]
        if at:
            ResumableState.on_epoch_end = real
print(json.dumps({name: [status, out.getvalue(), err.getvalue()] for name, (status, out, err) in ended.items()}))
sys.exit()
"""

Words = dict[str, tuple[list[str], int]]


class Together:
    """Commands in one process with two devices, started at once and awaited when needed."""

    def __init__(self, commands: Words) -> None:
        self.process = started(json.dumps(commands), first=COMMANDS)

    @cache  # noqa: B019 (few objects, which live as long as the tests)
    def all(self) -> dict[str, Result]:
        out, err = self.process.communicate(timeout=DEADLINE)
        assert (self.process.returncode, complaints(err)) == (0, []), err
        return {name: Result(*found) for name, found in json.loads(out).items()}

    def good(self, name: str) -> Result:
        """The result of a command that must have succeeded."""
        found = self.all()[name]
        assert (found.status, complaints(found.err)) == (0, []), found
        return found

    def refused(self, name: str) -> str:
        """The message of a command that must have been refused."""
        found = self.all()[name]
        assert (found.status, found.out, len(found.err.splitlines())) == (2, "", 1), found
        return found.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="module")
def odd(folder: Path) -> str:
    """137 vectors to train: 20 held out and batches of 16 leave 7 whole batches and 5 vectors."""
    return saved(folder / "odd.npz", 137)


@pytest.fixture(scope="module")
def one_over(folder: Path) -> str:
    """133 vectors to train: 20 held out and batches of 16 leave 7 whole batches and one vector."""
    return saved(folder / "one_over.npz", 133)


def saved(path: Path, train: int) -> str:
    arrays = clouds(0, train + 40, 0.5)
    np.savez(
        path,
        x_train=np.concatenate([arrays["x_train"], arrays["x_test"]])[:train],
        y_train=np.concatenate([arrays["y_train"], arrays["y_test"]])[:train],
        x_test=arrays["x_test"],
        y_test=arrays["y_test"],
    )
    return str(path)


TWO = ("--devices", "2")
HELD_OUT = ("--data.validation_size", "20")
CNN_WORDS = (*CNN, "--data.validation_size", "1400", "--trainer.max_epochs", "2")
ONE_EPOCH = ("--trainer.max_epochs", "1")


@pytest.fixture(scope="module")
def together(folder: Path, easy: str, pixels: str, one_over: str) -> Iterator[Together]:
    """The runs on two devices that are always tested."""
    commands: Words = {
        "cnn": (["fit", *flags(pixels, folder / "cnn", *CNN_WORDS, *TWO)], 0),
        "one over": (["fit", *flags(one_over, folder / "one over", *HELD_OUT, *TWO, *ONE_EPOCH)], 0),
        "batch": (["fit", *flags(easy, folder / "new", *TWO, "--data.batch_size", "15")], 0),
        "validation": (["fit", *flags(easy, folder / "new", *TWO, "--data.validation_size", "31")], 0),
        "more": (["fit", *flags(easy, folder / "new", "--devices", "3", "--data.batch_size", "15")], 0),
    }
    found = Together(commands)
    yield found
    ended([found.process])


@pytest.fixture(scope="module")
def further(folder: Path, easy: str, odd: str) -> Iterator[Together]:
    """The runs on two devices of the slow tests."""
    commands: Words = {
        "mlp": (["fit", *flags(easy, folder / "mlp", *TWO)], 0),
        "odd": (["fit", *flags(odd, folder / "odd", *HELD_OUT, *TWO)], 0),
        "stopped": (["fit", *flags(easy, folder / "parts", *TWO)], 1),
        "on one": (["fit", *flags(easy, folder / "parts"), "--resume"], 0),
        "resumed": (["fit", *flags(easy, folder / "parts", *TWO), "--resume"], 0),
        "one": (["fit", *flags(easy, folder / "one")], 0),
    }
    found = Together(commands)
    yield found
    ended([found.process])


@pytest.fixture(scope="module")
def cnn_on_one(folder: Path, pixels: str) -> Path:
    """The cnn on one device, in this process."""
    cli.main(["fit", *flags(pixels, folder / "cnn on one", *CNN_WORDS)])
    return folder / "cnn on one"


def alike(a: Path, b: Path, tolerance: float = 1e-6) -> None:
    """The same history, and the same weights."""
    np.testing.assert_allclose(np.array(epochs(a), float), np.array(epochs(b), float), rtol=tolerance, atol=tolerance)
    x, y = weights_of(a), weights_of(b)
    assert x.keys() == y.keys()
    for name in x:
        np.testing.assert_allclose(x[name], y[name], rtol=0, atol=10 * tolerance, err_msg=name)
    assert measured(a)["test_correct"] == measured(b)["test_correct"]
    assert measured(a)["test_loss"] == pytest.approx(measured(b)["test_loss"], rel=10 * tolerance)


@pytest.mark.slow
@slow_except("jax", "torch")
@several
def test_batch_norm_sees_the_whole_batch(together: Together, folder: Path, cnn_on_one: Path) -> None:
    """A cnn with shifted images, Adam and a schedule; statistics of half batches would change its losses by a tenth."""
    together.good("cnn")
    alike(folder / "cnn", cnn_on_one, 2e-5)


def trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of an even number of images, as two devices see them."""
    real = datasets.batches
    monkeypatch.setattr(datasets, "batches", lambda *order: (b[: len(b) // 2 * 2] for b in real(*order)))


def one_is_skipped(
    found: Together, path: Path, data: str, images: int, steps: int, command: Command, *more: str
) -> None:
    """Check the printed number, and that the other images are trained on as on one device, batch by batch."""
    assert f"{images} images on 2 devices: 1 skipped per epoch" in " ".join(found.good(path.name).out.split())
    assert weights.read(path / "checkpoint.safetensors")[0]["optimizer.0"] == steps
    assert command("fit", *flags(data, "one", *HELD_OUT, *more)).status == 0
    alike(path, Path("one"))


@pytest.mark.slow
@several
def test_a_remaining_image_is_skipped(
    together: Together, folder: Path, one_over: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch would have one image, and is left out."""
    trimmed(monkeypatch)
    one_is_skipped(together, folder / "one over", one_over, 113, 7, command, *ONE_EPOCH)


@several
@pytest.mark.slow
def test_one_of_several_remaining_images_is_skipped(
    further: Together, folder: Path, odd: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch would have five images, and has four."""
    trimmed(monkeypatch)
    one_is_skipped(further, folder / "odd", odd, 117, 3 * 8, command)


@several
@pytest.mark.slow
def test_two_devices_train_as_one(further: Together, folder: Path, easy: str, command: Command) -> None:
    """The last batch has two images, one per device."""
    assert command("fit", *flags(easy, "one")).status == 0
    assert "skipped" not in further.good("mlp").out
    alike(folder / "mlp", Path("one"))


@several
@pytest.mark.slow
def test_a_process_of_two_devices_trains_on_one_too(further: Together, folder: Path) -> None:
    """The second device changes nothing."""
    further.good("one")
    alike(folder / "one", folder / "mlp")


@once
@pytest.mark.parametrize(("devices", "processes"), [(2, 1), (2, 2), (4, 2), (3, 3)])
@pytest.mark.parametrize("size", [113, 117, 120])
def test_shares_cover_an_epoch(size: int, devices: int, processes: int) -> None:
    """Each image is in one share of its batch, except those skipped, which differ between epochs; shares are equal."""
    batch_size, skipped = 4 * devices, []
    for epoch in range(3):
        seen: list[int] = []
        for batch in datasets.batches(size, batch_size, 0, epoch):
            shares = [DeviceGroup(devices=devices, rank=r, processes=processes).share(batch) for r in range(processes)]
            assert len({len(share) for share in shares}) == 1
            assert len(shares[0]) % (devices // processes) == 0
            np.testing.assert_array_equal(np.concatenate(shares), batch[: len(batch) // devices * devices])
            seen += list(np.concatenate(shares))
        assert len(seen) == len(set(seen)) == size - size % devices
        skipped.append(set(range(size)) - set(seen))
    assert size % devices == 0 or skipped[0] != skipped[1] != skipped[2]


@several
@pytest.mark.slow
def test_a_run_on_two_devices_goes_on_exactly(further: Together, folder: Path) -> None:
    """The resumed run is equal to the last bit."""
    assert further.all()["stopped"].status == 130
    assert "1 completed epochs are kept" in further.all()["stopped"].err
    further.good("resumed")
    same_run(folder / "parts", folder / "mlp")


@several
@pytest.mark.slow
def test_it_does_not_go_on_on_another_number(further: Together) -> None:
    """Sums in another order have other rounding errors."""
    assert "--resume: devices is 1, but the run was made with 2; expected 2" in further.refused("on one")


@several
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("batch", "data.batch_size: 15 on 2 devices; expected a multiple of 2"),
        ("validation", "data.validation_size: 31 on 2 devices; expected a multiple of 2"),
        ("more", "devices: 3; expected at most 2, the number of CPU devices available"),
    ],
)
def test_what_cannot_be_shared_is_refused(name: str, said: str, together: Together, folder: Path) -> None:
    """No folder is created."""
    assert said in together.refused(name)
    assert not (folder / "new").exists()


@pytest.mark.parametrize("devices", ["2", "64"])
def test_more_devices_than_there_are(devices: str, easy: str, refused: Callable[..., str]) -> None:
    """This process has one device, which can't change after the first computation; Keras on torch supports one only."""
    float(keras.ops.sum(keras.ops.ones(2)))
    text = refused("fit", *flags(easy, "out", "--devices", devices, "--data.batch_size", "64"))
    said = (
        "at most 1, the number of CPU devices"
        if SEVERAL
        else f"devices: {devices} on torch; expected KERAS_BACKEND tensorflow"
    )
    assert said in text
    assert not Path("out").exists()


@once
@pytest.mark.parametrize("devices", ["0", "-1", "two", "1.5", "null", "[2]"])
def test_no_number_of_devices(devices: str, easy: str, refused: Callable[..., str]) -> None:
    """The message names the option."""
    assert refused("fit", *flags(easy, "out", f"--devices={devices}")).startswith("devices: ")
    assert not Path("out").exists()


@once
def test_a_refusal_costs_no_earlier_run(easy: str, refused: Callable[..., str], command: Command) -> None:
    """Also with --overwrite."""
    assert command("fit", *flags(easy, "out", "--trainer.max_epochs", "1")).status == 0
    before = contents("out")
    refused("fit", *flags(easy, "out", "--devices", "2"), "--overwrite")
    refused("fit", *flags(easy, "out", "--devices", "0"), "--overwrite")
    assert contents("out") == before


# Several processes.

NAME = "KERAS_DISTRIBUTION_{}"


def environment(addresses: str | None, processes: Any = 2, rank: Any = 0) -> dict[str, str]:
    given = {"JOB_ADDRESSES": addresses, "NUM_PROCESSES": processes, "PROCESS_ID": rank}
    return {NAME.format(key): str(value) for key, value in given.items() if value is not None}


def free_address() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def said(out: str) -> str:
    """The output without the line that JAX's C++ code prints on a CPU."""
    return "".join(line for line in out.splitlines(keepends=True) if not line.startswith("[Gloo]"))


@on_jax
@pytest.mark.slow
def test_two_processes_train_as_one(folder: Path, pixels: str, cnn_on_one: Path) -> None:
    """Each process trains on half of a batch; only the first writes files and prints."""
    words, address = ["fit", *flags(pixels, "out", *CNN_WORDS)], free_address()
    pair = [started(*words, **environment(address, rank=rank)) for rank in range(2)]
    try:
        (out, err), (out_2, err_2) = (process.communicate(timeout=DEADLINE) for process in pair)
    finally:
        ended(pair)
    assert [process.returncode for process in pair] == [0, 0], (err, err_2)
    assert (complaints(err), complaints(err_2), said(out_2)) == ([], [], "")
    assert out.strip().splitlines()[-1].startswith("test accuracy")
    alike(cnn_on_one, Path("out"), 2e-5)
    assert {path.name for path in Path().iterdir()} - {"cache"} == {"out"}
    assert contents("out").keys() == contents(cnn_on_one).keys()


@on_jax
@pytest.mark.slow
def test_two_processes_of_two_devices_go_on_exactly(easy: str) -> None:
    """Both are stopped at the end of an epoch; the second process resumes from the state of the first."""
    stop = """
from keras_model.startup import starting
with starting():
    from keras_model.resume import ResumableState
real = ResumableState.on_epoch_end
def call(self, epoch, logs=None):
    real(self, epoch, logs)
    if epoch == 0:
        raise KeyboardInterrupt
ResumableState.on_epoch_end = call
"""
    words = ["--data.batch_size", "20", "--data.validation_size", "40", "--devices", "2"]

    def run(out: str, *more: str, first: str = "") -> list[Result]:
        address = free_address()
        argv = ["fit", *flags(easy, out, *words), *more]
        pair = [started(*argv, first=first, **environment(address, rank=rank)) for rank in range(2)]
        try:
            said = [process.communicate(timeout=DEADLINE) for process in pair]
        finally:
            ended(pair)
        return [Result(process.returncode, *s) for process, s in zip(pair, said, strict=True)]

    assert [r.status for r in run("whole")] == [0, 0]
    assert [r.status for r in run("parts", first=stop)] == [130, 130]
    assert not Path("parts/metrics.json").exists()
    resumed = run("parts", "--resume")
    assert [(r.status, complaints(r.err)) for r in resumed] == [(0, []), (0, [])]
    same_run("parts", "whole")


BAD: dict[str, dict[str, str]] = {
    "a number too large": environment("127.0.0.1:1", 2, 2),
    "a negative number": environment("127.0.0.1:1", 2, -1),
    "no number": environment("127.0.0.1:1", 2, "first"),
    "no processes": environment("127.0.0.1:1", 0),
    "processes in words": environment("127.0.0.1:1", "two"),
    "an empty number": environment("127.0.0.1:1", 2, ""),
}
BAD_ADDRESSES: dict[str, dict[str, str]] = {
    "none": environment(None),
    "empty": environment(""),
    "no port": environment("127.0.0.1"),
    "no host": environment(":1234"),
    "no number as port": environment("127.0.0.1:port"),
    "a port too large": environment("127.0.0.1:65536"),
    "three for two": environment("a:1,b:2,c:3"),
}


def with_environment(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@once
@pytest.mark.parametrize("name", BAD)
def test_processes_that_make_no_sense(
    name: str, easy: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable, and comes before Keras is imported."""
    with_environment(BAD[name], monkeypatch)
    assert "KERAS_DISTRIBUTION_" in refused("fit", *flags(easy, "out"))
    assert not Path("out").exists()


@on_jax
@pytest.mark.parametrize("name", BAD_ADDRESSES)
@pytest.mark.parametrize("rank", ["0", "1"])
def test_addresses_that_make_no_sense(
    rank: str, name: str, easy: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process waits for one that can't be reached."""
    with_environment({**BAD_ADDRESSES[name], NAME.format("PROCESS_ID"): rank}, monkeypatch)
    text = refused("fit", *flags(easy, "out"))
    assert "KERAS_DISTRIBUTION_JOB_ADDRESSES" in text
    assert "HOST:PORT" in text
    assert not Path("out").exists()


@pytest.mark.skipif(BACKEND == "jax", reason="JAX supports several processes")
@pytest.mark.parametrize("rank", ["0", "1"])
def test_several_processes_elsewhere(
    rank: str, easy: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the backend that supports it."""
    with_environment(environment("127.0.0.1:1", rank=rank), monkeypatch)
    text = refused("fit", *flags(easy, "out"))
    assert f"on {BACKEND}; expected KERAS_BACKEND" in text
    assert "jax" in text
    assert not Path("out").exists()


@pytest.mark.slow
def test_one_process_that_says_so(easy: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher may set the variables for a single process."""
    with_environment(environment("127.0.0.1:1", 1, 0), monkeypatch)
    assert command("fit", *flags(easy, "out", "--trainer.max_epochs", "1")).status == 0


@once
def test_other_commands_ask_for_no_devices(easy: str, refused: Callable[..., str]) -> None:
    """They use one device."""
    for subcommand in ("test", "predict"):
        assert "--devices" in refused(subcommand, "--data.path", easy, "--devices", "2")


def test_in_python_too(easy: str) -> None:
    """`training.fit` refuses as the command does."""
    from keras_model.options import Options
    from minigrad.recipes import Recipe

    recipe = Recipe()
    recipe.data.batch_size = 16
    with pytest.raises(UserError, match="devices: 2"):
        training.fit(recipe, datasets.load(easy, 30, 42), Path("out"), Options(devices=2))
    assert not Path("out").exists()


# Options on two devices.


@pytest.fixture(scope="module")
def more(folder: Path, easy: str, hard: str) -> Iterator[Together]:
    """Options beside devices."""
    found = Together({name: (["fit", *flags(easy, folder / name, *words)], 0) for name, words in OPTIONS.items()})
    yield found
    ended([found.process])


OPTIONS = {
    f"{name} {devices}": (*words, "--devices", str(devices))
    for devices in (2, 1)  # which settles how many there are
    for name, words in {
        "ema": ("--ema", "0.9"),
        "momentum": ("--model.momentum", "0.9"),
        "decay": ("--model.optimizer", "adamw", "--model.weight_decay", "0.1", "--model.learning_rate", "0.01"),
        "plateau": ("--model.schedule", "reduce_on_plateau", "--early_stopping.patience", "2"),
        "bfloat16": ("--precision", "mixed_bfloat16"),
        "float16": ("--precision", "mixed_float16"),
        "dropout": ("--model.dropout", "0.3"),
    }.items()
}


@several
@pytest.mark.slow
@pytest.mark.parametrize("name", [name.removesuffix(" 1") for name in OPTIONS if name.endswith("1")])
def test_options_on_two_devices(name: str, more: Together, folder: Path) -> None:
    """The same training as on one device, except with half precision or dropout, where it must learn."""
    more.good(f"{name} 1")
    more.good(f"{name} 2")
    if name in ("bfloat16", "float16", "dropout"):
        losses = [row[1] for row in epochs(folder / f"{name} 2")]
        assert losses == sorted(losses, reverse=True)
        assert measured(folder / f"{name} 2")["test_accuracy"] > 0.8
    else:
        alike(folder / f"{name} 2", folder / f"{name} 1")
