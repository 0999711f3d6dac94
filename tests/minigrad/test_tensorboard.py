"""--tensorboard: the history's own numbers, each epoch once, and no framework loaded."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import Command, complaints, flags

from minigrad import train
from minigrad.runs import Epoch, history
from minigrad.runs.tensorboard import Histograms

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import STORE_EVERYTHING_SIZE_GUIDANCE, EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as Shown
from tensorboard.util import tensor_util

pytestmark = pytest.mark.usefixtures("undrawn")


def curve(part: str, tag: str, out: str = "out") -> list[tuple[int, float]]:
    """The (step, value) of each point, as TensorBoard reads them."""
    events = EventAccumulator(str(Path(out, "tensorboard", part)))
    events.Reload()
    return [(point.step, point.value) for point in events.Scalars(f"epoch_{tag}")]


def same_as_the_history(out: str = "out") -> None:
    rows = history.read(Path(out, "history.csv"))
    for part, tag, column in (
        ("train", "loss", "train_loss"),
        ("train", "accuracy", "train_accuracy"),
        ("train", "learning_rate", "learning_rate"),
        ("validation", "loss", "val_loss"),
        ("validation", "accuracy", "val_accuracy"),
    ):
        expected = [(row.epoch - 1, pytest.approx(getattr(row, column), rel=1e-6)) for row in rows]
        assert curve(part, tag, out) == expected, (part, tag)


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Ctrl-C when the report hears of the at-th epoch."""
    real = train.ProgressReport.epoch

    def call(self: Any, e: Any) -> None:
        real(self, e)
        if e.epoch == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.ProgressReport, "epoch", call)


def test_it_writes_what_the_history_has(easy: str, command: Command) -> None:
    assert command(*flags(easy, "out", "--tensorboard", "--model.schedule", "cosine")).status == 0
    same_as_the_history()
    assert len(curve("train", "loss")) == 3
    assert {p.name for p in Path("out/tensorboard").iterdir()} == {"train", "validation"}


def test_it_is_never_the_default(easy: str, command: Command) -> None:
    for out, more in (("a", ()), ("b", ("--tensorboard", "false"))):
        assert command(*flags(easy, out, *more)).status == 0
        assert not Path(out, "tensorboard").exists()


def test_without_validation_there_is_no_curve_of_it(easy: str, command: Command) -> None:
    command(*flags(easy, "out", "--tensorboard", "true", "--data.validation_size", "0"))
    assert [p.name for p in Path("out/tensorboard").iterdir()] == ["train"]
    assert len(curve("train", "accuracy")) == 3


@pytest.mark.parametrize("first", [True, False])
def test_a_run_that_goes_on_has_each_epoch_once(
    first: bool, easy: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:
        interrupt(m, at=2)
        command(*flags(easy, "out", *(["--tensorboard"] if first else [])))
    assert command(*flags(easy, "out", "--tensorboard", "--resume")).status == 0
    same_as_the_history()
    assert [step for step, _ in curve("train", "loss")] == [0, 1, 2]


def test_an_epoch_that_was_written_but_not_kept_is_not_there_twice(
    easy: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:
        interrupt(m, at=1)
        command(*flags(easy, "out", "--tensorboard"))
    Path("out/checkpoint.safetensors").unlink()  # as if it had been stopped before the first was written
    assert command(*flags(easy, "out", "--tensorboard", "--resume")).status == 0
    same_as_the_history()


def test_a_run_that_replaces_another_takes_its_curves_away(easy: str, command: Command) -> None:
    command(*flags(easy, "out", "--tensorboard"))
    Path("out/tensorboard/mine.txt").write_text("kept")
    command(*flags(easy, "out", "--overwrite", "--trainer.max_epochs", "1"))
    assert [p.name for p in Path("out/tensorboard").rglob("*") if p.is_file()] == ["mine.txt"]


def test_past_epochs_keep_their_order_in_time(easy: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as m:
        interrupt(m, at=2)
        command(*flags(easy, "out"))
    command(*flags(easy, "out", "--tensorboard", "--resume"))
    events = EventAccumulator("out/tensorboard/train")
    events.Reload()
    times = [point.wall_time for point in events.Scalars("epoch_loss")]
    assert times == sorted(set(times))


def test_without_tensorboard_it_says_what_to_install(
    easy: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    text = refused(*flags(easy, "out", "--tensorboard"))
    assert text == "--tensorboard: true, but TensorBoard is not installed; expected pip install tensorboard first"
    assert not Path("out").exists()


def test_no_framework_is_loaded(easy: str) -> None:
    program = (
        "import sys; from minigrad import train; train.main(sys.argv[1:]);"
        "print(*[name for name in ('tensorflow', 'torch', 'tensorboard') if name in sys.modules])"
    )
    words = flags(easy, "out", "--tensorboard")
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=100)
    assert (done.returncode, complaints(done.stderr)) == (0, [])
    assert done.stdout.splitlines()[-1] == "tensorboard"


# Histograms.


def row(epoch: int) -> Epoch:
    return Epoch(epoch, 1.0, 0.5, None, None, 0.1, 1.0)


def draws(epoch: int) -> dict[str, np.ndarray]:
    """Weights that no two epochs share."""
    rng = np.random.default_rng(epoch)
    return {"output.weight": rng.normal(size=(10, 30)).astype(np.float32), "output.bias": rng.normal(size=10)}


def write_histograms(past: int, until: int) -> None:
    """Train the epochs after `past`, up to `until`."""
    histograms = Histograms(Path("out"))
    histograms.start([row(epoch) for epoch in range(1, past + 1)])
    for epoch in range(past + 1, until + 1):
        histograms.epoch(row(epoch), draws(epoch))


def spread(tag: str) -> list[tuple[int, Any]]:
    """The (step, histogram) of each epoch."""
    events = EventAccumulator("out/tensorboard/weights", STORE_EVERYTHING_SIZE_GUIDANCE)
    events.Reload()
    return [(event.step, event.histogram_value) for event in events.Histograms(tag)]


def shown(tag: str) -> list[tuple[int, np.ndarray]]:
    """The (step, (buckets, 3) array of left, right, count) of each epoch, as the HISTOGRAMS tab draws them."""
    events = Shown("out/tensorboard/weights")
    events.Reload()
    return [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]


def same_as_drawn(epochs: int) -> None:
    for tag, array in draws(1).items():
        found = spread(tag)
        assert [step for step, _ in found] == [step for step, _ in shown(tag)] == list(range(epochs))
        for step, h in found:
            x = draws(step + 1)[tag].astype(float)
            assert (h.num, sum(h.bucket), h.min, h.max) == (array.size, array.size, x.min(), x.max())
            assert (h.sum, h.sum_squares) == (pytest.approx(x.sum()), pytest.approx((x**2).sum()))
            assert np.cumsum(h.bucket).tolist() == [(x <= limit).sum() for limit in h.bucket_limit]


def test_histograms_count_every_weight() -> None:
    write_histograms(0, 3)
    same_as_drawn(3)
    assert [p.name for p in Path("out/tensorboard").iterdir()] == ["weights"]


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_after_a_kill_each_epoch_has_one_histogram(kept: int) -> None:
    """Three were written and `kept` of them are in the checkpoint; twice over, all within one second."""
    write_histograms(0, 3)
    write_histograms(kept, 3)
    write_histograms(kept, 3)
    write_histograms(3, 5)
    same_as_drawn(5)


def test_a_torn_record_hides_none_of_the_others() -> None:
    """Killed while it wrote the third."""
    write_histograms(0, 3)
    (path,) = Path("out/tensorboard/weights").iterdir()
    path.write_bytes(path.read_bytes()[:-40])
    write_histograms(2, 4)
    same_as_drawn(4)


def test_a_tensorboard_that_is_open_shows_each_epoch_once() -> None:
    """It has read what was not kept, and reads on in the new file."""
    write_histograms(0, 3)
    events = Shown("out/tensorboard/weights")
    events.Reload()
    write_histograms(2, 4)
    events.Reload()
    assert [event.step for event in events.Tensors("output.bias")] == [0, 1, 2, 3]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("numbers", "counted"),
    [
        ([], 0),
        ([math.nan, math.inf, -math.inf], 0),
        ([math.nan, 1.0, math.inf, 2.0, 2.0], 3),
        ([0.0] * 7, 7),
        ([1.0, 1.0 + 2**-52], 2),
        ([-5e-324, 5e-324], 2),
        ([-1e308, 1e308, 3.0], 1),
        ([-3e38, 3e38], 2),
    ],
)
def test_histograms_of_odd_numbers(numbers: list[float], counted: int) -> None:
    """What can't be drawn isn't counted, and nothing fails."""
    histograms = Histograms(Path("out"))
    histograms.start([])
    histograms.epoch(row(1), {"x": np.array(numbers)})
    ((step, found),) = spread("x")
    assert (step, found.num, sum(found.bucket)) == (0, counted, counted)
    ((_, drawn),) = shown("x")
    assert drawn[:, 2].sum() == counted
    assert np.isfinite(drawn).all()


def test_scalars_leave_the_histograms(easy: str, command: Command) -> None:
    """One folder holds both, and a run that goes on with scalars alone keeps what is there."""
    write_histograms(0, 3)
    Path("out/tensorboard/weights").rename("weights")
    command(*flags(easy, "out", "--tensorboard"))
    Path("weights").rename("out/tensorboard/weights")
    Path("out/metrics.json").unlink()
    assert command(*flags(easy, "out", "--tensorboard", "--resume")).status == 0
    assert len(list(Path("out/tensorboard/weights").iterdir())) == 1
    same_as_the_history()
