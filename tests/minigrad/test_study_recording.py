"""A recorded training step: the arrays are those of the engine, and each mistake is really made."""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from minigrad import Tensor, datasets, ops, optim, recipes, train
from minigrad.classifier import Classifier
from minigrad.modes import mode
from minigrad.recipes import Recipe
from minigrad.runs import UserError
from minigrad.study import page, step
from minigrad.study.__main__ import command
from minigrad.study.recording import Recorder
from minigrad.study.subjects import recordings

pytestmark = pytest.mark.usefixtures("undrawn")


def small_recipe(path: str, **model: Any) -> Recipe:
    return Recipe.from_dict(
        {"model": {"hidden": [4], **model}, "data": {"path": path, "batch_size": 8}, "trainer": {"max_epochs": 2}}
    )


@pytest.fixture
def data(easy: str) -> datasets.Dataset:
    return datasets.load(easy, None, 42)


def record(recipe: Recipe, data: datasets.Dataset, number: int = 1) -> dict[tuple[str, str | None], dict[str, Any]]:
    found, _ = recordings(step.state_at(recipe, data, number), 0)
    return {(r["subject"], r["mistake"]): r for r in found}


def tensors(recording: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {tensor["name"]: tensor for tensor in recording["tensors"]}


def trained(recipe: Recipe, data: datasets.Dataset, steps: int) -> tuple[Classifier, list[float]]:
    """The network after some steps in float64, with the gradients of the last one, and the losses."""
    spec_scale = data.input_scale
    single = Classifier(recipe.model, data.input_shape, data.classes, spec_scale, 42)
    net = Classifier(recipe.model, data.input_shape, data.classes, spec_scale, 42, np.float64)
    net.load_state_dict(single.state_dict())
    optimizer = (
        optim.Adam(net.parameters(), 0.01) if recipe.model.optimizer == "adam" else optim.SGD(net.parameters(), 0.1)
    )
    losses = []
    for batch in list(datasets.batches(len(data.train.labels), 8, 42, 0))[:steps]:
        loss = ops.cross_entropy(net(data.train.images[batch]), data.train.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses


@pytest.mark.parametrize(("model", "number"), [({}, 1), ({}, 4), ({"optimizer": "adam", "learning_rate": 0.01}, 3)])
def test_the_step_is_that_of_the_training(
    easy: str, data: datasets.Dataset, model: dict[str, Any], number: int
) -> None:
    """Loss, gradients and updated weights are bit for bit those of an ordinary training in float64."""
    recipe = small_recipe(easy, **model)
    recording = record(recipe, data, number)["network", None]
    net, losses = trained(recipe, data, number)
    assert recording["loss"] == losses[-1]
    updates = {recording["tensors"][e["tensor"]]["name"]: e for e in recording["events"] if e["kind"] == "update"}
    for name, parameter in net.named_parameters():
        np.testing.assert_array_equal(tensors(recording)[name]["gradient"], parameter.grad)
        np.testing.assert_array_equal(updates[name]["after"], parameter.data)


@pytest.mark.parametrize(
    "changes",
    [
        {"model.schedule": "reduce_on_plateau", "model.learning_rate": 1e-6},
        {"model.schedule": "one_cycle", "model.momentum": 0.9},
        {"model.dropout": 0.4, "data.augment": "shift", "data.batch_size": 500},
        {"early_stopping.patience": 3},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_later_step_is_that_of_the_run(changes: dict[str, Any], tmp_path: Path) -> None:
    """The learning rate and, up to float32, the weights after the last step are those of `train.fit`."""
    content: dict[str, Any] = {"trainer": {"max_epochs": 6}, "data": {"path": "digits"}, "model": {}}
    for key, value in changes.items():
        section, name = key.split(".")
        content.setdefault(section, {})[name] = value
    recipe = Recipe.from_dict(content)
    data = datasets.load("digits", None, recipe.seed_everything)
    result = train.fit(recipe, data, tmp_path / "run")
    last = datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size) * 6
    recording = record(recipe, data, last)["network", None]
    updates = {recording["tensors"][e["tensor"]]["name"]: e for e in recording["events"] if e["kind"] == "update"}
    saved = load_file(tmp_path / "run" / "weights.safetensors")
    for name, event in updates.items():
        np.testing.assert_allclose(event["after"], saved[name], atol=1e-5)
        if recipe.model.schedule == "reduce_on_plateau":
            assert event["lr"] == result.history[-1].learning_rate < recipe.model.learning_rate


def test_early_stopping_ends_the_training(easy: str, data: datasets.Dataset) -> None:
    recipe = small_recipe(easy, learning_rate=0.0)
    recipe.early_stopping.patience = 1
    recipe.trainer.max_epochs = 9
    with pytest.raises(UserError, match="early stopping ends the training after step 36; expected at most that"):
        step.state_at(recipe, data, 100)


def test_a_loss_that_is_not_finite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data.path", "digits", "--model.hidden", "[10,10,10,10]", "--model.learning_rate", "1e30"]
    assert command(["step", *flags, "--step", "6"]) == 2
    assert "the loss is nan; expected a smaller model.learning_rate, or an earlier step" in capsys.readouterr().err


def test_a_network_in_another_order_of_classes_keeps_its_order(tmp_path: Path) -> None:
    """As in `train`, the classes are in the order of the weights file that the training starts from."""
    rng = np.random.default_rng(0)
    x, names = rng.random((40, 6)).astype(np.float32), np.array(["a", "b"] * 20)
    for file, order in (("first.npz", names), ("second.npz", names)):
        np.savez(file, x_train=x, y_train=order, x_test=x[:10], y_test=order[:10])
    recipe = small_recipe("first.npz")
    data = datasets.load("first.npz", None, 42)
    other = replace(data, class_names=data.class_names[::-1])
    train.fit(recipe, other, tmp_path / "run")
    continued = small_recipe("first.npz", weights=str(tmp_path / "run" / "weights.safetensors"))
    header = page_header(step.page_of(continued, data))
    assert header["batch"]["class_names"] == list(other.class_names)


def test_weight_decay_is_in_the_formula(easy: str, data: datasets.Dataset) -> None:
    for kind in ("sgd", "adam", "adamw"):
        recording = record(small_recipe(easy, optimizer=kind, weight_decay=0.5), data)["network", None]
        event = next(event for event in recording["events"] if event["kind"] == "update")
        assert r"\lambda" in event["formula"]
        assert event["weight_decay"] == 0.5
        if kind == "sgd":
            change = event["lr"] * (event["gradient"] + 0.5 * event["before"])
            np.testing.assert_allclose(event["after"], event["before"] - change, rtol=1e-12)


def test_events_follow_the_engine(easy: str, data: datasets.Dataset) -> None:
    recording = record(small_recipe(easy), data)["network", None]
    events = recording["events"]
    forward = [event["op"] for event in events if event["kind"] == "forward"]
    assert forward == ["linear", "relu", "linear", "cross_entropy"]
    backward = [(event["op"], event["operand"]) for event in events if event["kind"] == "backward"]
    assert backward[0] == ("cross_entropy", "input")
    assert sorted(backward[1:4]) == [("linear", "bias"), ("linear", "input"), ("linear", "weight")]
    assert backward[4] == ("relu", "input")
    assert sorted(backward[5:]) == [("linear", "bias"), ("linear", "weight")]
    for event in events:
        if event["kind"] == "backward":  # the lines of the pullback are in the source of the rule
            source = recording["sources"][event["source"]]
            text = source["text"].splitlines()
            assert source["file"].startswith("minigrad/ops/")
            assert event["lines"]
            assert all(0 <= line - source["first"] < len(text) for line in event["lines"])
    relu = next(event for event in events if event["kind"] == "backward" and event["op"] == "relu")
    source = recording["sources"][relu["source"]]
    assert "lambda g: g * (y != 0)" in source["text"].splitlines()[relu["lines"][0] - source["first"]]


def test_inputs_labels_and_constants_are_in_the_graph(easy: str, data: datasets.Dataset) -> None:
    found = record(small_recipe(easy), data)
    for subject in ("network", "small_steps"):
        recording = found[subject, None]
        boxes = [recording["tensors"][box["tensor"]] for box in recording["graph"]["boxes"]]
        assert {box["name"] for box in boxes} >= {"x", "labels", "hidden.0.weight", "output.bias", "loss"}
        events = [i for edge in recording["graph"]["edges"] for i in edge["events"]]
        assert sorted(events) == [i for i, e in enumerate(recording["events"]) if e["kind"] == "backward"]
    assert "constant" in {box["kind"] for box in found["small_steps", None]["graph"]["boxes"]}


def test_finite_differences_agree(easy: str, data: datasets.Dataset) -> None:
    for subject in ("network", "small_steps"):
        for name, tensor in tensors(record(small_recipe(easy), data)[subject, None]).items():
            if tensor["kind"] in ("parameter", "input"):
                np.testing.assert_allclose(
                    tensor["check"]["estimates"], tensor["gradient"].ravel(), atol=1e-8, err_msg=name
                )


def test_the_loss_in_small_operations_has_the_same_gradients(easy: str, data: datasets.Dataset) -> None:
    found = record(small_recipe(easy), data)
    fused, small = tensors(found["network", None]), tensors(found["small_steps", None])
    for name in ("x", "hidden.0.weight", "hidden.0.bias", "output.weight", "output.bias"):
        np.testing.assert_allclose(small[name]["gradient"], fused[name]["gradient"], rtol=1e-11, atol=1e-15)


def test_the_tape_sums_the_gradient_of_a_broadcast_bias(easy: str, data: datasets.Dataset) -> None:
    recording = record(small_recipe(easy), data)["small_steps", None]
    broadcast = [event for event in recording["events"] if event.get("unbroadcast")]
    assert [recording["tensors"][event["to"]]["name"] for event in broadcast] == ["output.bias", "hidden.0.bias"]
    for event in broadcast:
        np.testing.assert_allclose(event["returned"], event["incoming"].sum(axis=0), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize(
    "key",
    [("small_steps", "depth_first"), ("network", "no_zero_grad"), ("network", "softmax_twice"),
     ("network", "transposed_weight")],
)  # fmt: skip
def test_a_mistake_changes_the_gradients(easy: str, data: datasets.Dataset, key: tuple[str, str]) -> None:
    found = record(small_recipe(easy, hidden=[data.classes]), data)
    wrong, right = tensors(found[key]), tensors(found[key[0], None])
    leftover = key[1] == "no_zero_grad"  # it is in grad of the parameters only
    for name in ("hidden.0.weight", "output.weight", *(() if leftover else ("x",))):
        difference = np.abs(wrong[name]["gradient"] - right[name]["gradient"]).max()
        assert difference > 0.01 * np.abs(right[name]["gradient"]).max(), name


def test_a_forgotten_zero_grad_adds_the_gradient_of_another_batch(easy: str, data: datasets.Dataset) -> None:
    found = record(small_recipe(easy), data)
    wrong, right = tensors(found["network", "no_zero_grad"]), tensors(found["network", None])
    net = trained(small_recipe(easy), data, 0)[0]
    batch = list(datasets.batches(len(data.train.labels), 8, 42, 0))[1]
    ops.cross_entropy(net(data.train.images[batch]), data.train.labels[batch]).backward()
    for name, parameter in net.named_parameters():
        expected = right[name]["gradient"] + parameter.grad
        np.testing.assert_allclose(wrong[name]["gradient"], expected, rtol=1e-12, atol=1e-16)


def test_the_counterexample_depth_first(easy: str, data: datasets.Dataset) -> None:
    found = record(small_recipe(easy), data)
    assert tensors(found["reuse", None])["a"]["gradient"] == 4
    assert tensors(found["reuse", "depth_first"])["a"]["gradient"] == 6
    totals = [float(e["total"]) for e in found["reuse", "depth_first"]["events"] if e["kind"] == "backward"]
    assert totals == [1, 1, 2, 2, 4, 6]


def test_a_weight_that_is_not_square_cannot_be_transposed(easy: str, data: datasets.Dataset) -> None:
    _, unavailable = recordings(step.state_at(small_recipe(easy, hidden=[5]), data, 1), 0)
    assert [u["mistake"] for u in unavailable if "x 5" in u["reason"]] == ["transposed_weight"]


def test_a_recorder_sees_only_what_happens_while_it_is_active() -> None:
    recorder = Recorder()
    a = Tensor([1.0, 2.0], requires_grad=True)
    with recorder.active():
        b = a * 3.0
    (b + a).sum().backward()
    assert [event["op"] for event in recorder.events] == ["multiply"]
    assert [entry.kind for entry in recorder.entries] == ["parameter", "constant", "result"]
    assert mode.observers == ()


def unpacked(text: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    content = gzip.decompress(base64.b64decode(text))
    (length,) = struct.unpack("<I", content[:4])
    header = json.loads(content[4 : 4 + length])
    arrays = [
        np.frombuffer(content, f"<{a['dtype']}", int(np.prod(a["shape"])), 4 + length + a["offset"]).reshape(a["shape"])
        for a in header["arrays"]
    ]
    return header, arrays


def page_header(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="text/plain" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return unpacked(found[1].strip())[0]


def test_packed_arrays_are_exact_and_stored_once() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5))
    header, arrays = unpacked(page.pack({"a": x, "b": [{"c": x.copy()}, np.arange(3)], "d": np.array(2.5), "é": None}))
    assert header["a"] == header["b"][0]["c"]
    np.testing.assert_array_equal(arrays[header["a"]], x)
    np.testing.assert_array_equal(arrays[header["b"][1]], [0, 1, 2])
    assert arrays[header["d"]] == 2.5
    assert header["é"] is None
    assert all(a["offset"] % 8 == 0 for a in header["arrays"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--step", "0"], "--step 0: expected 1 to 180, a step of the training"),
        (["--image", "8"], "--image 8: expected 0 to 7, an image of the batch"),
        (["--model.hidden", "[1000000]"], "expected at most 300,000 for a page"),
    ],
)
def test_refusals(easy: str, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--data.path", easy, "--data.batch_size", "8"]
    assert command(["step", *flags, *argv]) == 2
    assert message in capsys.readouterr().err
    assert not Path("step.html").exists()


def test_a_file_is_not_replaced(easy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("step.html").write_text("mine")
    assert command(["step", "--data.path", easy]) == 2
    assert "step.html: already exists; expected another file or --overwrite" in capsys.readouterr().err
    assert Path("step.html").read_text() == "mine"


def test_recipe_names() -> None:
    assert step.recipe_name([]) == "simple"
    assert step.recipe_name(["--config", "cnn"]) == step.recipe_name(["--config=folder/cnn.yaml"]) == "cnn"
    assert recipes.names()
