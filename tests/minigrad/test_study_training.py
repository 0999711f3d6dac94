"""The training in the page: its numbers are minigrad's, and its controls and messages work. In headless Chromium."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from minigrad import datasets, ops
from minigrad.classifier import Classifier
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Data, Model, Recipe
from minigrad.study import training_data
from minigrad.study.training_data import Settings, reference, subset, training

FOLDER = Path(training_data.__file__).parent / "page"
SCRIPTS = ("engine.js", "draw.js", "train.js")
TOLERANCE = 1e-12  # the largest absolute difference of a loss or a weight
ARRAYS = {
    "|u1": "Uint8Array", "<u2": "Uint16Array", "<i4": "Int32Array", "<f4": "Float32Array", "<f8": "Float64Array",
}  # fmt: skip
LOAD = """({header, arrays}) => {
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
    header.arrays = arrays.map(([type, text]) => ({data: new window[type](bytes(text))}));
    window.header = header;
    window.source = header.training && study.train.resolve(header);
}"""
START = """() => void (window.trainer = study.train.start(header, document.getElementById("train")))"""
PLAIN = "(weights) => Object.fromEntries(Object.entries(weights).map(([name, w]) => [name, [...w]]))"
# Trains with other settings; returns the losses, and the weights at the start and at the end.
TRAIN = f"""({{settings, steps}}) => {{
    const plain = {PLAIN};
    const training = new study.engine.Training(source, settings), start = plain(training.weights()), losses = [];
    for (let i = 0; i < steps; i++) losses.push(training.step().loss);
    return {{losses, start, weights: plain(training.weights())}};
}}"""
# The weights of the tab's network, its accuracies, and the share of images for which each unit is active.
STATE = f"""() => {{
    const {{train, test, activity}} = trainer.history.latest;
    return {{
        weights: ({PLAIN})(trainer.training.weights()), train: train.accuracy, test: test.accuracy, activity: [...activity],
    }};
}}"""


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return datasets.load("mnist", None, 42)


@pytest.fixture(scope="module")
def part(mnist: Dataset) -> dict[str, Any]:
    """The part `training` for the recipe `simple`."""
    result = training(Recipe(), mnist)
    assert result is not None
    return result


@pytest.fixture(scope="module")
def easy_part(easy: str) -> dict[str, Any]:
    """The same for vectors of floats in three classes."""
    result = training(Recipe(), datasets.load(easy))
    assert result is not None
    return result


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page with the scripts; an error in one of them fails the test."""
    errors: list[Any] = []
    with browser.new_page() as page:
        page.on("pageerror", lambda error: errors.append(error))
        page.set_content("<div id=train></div>")
        page.add_style_tag(path=FOLDER / "train.css")
        for script in SCRIPTS:
            page.add_script_tag(path=FOLDER / script)
        yield page
        assert errors == []


@pytest.fixture(scope="module")
def show(page: Page) -> Callable[[dict[str, Any] | None], None]:
    """Show the tab for the result of `training`, which is sent to the page only if it is not the previous one."""
    previous: Any = ...

    def load(part: dict[str, Any] | None) -> None:
        nonlocal previous
        if part is not previous:
            arrays: list[tuple[str, str]] = []
            header = {"training": with_ids(part, arrays)}
            page.evaluate(LOAD, {"header": header, "arrays": arrays})
            previous = part
        page.evaluate(START)

    return load


def with_ids(value: Any, arrays: list[tuple[str, str]]) -> Any:
    """Replace each array by its position in `arrays`, which gets the JavaScript type and the bytes of each."""
    if isinstance(value, np.ndarray):
        arrays.append((ARRAYS[value.dtype.str], base64.b64encode(value.tobytes()).decode()))
        return len(arrays) - 1
    return {key: with_ids(item, arrays) for key, item in value.items()} if isinstance(value, dict) else value


def wait(page: Page) -> None:
    """Wait until the tab has finished what it was doing."""
    page.wait_for_function("trainer.scheduled === false && document.querySelector('.train').dataset.state === 'still'")


def train(page: Page) -> None:
    page.get_by_label("Training speed").select_option("Infinity")
    page.get_by_role("button", name="Start", exact=True).click()
    wait(page)


def largest_difference(found: dict[str, list[float]], expected: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(np.reshape(found[name], w.shape) - w).max()) for name, w in expected.items())


def test_the_default_training_has_the_losses_and_the_weights_of_minigrad(
    page: Page, show: Any, part: dict[str, Any]
) -> None:
    show(part)
    train(page)
    proof = page.locator(".proof")
    losses, weights = (float(str(proof.get_attribute(f"data-{name}"))) for name in ("loss", "weights"))
    print(f"\nlargest difference of a loss {losses:.1e}, of a final weight {weights:.1e}")
    assert 0 < losses < TOLERANCE
    assert 0 < weights < TOLERANCE
    expect(proof).to_contain_text("over all 320 steps. Final weights: largest difference")
    accuracy = float(page.locator(".tile", has_text="Test accuracy").locator("dd").inner_text().removesuffix(" %"))
    assert accuracy > 85


@pytest.mark.parametrize(
    "settings",
    [Settings(0.05, 16, 50), Settings(0.3, 3, 2000), pytest.param(Settings(0.1, 40, 333), marks=pytest.mark.slow)],
    ids=["wider", "full_batch", "last_batch_is_smaller"],
)
def test_other_settings_have_the_losses_and_the_weights_of_minigrad(
    page: Page, show: Any, mnist: Dataset, part: dict[str, Any], settings: Settings
) -> None:
    show(part)
    losses, weights = reference(subset(mnist, 42)[0], 10, 1 / 255, 42, settings, epochs=2)
    result = page.evaluate(TRAIN, {"settings": vars(settings), "steps": len(losses)})
    differences = np.abs(np.array(result["losses"]) - losses).max(), largest_difference(result["weights"], weights)
    print(f"\n{settings}: largest difference of a loss {differences[0]:.1e}, of a final weight {differences[1]:.1e}")
    assert max(differences) < TOLERANCE


@pytest.mark.parametrize("width", [1, 128])
def test_the_starting_weights_are_those_of_the_recipe(page: Page, show: Any, easy: str, width: int) -> None:
    data = datasets.load(easy)
    show(training(Recipe(seed_everything=3), data))
    net = Classifier(Model(hidden=[width]), data.input_shape, data.classes, seed=3, dtype=np.float64)
    result = page.evaluate(TRAIN, {"settings": vars(Settings(width=width)), "steps": 0})
    # A compiler may fuse a product and a sum, which changes the last bit.
    assert largest_difference(result["start"], net.state_dict()) < 1e-16


def test_vectors_of_floats_and_another_number_of_classes(page: Page, show: Any, easy_part: dict[str, Any]) -> None:
    show(easy_part)
    train(page)
    assert float(str(page.locator(".proof").get_attribute("data-weights"))) < TOLERANCE


def test_accuracy_and_dead_units_are_those_of_minigrad(
    page: Page, show: Any, mnist: Dataset, part: dict[str, Any]
) -> None:
    show(part)
    page.get_by_label("Learning rate").fill("1")  # so large that units die
    page.evaluate("trainer.epochs = 8")
    train(page)
    result = page.evaluate(STATE)
    net = Classifier(Model(), (28, 28), 10, dtype=np.float64)
    net.load_state_dict({name: np.reshape(result["weights"][name], w.shape) for name, w in net.state_dict().items()})
    for name, (images, labels) in zip(("train", "test"), subset(mnist, 42), strict=True):
        assert result[name] == pytest.approx((net.predict(images).argmax(axis=1) == labels).mean())
    inputs = subset(mnist, 42)[0].images.reshape(2000, -1) / 255
    active = (net.hidden[0](inputs).data > 0).mean(axis=0)
    np.testing.assert_allclose(result["activity"], active, atol=1e-12)

    dead = int((active == 0).sum())
    assert 0 < dead < 10
    assert page.locator(".units li").evaluate_all("items => items.map((x) => x.className === 'dead')") == [
        share == 0 for share in active
    ]
    expect(page.locator(".tile", has_text="Dead units").locator("dd")).to_have_text(str(dead))
    expect(page.get_by_role("img", name="the unit is dead")).to_have_count(dead)


def test_gradient_norms_and_ratios_are_those_of_minigrad(
    page: Page, show: Any, mnist: Dataset, part: dict[str, Any]
) -> None:
    show(part)
    page.get_by_role("button", name="One step").click()
    wait(page)
    images, labels = subset(mnist, 42)[0]
    indices = next(datasets.batches(len(labels), 128, 42, 0))
    net = Classifier(Model(), (28, 28), 10, dtype=np.float64)
    ops.cross_entropy(net(images[indices]), labels[indices]).backward()
    for name, w in net.named_parameters():
        cells = page.locator("tr", has=page.get_by_role("rowheader", name=name)).locator("[data-value]")
        norm, ratio = (float(str(cells.nth(i).get_attribute("data-value"))) for i in (0, 1))
        expected = float(np.linalg.norm(w.grad.data))
        assert norm == pytest.approx(expected, rel=1e-12)
        assert ratio == pytest.approx(0.1 * expected / float(np.linalg.norm(w.data)), rel=1e-12)


def test_a_wrong_reference_shows(page: Page, show: Any, easy: str) -> None:
    part = training(Recipe(), datasets.load(easy))
    assert part is not None
    part["reference"]["losses"][3] += 0.25
    show(part)
    train(page)
    expect(page.locator(".proof")).to_contain_text("largest difference 2.5e−1 over")


def test_a_loss_that_is_not_finite_stops_the_training(page: Page, show: Any, easy_part: dict[str, Any]) -> None:
    show(easy_part)
    page.get_by_label("Learning rate").fill("1e200")
    train(page)
    notice = page.locator(".notice")
    expect(notice).to_contain_text("the training stopped: the steps were too large. Try a learning rate of 0.1 or less")
    page.get_by_role("button", name="Recipe’s settings").click()
    expect(notice).to_be_hidden()
    train(page)
    expect(page.locator(".proof")).to_contain_text("over all")


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        ("Learning rate", "fast", "Learning rate: fast; expected a number of 0 or more, such as 0.1."),
        ("Width", "0", "Width: 0; expected a whole number from 1 to 128."),
        ("Batch size", "1.5", "Batch size: 1.5; expected a whole number from 1 to 160."),
        ("Batch size", "", "Batch size: empty; expected a whole number from 1 to 160."),
    ],
)
def test_an_invalid_setting_is_explained(
    page: Page, show: Any, easy_part: dict[str, Any], label: str, value: str, message: str
) -> None:
    show(easy_part)
    field = page.get_by_label(label)
    field.fill(value)
    page.get_by_role("button", name="One step").click()
    expect(page.get_by_text(message)).to_be_visible()
    expect(field).to_be_focused()
    assert page.evaluate("trainer.training.steps") == 0


def test_one_step_pause_and_reset(page: Page, show: Any, easy_part: dict[str, Any]) -> None:
    show(easy_part)
    step = page.locator(".tile", has_text="Step").first.locator("dd")
    page.get_by_role("button", name="One step").press("Enter")
    page.get_by_role("button", name="One step").press("Enter")
    expect(step).to_have_text("2")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    wait(page)
    expect(page.get_by_role("status")).to_contain_text("training accuracy")
    page.get_by_role("button", name="Reset").click()
    expect(step).to_have_text("0")
    page.get_by_label("Width").fill("7")
    page.get_by_label("Width").press("Tab")
    expect(page.locator(".units li")).to_have_count(7)


def test_inputs_that_are_too_large_for_the_page(page: Page, show: Any) -> None:
    rows = Split(np.zeros((30, 200_000), np.uint8), np.arange(30) % 3)
    assert training(Recipe(), Dataset(rows, Split(rows.images[:0], rows.labels[:0]), rows, 3)) is None
    show(None)
    expect(page.get_by_text("Training in the page is not available")).to_be_visible()


def test_the_subset_fits_the_budget_and_has_all_classes() -> None:
    labels = np.repeat(np.arange(10), 300)  # sorted, as from a folder of pictures
    images = np.zeros((3000, 40, 40), np.float32)
    whole = Split(images, labels)
    rows, test = subset(Dataset(whole, Split(images[:0], labels[:0]), whole, 10), 0)
    assert rows.images.nbytes + test.images.nbytes <= training_data.BUDGET
    assert len(rows.labels) == pytest.approx(4 * len(test.labels), abs=4)
    assert set(rows.labels) == set(test.labels) == set(range(10))


def test_the_orders_are_those_of_the_batches() -> None:
    rows = training_data.orders(70, 5)
    for epoch, row in enumerate(rows):
        np.testing.assert_array_equal(row, np.concatenate(list(datasets.batches(70, 32, 5, epoch))))


def test_a_recipe_that_the_page_cannot_train_is_replaced_with_a_note(easy: str) -> None:
    model = Model(hidden=[64, 32], activation="tanh", optimizer="adam", learning_rate=0.001)
    part = training(Recipe(model=model), datasets.load(easy))
    assert part is not None
    assert part["defaults"] == {"learning_rate": 0.1, "width": 10, "batch_size": 128}
    assert part["note"].startswith("The recipe has hidden layers [64, 32], activation tanh, optimizer adam. This tab")
    assert "shifted" not in part["note"]
    recipe = Recipe(model=replace(model, hidden=[24], activation="relu", optimizer="sgd"))
    part = training(recipe, datasets.load(easy))
    assert part is not None
    assert part["defaults"] == {"learning_rate": 0.001, "width": 24, "batch_size": 128}
    assert part["note"] is None


def test_the_note_names_shifted_images() -> None:
    note = training_data.note(Recipe(data=Data(augment="shift")))
    assert note is not None
    assert note.startswith("The recipe has shifted training images. This tab")
    assert note.endswith("plain stochastic gradient descent on images that are not shifted instead.")


def test_settings_that_are_not_the_recipes_are_called_starting_settings(
    page: Page, show: Any, easy_part: dict[str, Any]
) -> None:
    for note, name in ((None, "recipe’s settings"), ("The recipe has dropout.", "starting settings")):
        show({**easy_part, "note": note})
        expect(page.get_by_role("button", name=name[0].upper() + name[1:], exact=True)).to_be_visible()
        page.get_by_label("Learning rate").fill("0.3")
        page.get_by_role("button", name="One step").click()
        expect(page.locator(".proof")).to_contain_text(f"only for a training with the {name} (learning rate")
