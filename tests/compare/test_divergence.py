"""Planted mistakes are located at their first step, tensor and operation, and explained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare import contenders
from compare.jobs import shared
from compare.parity import comparison, divergence, recorder, tolerances
from compare.results.schema import DTYPES
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe

sys.path.insert(0, str(Path(__file__).parent))

import planted

SIMPLE: dict[str, Any] = {"hidden": [6], "learning_rate": 0.1}
SQUARE = SIMPLE | {"hidden": [6, 6]}
CNN = {"architecture": "cnn", "channels": [3, 4], "kernel_size": 3, "hidden": []}
MOMENTUM = SIMPLE | {"momentum": 0.9}
ADAM = SIMPLE | {"optimizer": "adam", "learning_rate": 0.01}
ADAMW = ADAM | {"optimizer": "adamw", "weight_decay": 0.01}
RMSPROP = ADAM | {"optimizer": "rmsprop"}
COSINE = SIMPLE | {"schedule": "cosine"}
BATCH = 32  # of 80 images: the last batch has 16
DOUBLE = tolerances.Tolerances("float64", 1e-12)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """80 images of 8 x 8 noise in three classes, the labels in no order."""
    rng = np.random.default_rng(0)
    train = Split(rng.integers(0, 256, (80, 8, 8)).astype(np.uint8), rng.integers(0, 3, 80))
    return Dataset(train, Split(train.images[:0], train.labels[:0]), train, 3)


def recipe_of(model: dict[str, Any]) -> Recipe:
    return Recipe.from_dict({"model": model, "data": {"batch_size": BATCH}})


@pytest.fixture(scope="module")
def recorded(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a contender's recordings, by its class and the recipe's model."""
    kept: dict[Any, Path] = {}

    def run(kind: Any, model: dict[str, Any]) -> Path:
        name = kind, str(model)
        if name not in kept:
            kept[name] = tmp_path_factory.mktemp("recorded")
            recipe, contender = recipe_of(model), kind()
            contender.load()
            weights = shared.starting_weights(recipe, data)
            recorder.record(contender, recipe, data, weights, kept[name])
            if kind is planted.Right:
                recorder.measure_tolerances(contender, recipe, data, weights, kept[name])
        return kept[name]

    return run


MISTAKES: list[tuple[Any, dict[str, Any], str, str]] = [
    (planted.transposed, SQUARE, "step 0, weight of hidden.1.weight, loading the weights: ", "It is transposed."),
    (
        planted.other_order,
        SIMPLE,
        "step 0, weight of hidden.0.weight, loading the weights: ",
        "read in the other order",
    ),
    (planted.Unscaled, SIMPLE, "step 1, scaled, scaling the input: ", "The pixels are not scaled by 1/255."),
    (
        planted.OtherActivation,
        SIMPLE,
        "step 1, hidden.0 activation, relu: ",
        "The activation is leaky_relu instead of relu.",
    ),
    (planted.FlattenedChannelsLast, CNN, "step 1, output, linear: ", "flattened channels last"),
    (planted.SoftmaxInTheNetwork, SIMPLE, "step 1, output, linear: ", "The logits went through softmax before"),
    (planted.SoftmaxInTheLoss, SIMPLE, "step 1, loss, cross_entropy: ", "The logits went through softmax before"),
    (planted.SoftmaxInTheLoss, CNN, "step 1, loss, cross_entropy: ", "The logits went through softmax before"),
    (planted.Summed, SIMPLE, "step 1, loss, cross_entropy: ", "summed over the batch instead of averaged."),
    (planted.Halved, SIMPLE, "step 1, loss, cross_entropy: ", "The loss is scaled by 0.5."),
    (
        planted.SummedButToldAsMean,
        SIMPLE,
        "step 1, gradient of output.bias, backward of cross_entropy: ",
        "32 times as",
    ),
    (planted.Smoothed, SIMPLE, "step 1, loss, cross_entropy: ", "The labels are smoothed by 0.1."),
    (planted.Penalised, ADAMW, "step 1, loss, cross_entropy: ", "The weight decay is part of the loss"),
    (
        planted.OthersLabels,
        SIMPLE,
        "step 1, loss, cross_entropy: ",
        "The images have the labels of the first images in the",
    ),
    (planted.Unshuffled, SIMPLE, "step 1, loss, cross_entropy: ", "in the file's order, not shuffled."),
    (planted.SwappedBatches, SIMPLE, "step 2, loss, the batch or its forward pass: ", "The batch is that of step 3."),
    (planted.PaddedLastBatch, SIMPLE, "step 3, loss, the batch", "is padded with the epoch's first images"),
    (planted.DroppedLastBatch, SIMPLE, "ran 2 steps; expected 3.", "last batch, 16 of 32 images, is dropped."),
    (planted.SmallerBatches, SIMPLE, "ran 4 steps; expected 3.", "The batches have 20 images where the recipe has 32."),
    (
        planted.NeverZeroed,
        SIMPLE,
        "step 2, gradient of output.bias",
        "It includes the gradient of step 1, which was not zeroed.",
    ),
    (planted.Clipped, SIMPLE, "step 1, gradient of output.bias", "clipped to a norm of 0.1."),
    (
        planted.WrongRate,
        SIMPLE,
        "step 1, weight of hidden.0.weight, sgd's update: ",
        "is 0.03 where the recipe has 0.1.",
    ),
    (planted.WrongRate, ADAM, "step 1, weight of hidden.0.weight, adam's", "0.003 where the recipe has 0.01."),
    (planted.ScheduleAhead, COSINE, "step 1, weight of hidden.0.weight", "one step ahead of the cosine schedule"),
    (planted.NoSchedule, COSINE, "step 2, weight of hidden.0.weight", "The cosine schedule is not applied"),
    (
        planted.optimizer("SGD", momentum=0.9, nesterov=True),
        MOMENTUM,
        "step 1, weight of",
        "The momentum is Nesterov momentum.",
    ),
    (planted.optimizer("SGD", momentum=0.5), MOMENTUM, "step 2, weight of", "0.5 where the recipe has 0.9."),
    (planted.TorchDampened, MOMENTUM, "step 2, weight of hidden.0.weight, sgd's update: ", "as with dampening."),
    (
        planted.TorchAdamWithKerasEpsilon,
        ADAM,
        "step 1, weight of hidden.0.weight, adam's",
        "is 1e-07 where minigrad has",
    ),
    (
        planted.optimizer("Adam", eps=3.7e-6),
        ADAM,
        "step 1, weight of hidden.0.weight",
        "Epsilon is 3.7e-06 where minigrad",
    ),
    (planted.EpsilonInside, ADAM, "step 1, weight of hidden.0.weight", "Epsilon is inside the square root."),
    (
        planted.KerasAdam,
        ADAM,
        "step 1, weight of",
        "before the bias correction, as in Keras's Adam. Epsilon is 1e-07",
    ),
    (planted.Uncorrected, ADAM, "step 1, weight of hidden.0.weight", "The bias of the moments is not corrected."),
    (planted.KerasRMSprop, RMSPROP, "step 1, weight of", "Alpha is 0.9 where minigrad has 0.99. Epsilon is inside"),
    (
        planted.optimizer("Adam", weight_decay=0.01),
        ADAMW,
        "step 1, weight of hidden.0.weight, adamw's",
        "with an L2 penalty",
    ),
    (planted.optimizer("AdamW", weight_decay=0.01), ADAM | {"weight_decay": 0.01}, "step 1, weight of", "as in AdamW"),
    (planted.optimizer("AdamW", weight_decay=0.01), ADAM, "step 1, weight of", "is 0.01 where the recipe has 0."),
]


@pytest.mark.parametrize(
    ("kind", "model", "where", "why"), MISTAKES, ids=[f"{kind.__name__}-{i}" for i, (kind, *_) in enumerate(MISTAKES)]
)
def test_a_planted_mistake_is_explained(
    recorded: Callable[..., Path], kind: Any, model: dict[str, Any], where: str, why: str
) -> None:
    reference, other = recorded(planted.Right, model), recorded(kind, model)
    found = divergence.explain(reference / "float64.npz", other / "float64.npz", recipe_of(model), DOUBLE)
    assert found is not None
    assert found.sentence.startswith(where)
    assert found.explanation is not None, found.sentence
    assert why in found.explanation
    assert found.sentence.endswith(found.explanation)


@pytest.mark.parametrize("model", [SIMPLE, SQUARE, CNN, MOMENTUM, ADAM, ADAMW, RMSPROP, COSINE])
def test_a_correct_contender_has_no_divergence(recorded: Callable[..., Path], model: dict[str, Any]) -> None:
    for kind in (planted.Loop, planted.Torch):
        row = comparison.compare_contender(
            recorded(planted.Right, model), recorded(kind, model), recipe_of(model), kind.accepts_masks
        )
        for dtype in DTYPES:
            assert row[dtype]["passed"], row[dtype]["first"]
            assert row[dtype]["divergence"] is None
            assert row[dtype]["share"] < 1


@pytest.mark.parametrize(
    ("kind", "model", "where", "why"), MISTAKES, ids=[f"{kind.__name__}-{i}" for i, (kind, *_) in enumerate(MISTAKES)]
)
def test_a_planted_mistake_is_explained_in_float32_too(
    recorded: Callable[..., Path], kind: Any, model: dict[str, Any], where: str, why: str
) -> None:
    reference, other = recorded(planted.Right, model), recorded(kind, model)
    measured = tolerances.read(reference / "tolerance.npz")
    found = divergence.explain(reference / "float32.npz", other / "float32.npz", recipe_of(model), measured)
    assert found is not None
    assert found.sentence.startswith(where)
    assert why in str(found.explanation), found.sentence


class NearlyRightRate(planted.Loop):
    """The learning rate is wrong by a thousandth."""

    def optimizer(self, parameters: list[Any]) -> Any:
        found = super().optimizer(parameters)
        found.lr *= 1.001
        return found


@pytest.mark.parametrize("model", [SIMPLE, CNN, MOMENTUM, ADAM])
def test_a_small_mistake_is_found_in_float32(recorded: Callable[..., Path], model: dict[str, Any]) -> None:
    reference, other = recorded(planted.Right, model), recorded(NearlyRightRate, model)
    cell = comparison.compare_contender(reference, other, recipe_of(model), accepts_masks=True)["float32"]
    assert cell["passed"] is False
    assert cell["share"] > 1
    assert cell["limit"] < cell["max_abs_diff"] < 1e-3
    assert "'s update: differs by " in cell["first"]
    assert f"; the tolerance is {tolerances.read(reference / 'tolerance.npz').of(key_of(cell)):.2g}." in cell["first"]


def key_of(cell: Any) -> str:
    """Return the key of the tensor that first differs."""
    return f"{cell['divergence']['tensor'].replace(' of', '')} {cell['divergence']['step']}"


def test_float32_weights_are_reported_in_a_float64_run(recorded: Callable[..., Path]) -> None:
    folder = recorded(planted.Right, SIMPLE)
    found = divergence.explain(folder / "float64.npz", folder / "float32.npz", recipe_of(SIMPLE), DOUBLE)
    assert found is not None
    assert (found.step, found.operation) == (0, "loading the weights")
    assert found.explanation == "It was rounded to float32."


class Silent(planted.Unscaled):
    """Reports neither its starting weights nor its layers' outputs."""

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def trace(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {}


def test_a_contender_without_a_trace_is_compared_by_its_loss(recorded: Callable[..., Path]) -> None:
    reference, other = recorded(planted.Right, SIMPLE), recorded(Silent, SIMPLE)
    found = divergence.explain(reference / "float64.npz", other / "float64.npz", recipe_of(SIMPLE), DOUBLE)
    assert found is not None
    assert (found.step, found.tensor, found.operation) == (1, "loss", "the batch or its forward pass")
    assert found.explanation == "The pixels are not scaled by 1/255."


class Unheard(planted.Loop):
    """An unknown mistake."""

    def change(self, parameters: list[Any]) -> None:
        parameters[0].grad[0] *= -1.5


def test_an_unknown_mistake_is_located_but_not_explained(recorded: Callable[..., Path]) -> None:
    reference, other = recorded(planted.Right, SIMPLE), recorded(Unheard, SIMPLE)
    found = divergence.explain(reference / "float64.npz", other / "float64.npz", recipe_of(SIMPLE), DOUBLE)
    assert found is not None
    assert found.explanation is None
    assert found.sentence.startswith("step 1, gradient of hidden.0.weight, backward of linear: ")
    assert " where minigrad has " in found.sentence


def test_the_parity_cell_contains_the_divergence(recorded: Callable[..., Path]) -> None:
    folders = recorded(planted.Right, SIMPLE), recorded(planted.SoftmaxInTheLoss, SIMPLE)
    cell = comparison.compare_contender(*folders, recipe_of(SIMPLE), accepts_masks=True)["float64"]
    assert cell["passed"] is False
    told = json.loads(json.dumps(cell))["divergence"]
    assert told["sentence"] == cell["first"]
    assert (told["step"], told["tensor"], told["operation"]) == (1, "loss", "cross_entropy")
    assert told["gap"] == pytest.approx(abs(float(told["found"]) - float(told["expected"])), abs=0.02)


NORMED = CNN | {"hidden": [5], "batch_norm": True}
KERAS_TRACE = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import test_divergence
np.savez(sys.argv[2], **test_divergence.traced("keras"))
"""


def traced(name: str) -> dict[str, np.ndarray]:
    """Return the outputs of the contender's layers for eight images; check that weights and statistics are unchanged."""
    train = Split(np.arange(8 * 64, dtype=np.uint8).reshape(8, 8, 8) * 37, np.arange(8) % 3)
    few, recipe = Dataset(train, train, train, 3), recipe_of(NORMED)
    contender = contenders.find(name)()
    contender.load()
    contender.build(recipe, few, shared.starting_weights(recipe, few), "float64")
    before = contender.state()
    found = contender.trace(train.images)
    for weight, array in contender.state().items():
        np.testing.assert_array_equal(array, before[weight])
    return dict(found)


@pytest.mark.slow
def test_every_framework_traces_the_same_layers(tmp_path: Path) -> None:
    found = {name: traced(name) for name in ("minigrad", "torch", "lightning")}
    # TensorFlow and torch never share a process.
    environment = os.environ | dict(contenders.find("keras").environment) | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    command = [sys.executable, "-c", KERAS_TRACE, str(Path(__file__).parent), str(tmp_path / "keras.npz")]
    subprocess.run(command, check=True, env=environment)
    with np.load(tmp_path / "keras.npz") as archive:
        found["keras"] = dict(archive)
    expected = found.pop("minigrad")
    convolutions = [
        made for i in (0, 1) for made in (f"conv.{i}", f"conv_norm.{i}", f"conv.{i} pooled", f"conv.{i} activation")
    ]
    assert list(expected) == ["scaled", *convolutions, "hidden.0", "hidden_norm.0", "hidden.0 activation", "output"]
    for name, trace in found.items():
        assert trace.keys() == expected.keys(), name
        for layer, array in trace.items():
            np.testing.assert_allclose(array, expected[layer], rtol=0, atol=1e-10, err_msg=f"{name} {layer}")


DROPOUT = SQUARE | {"dropout": 0.3}


class OwnDraws(planted.Torch):
    """Ignores the masks, and draws its own."""

    def use_masks(self, masks: Any) -> None:
        pass


@pytest.mark.parametrize("name", ["torch", "lightning"])
def test_dropout_agrees_with_the_same_masks(name: str, recorded: Callable[..., Path]) -> None:
    folders = recorded(planted.Right, DROPOUT), recorded(contenders.find(name), DROPOUT)
    found = comparison.compare_contender(*folders, recipe_of(DROPOUT), accepts_masks=True)["dropout"]
    assert found["passed"] is True
    assert found["said"].startswith("same masks: ")
    with np.load(folders[0] / "float64.npz") as off, np.load(folders[0] / "masked.npz") as on:
        assert abs(off["loss"][0] - on["loss"][0]) > 1e-3  # units were dropped
        assert len(on["loss"]) == 3


@pytest.mark.parametrize("name", ["minigrad", "torch"])
def test_an_evaluation_before_the_first_step_uses_up_no_mask(name: str, recorded: Callable[..., Path]) -> None:
    class Evaluating(contenders.find(name)):  # type: ignore[misc]
        def fit(self, batches: Any, observer: Any) -> None:
            self.predict(batches.train.images[:2].astype("float64"))
            super().fit(batches, observer)

    folders = recorded(planted.Right, DROPOUT), recorded(Evaluating, DROPOUT)
    found = comparison.compare_contender(*folders, recipe_of(DROPOUT), accepts_masks=True)["dropout"]
    assert found["passed"] is True


def test_other_masks_fail(recorded: Callable[..., Path]) -> None:
    folders = recorded(planted.Right, DROPOUT), recorded(OwnDraws, DROPOUT)
    row = comparison.compare_contender(*folders, recipe_of(DROPOUT), accepts_masks=True)
    assert row["float64"]["passed"] is True  # where dropout is off
    assert row["dropout"]["passed"] is False
    assert "same masks: step 1, loss" in row["dropout"]["said"]
    assert comparison.summarise({"torch": row}, {"torch"})["passed"] is False


def test_a_contender_that_accepts_no_masks_is_excluded(recorded: Callable[..., Path]) -> None:
    folders = recorded(planted.Right, DROPOUT), recorded(planted.Torch, DROPOUT)
    assert comparison.compare_contender(*folders, recipe_of(DROPOUT), accepts_masks=False)["dropout"] == {
        "passed": None,
        "said": "excluded: its dropout accepts no masks",
    }
    assert comparison.compare_dropout(*folders, recipe_of(SQUARE), accepts_masks=True)["said"] == "off"


def test_masks_depend_on_seed_step_and_layer_only() -> None:
    recipe = recipe_of(DROPOUT | {"hidden": [200, 50]})
    first, second = recorder.masks(recipe, 3)
    assert (first.shape, second.shape) == ((3, BATCH, 200), (3, BATCH, 50))
    np.testing.assert_array_equal(first[:2], recorder.masks(recipe, 2)[0])
    assert not np.array_equal(first[0], first[1])
    assert set(np.unique(first)) == {0, 1 / 0.7}
    assert first.mean() == pytest.approx(1, abs=0.02)


class LinearInFloat32(planted.Right):
    """One layer multiplies in float32; everything else is float64."""

    def build(self, *args: Any) -> None:
        super().build(*args)
        linear = self.net.hidden[0]

        class Rounded(type(linear)):  # type: ignore[misc]
            def forward(self, x: Any) -> Any:
                product = np.float32(x) @ np.float32(self.weight.data).T
                return super().forward(x) * 0 + np.float64(product) + self.bias

        linear.__class__ = Rounded


def test_a_float32_product_is_explained(recorded: Callable[..., Path]) -> None:
    reference, other = recorded(planted.Right, SIMPLE), recorded(LinearInFloat32, SIMPLE)
    found = divergence.explain(reference / "float64.npz", other / "float64.npz", recipe_of(SIMPLE), DOUBLE)
    assert found is not None
    assert found.sentence.startswith("step 1, hidden.0, linear: differs by ")
    assert found.explanation == "Its product with the weight is computed in float32."
