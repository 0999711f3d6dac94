"""The ground floor of runs: whole files, folders, history, weights, metrics, pictures, exit statuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrad_helpers import sentence_of

from minigrad.recipes import Model, Recipe
from minigrad.runs import (
    Epoch,
    NetworkSpec,
    Stopped,
    UserError,
    curves,
    history,
    metrics,
    run_command,
    weights,
    whole_file,
    write_json,
)

# Whole files.


def test_a_file_is_replaced_once_the_block_is_through() -> None:
    path = Path("a.txt")
    path.write_text("old")
    with whole_file(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
        assert draft.suffix == ".txt"
        assert draft.parent == path.parent
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_old_file_stays_when_the_block_raises(error: type[BaseException]) -> None:
    path = Path("a.txt")
    path.write_text("old")

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise error

    with pytest.raises(error), whole_file(path) as draft:
        fail(draft)
    assert path.read_text() == "old"
    assert list(Path().iterdir()) == [path]


def test_json_refuses_nan_and_leaves_nothing() -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(Path("a.json"), {"x": float("nan")})
    assert not list(Path().iterdir())


# History.

number, fraction = st.floats(0, allow_infinity=False), st.floats(0, 1)
rows = st.builds(Epoch, st.just(1), number, fraction, st.none() | number, st.none() | fraction, number, number)


@settings(max_examples=60)
@given(st.lists(rows, max_size=5), st.integers(1, 10**6))
def test_a_history_is_read_back_to_the_last_bit(values: list[Epoch], first: int) -> None:
    epochs = [replace(epoch, epoch=first + i) for i, epoch in enumerate(values)]
    history.write(Path("history.csv"), epochs)
    assert history.read(Path("history.csv")) == epochs


def test_a_history_has_a_header_and_a_line_an_epoch() -> None:
    history.write(Path("history.csv"), [Epoch(1, 0.5, 0.25, None, None, 0.1, 2.0)])
    assert Path("history.csv").read_text() == (
        "epoch,train_loss,train_accuracy,val_loss,val_accuracy,learning_rate,seconds\n1,0.5,0.25,,,0.1,2.0\n"
    )


@pytest.mark.parametrize("content", [None, b"a,b\n1,2\n", b"epoch,train_loss\n1,x\n", b"\xff\xfe"])
def test_what_is_no_history_is_refused(content: bytes | None) -> None:
    if content is not None:
        Path("history.csv").write_bytes(content)
    text = sentence_of(lambda: history.read(Path("history.csv")))
    assert "history.csv" in text
    assert "train_loss" in text


# Weights.

FILE = Path("w.safetensors")
# A network of two inputs, a hidden layer of three units and four classes.
SPEC = NetworkSpec(Recipe(model=Model(hidden=[3])), (2,), 4, 1.0)
SHAPES = SPEC.shapes()
GOOD = {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for name, shape in SHAPES.items()}


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text("abcdef.0", min_size=1, max_size=8),
        hnp.arrays(st.sampled_from([np.float32, np.float64]), hnp.array_shapes(max_dims=3, max_side=4)),
        max_size=3,
    ),
    st.booleans(),
)
def test_weights_are_read_back_to_the_last_bit(given_: dict[str, np.ndarray], fortran: bool) -> None:
    arrays = {name: np.asfortranarray(a) if fortran else a for name, a in given_.items()}
    weights.write(FILE, arrays, {"note": "é"})
    found, metadata = weights.read(FILE)
    assert found.keys() == given_.keys()
    for name, a in given_.items():
        assert (found[name].dtype, found[name].shape) == (a.dtype, a.shape)
        assert found[name].tobytes() == a.tobytes()
    assert metadata == {"note": "é"}


def test_weights_say_what_the_network_expects() -> None:
    for scale, said in ((1 / 255, "1/255"), (1.0, "1")):
        spec = NetworkSpec(Recipe(), (28, 28), 2, scale, {"a": 1}, ("a", "b"), True)
        assert json.loads(spec.metadata()["minigrad"]) == {
            "recipe": {**Recipe().as_dict(), "not_in_recipe": {"a": 1}},
            "input_shape": [28, 28],
            "classes": 2,
            "input_scale": said,
            "class_names": ["a", "b"],
            "mnist_like": True,
        }


def test_weights_that_fit_are_taken() -> None:
    weights.write(FILE, GOOD, SPEC.metadata())
    found = weights.load_for(FILE, SPEC)
    assert all((found[name] == GOOD[name]).all() for name in SHAPES)
    spec, found = weights.load(FILE)
    assert spec == SPEC
    assert all((found[name] == GOOD[name]).all() for name in SHAPES)
    assert weights.read_spec(FILE) == SPEC
    weights.write(FILE, GOOD, {})  # without metadata, the scale cannot be checked
    weights.load_for(FILE, replace(SPEC, input_scale=1 / 255))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (GOOD | {"hidden.0.weight": np.ones((2, 3))}, ("hidden.0.weight", "shape (2, 3)", "expected (3, 2)")),
        ({k: a for k, a in GOOD.items() if k != "hidden.0.bias"}, ("hidden.0.bias", "the file lacks it")),
        (GOOD | {"more": np.ones(1)}, ("more", "no such weight")),
        (GOOD | {"hidden.0.bias": np.array([0, np.nan, 0])}, ("hidden.0.bias", "NaN", "finite")),
        (GOOD | {"hidden.0.bias": np.array([0, np.inf, 0])}, ("hidden.0.bias", "inf", "finite")),
    ],
)
def test_weights_that_do_not_fit_are_refused(arrays: dict[str, np.ndarray], words: tuple[str, ...]) -> None:
    weights.write(FILE, arrays, SPEC.metadata())
    for load in (lambda: weights.load_for(FILE, SPEC), lambda: weights.load(FILE)):
        text = sentence_of(load)
        for word in ("model.weights", "w.safetensors", *words):
            assert word in text, text


def test_weights_of_another_scale_are_refused() -> None:
    weights.write(FILE, GOOD, replace(SPEC, input_scale=1 / 255).metadata())
    text = sentence_of(lambda: weights.load_for(FILE, SPEC))
    assert "scaled by 1/255" in text
    assert "scaled by 1" in text.replace("1/255", "")


def test_a_weights_file_cut_anywhere_is_refused() -> None:
    weights.write(FILE, GOOD, {})
    whole = FILE.read_bytes()
    for n in range(len(whole)):
        FILE.write_bytes(whole[:n])
        assert "w.safetensors" in sentence_of(lambda: weights.read(FILE))


@pytest.mark.parametrize("content", [b"hello, world, this is no weights file", None])
def test_what_is_no_weights_file_is_refused(content: bytes | None) -> None:
    if content is not None:
        FILE.write_bytes(content)
    text = sentence_of(lambda: weights.read(FILE))
    assert "model.weights: w.safetensors" in text


def test_numbers_that_numpy_does_not_know_are_refused() -> None:
    header = json.dumps({"hidden.0.bias": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    FILE.write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    text = sentence_of(lambda: weights.read(FILE))
    assert "w.safetensors" in text


# Metrics.


def test_score_counts_and_averages() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.25, 0.5, 0.25], [0.2, 0.2, 0.6]]))
    found = metrics.score(logits, np.array([0, 1, 2, 2]))
    assert (found["correct"], found["images"], found["accuracy"]) == (3, 4, 0.75)
    assert found["loss"] == pytest.approx(-np.log([0.5, 0.8, 0.25, 0.6]).mean(), rel=1e-13)
    named = metrics.test_metrics(logits, np.array([0, 1, 2, 2]))
    assert named == {f"test_{key}": value for key, value in found.items()}
    assert metrics.test_accuracy_text(named) == "test accuracy 75.00 % (3 of 4)"


def test_score_does_not_overflow() -> None:
    found = metrics.score(np.array([[1e4, -1e4]], np.float32), np.array([1]))
    assert found["loss"] == 2e4


def test_predictions_are_index_label_and_a_probability_a_class() -> None:
    metrics.write_predictions(Path("p.csv"), np.log(np.array([[0.25, 0.75], [0.5, 0.5]])))
    assert Path("p.csv").read_text() == "index,label,probability_0,probability_1\n0,1,0.25,0.75\n1,0,0.5,0.5\n"


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_refused(loss: float) -> None:
    text = sentence_of(lambda: metrics.check_loss(loss, 3, 100.0))
    for word in ("model.learning_rate: 100.0", "epoch 3", "smaller"):
        assert word in text
    metrics.check_loss(1e30, 3, 100.0)


# Curves.


@pytest.mark.parametrize("validation", [0.5, None])
def test_curves_are_a_png(validation: float | None) -> None:
    epochs = [Epoch(i, 1 / i, 0.5, validation, validation, 0.1, 1.0) for i in (1, 2, 3)]
    curves.draw(Path("curves.png"), epochs, "minigrad")
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


# Exit statuses.


def ends_with(error: BaseException | None, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    def main(_: object) -> None:
        if error is not None:
            raise error

    return run_command("prog", main, []), capsys.readouterr().err.strip()


def test_a_command_ends_with_a_status_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(None, capsys) == (0, "")
    assert ends_with(UserError("no such thing"), capsys) == (2, "prog: error: no such thing")
    assert ends_with(Stopped("2 kept"), capsys) == (130, "prog: stopped; 2 kept")
    assert ends_with(KeyboardInterrupt(), capsys) == (130, "prog: stopped")
    with pytest.raises(ZeroDivisionError):  # a bug of ours keeps its traceback
        ends_with(ZeroDivisionError(), capsys)
