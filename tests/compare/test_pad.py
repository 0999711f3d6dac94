"""The report's drawing pad in Chromium: drawing, conversion to an image, and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2 import Environment, FileSystemLoader
from playwright.sync_api import Browser, Page, expect

from compare.report import pad
from minigrad import datasets, recipes
from minigrad.classifier import Classifier
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Model, Recipe
from minigrad.training import build_optimizer, train_epoch

FOLDER = Path(pad.__file__).parent
HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Pad</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
)
THREE = [[(0.35, 0.25), (0.5, 0.2), (0.62, 0.28), (0.6, 0.4), (0.48, 0.47), (0.6, 0.54), (0.65, 0.68), (0.5, 0.8),
          (0.33, 0.74)]]  # fmt: skip

Strokes = list[list[tuple[float, float]]]
Networks = dict[str, Classifier]
Open = Callable[..., Page]


@pytest.fixture
def open_pad(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a page with only the pad, and checks that it logs nothing and sends no request."""
    contexts, trouble = [], []

    def open_(recipe: Recipe, data: Dataset, nets: Networks, **options: Any) -> Page:
        path = tmp_path / "pad.html"
        path.write_text(HEAD + render(recipe, data, nets), encoding="utf-8")
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("request", lambda request: request.url != path.as_uri() and trouble.append(request.url))
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert trouble == []


def render(recipe: Recipe, data: Dataset, nets: Networks) -> str:
    payload = pad.payload(recipe, data, {title: net.state_dict() for title, net in nets.items()})
    assert payload is not None
    templates = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return templates.get_template("pad.html.jinja").render(pad=payload)


def dataset(shape: tuple[int, ...], classes: int, count: int = 40, dtype: Any = np.uint8) -> Dataset:
    """Return noise, with labels in turn."""
    images = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(dtype)
    split = Split(images, np.arange(count) % classes)
    return Dataset(split, split, split, classes)


def untrained(recipe: Recipe, data: Dataset, seed: int) -> Classifier:
    """Return a network with random weights and running statistics, large enough for confident predictions."""
    net, rng = Classifier(recipe.model, data.input_shape, data.classes, data.input_scale), np.random.default_rng(seed)
    state = {
        name: rng.uniform(0.3, 2, array.shape) if name.endswith("_var") else rng.normal(0, 0.3, array.shape)
        for name, array in net.state_dict().items()
    }
    net.load_state_dict({name: array.astype(np.float32) for name, array in state.items()})
    return net


def probabilities(net: Classifier, images: np.ndarray) -> np.ndarray:
    logits = net.predict(images).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return datasets.load("mnist")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    simple = recipes.load("simple")
    return replace(simple, model=replace(simple.model, hidden=[64]))


@pytest.fixture(scope="module")
def trained(mnist: Dataset, recipe: Recipe) -> Networks:
    """Two networks, trained for two epochs of 6,000 images."""
    nets = {}
    for seed, title in enumerate(("minigrad", "torch")):
        nets[title] = net = Classifier(recipe.model, mnist.input_shape, 10, seed=seed)
        part = slice(6000 * seed, 6000 * (seed + 1))
        optimizer = build_optimizer(net.parameters(), recipe.model)
        for epoch in range(2):
            order = datasets.batches(6000, 64, seed, epoch)
            train_epoch(net, optimizer, mnist.train.images[part], mnist.train.labels[part], order)
    return nets


@pytest.fixture
def page(open_pad: Open, recipe: Recipe, mnist: Dataset, trained: Networks) -> Page:
    return open_pad(recipe, mnist, trained)


def seen(page: Page, shape: tuple[int, int] = (28, 28)) -> np.ndarray:
    """Return the input of the networks."""
    return np.array(page.evaluate("pad.image()"), np.uint8).reshape(shape)


def draw(page: Page, strokes: Strokes, steps: int = 3) -> None:
    """Draw with the mouse; points are (x, y) in fractions of the pad's side."""
    box = page.get_by_label("Drawing pad").bounding_box()
    assert box
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for x, y in points[1:]:
            page.mouse.move(x, y, steps=steps)
        page.mouse.up()


def moved(strokes: Strokes, scale: float, x: float, y: float) -> Strokes:
    return [[(x + scale * a, y + scale * b) for a, b in stroke] for stroke in strokes]


def check_answers(page: Page, nets: Networks, image: np.ndarray) -> None:
    answers = page.evaluate("pad.answers()")
    assert list(answers) == list(nets)
    for title, net in nets.items():
        assert np.abs(np.array(answers[title]) - probabilities(net, image[None])[0]).max() < 1e-5


# What is put on the pad

CNN: dict[str, Any] = {"architecture": "cnn", "channels": [3, 4]}


@pytest.mark.parametrize(
    ("shape", "classes", "model"),
    [
        ((28, 28), 10, Model()),
        ((28, 28), 10, Model(hidden=[128, 64], activation="tanh", batch_norm=True)),
        ((28, 28), 10, Model(architecture="cnn", hidden=[], batch_norm=True)),
        ((7, 9, 1), 4, Model(hidden=[], dropout=0.5)),
        ((20, 12), 3, Model(hidden=[8, 7, 6], activation="sigmoid", dropout=0.5)),
        ((20, 12), 3, Model(**CNN, kernel_size=3, hidden=[5], activation="tanh", batch_norm=True)),
        ((21, 13, 1), 12, Model(**CNN, kernel_size=1, activation="sigmoid")),
    ],
)
def test_predictions_of_test_images_are_minigrads(
    shape: tuple[int, ...], classes: int, model: Model, open_pad: Open
) -> None:
    recipe, data = Recipe(model=model), dataset(shape, classes)
    nets = {f"net {seed}": untrained(recipe, data, seed) for seed in range(2)}
    page = open_pad(recipe, data, nets)
    buttons = page.get_by_role("button", name="Test image")
    expect(buttons).to_have_count(24)
    flat = data.test.images.reshape(len(data.test.images), -1)
    for i in (0, 1, 23):
        buttons.nth(i).click()
        image = seen(page, shape[:2])
        (found,) = np.flatnonzero((flat == image.reshape(-1)).all(axis=1))
        assert f"of class {data.test.labels[found]}" in str(buttons.nth(i).get_attribute("aria-label"))
        check_answers(page, nets, data.test.images[found])


def test_test_images_cover_all_classes_and_depend_on_the_seed(recipe: Recipe, mnist: Dataset) -> None:
    def chosen(seed: int) -> list[dict[str, Any]]:
        networks = {"minigrad": Classifier(recipe.model, (28, 28), 10).state_dict()}
        payload = pad.payload(replace(recipe, seed_everything=seed), mnist, networks)
        assert payload is not None
        return payload["examples"]

    assert [example["label"] for example in chosen(1)] == [*range(10), *range(10), *range(4)]
    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)


def test_contenders_that_agree_have_one_answer(page: Page, mnist: Dataset, trained: Networks) -> None:
    page.evaluate("pixels => pad.show(pixels)", mnist.test.images[0].reshape(-1).tolist())
    check_answers(page, trained, mnist.test.images[0])
    mean = np.mean([probabilities(net, mnist.test.images[:1])[0, 7] for net in trained.values()])
    expect(page.locator("[aria-live] >> nth=0")).to_have_text(f"7: both contenders {100 * mean:.0f} %")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="7", exact=True))
    expect(row.get_by_role("cell")).to_have_text([f"{100 * mean:.0f} %"])


def test_contenders_that_disagree_have_one_answer_each(
    open_pad: Open, recipe: Recipe, mnist: Dataset, trained: Networks
) -> None:
    fives = Classifier(recipe.model, (28, 28), 10)
    fives.output.bias.data[5] = 100.0
    nets = {**trained, "always five": fives}
    page = open_pad(recipe, mnist, nets)
    page.evaluate("pixels => pad.show(pixels)", mnist.test.images[0].reshape(-1).tolist())
    percents = {t: f"{100 * probabilities(n, mnist.test.images[:1])[0, 7]:.0f} %" for t, n in nets.items()}
    expect(page.locator("[aria-live] >> nth=0")).to_have_text(
        f"7: minigrad {percents['minigrad']}, torch {percents['torch']}; 5: always five 100 %"
    )
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="7", exact=True))
    expect(row.get_by_role("cell")).to_have_text(list(percents.values()))
    expect(page.get_by_role("columnheader")).to_have_text(["", *nets])


def test_a_diverged_network_is_shown_as_not_a_number(
    open_pad: Open, recipe: Recipe, mnist: Dataset, trained: Networks
) -> None:
    lost = Classifier(recipe.model, (28, 28), 10)
    lost.output.bias.data[:] = np.nan
    page = open_pad(recipe, mnist, {"</script><b>lost": lost, **trained})
    page.evaluate("pixels => pad.show(pixels)", mnist.test.images[0].reshape(-1).tolist())
    expect(page.get_by_text("7: minigrad")).to_contain_text("; </script><b>lost not a number")


def test_the_ten_most_probable_of_many_classes_are_shown(open_pad: Open) -> None:
    recipe, data = Recipe(), dataset((9, 9), 30)
    net = untrained(recipe, data, 0)
    page = open_pad(recipe, data, {"minigrad": net})
    page.evaluate("pixels => pad.show(pixels)", data.test.images[0].reshape(-1).tolist())
    likeliest = np.sort(np.argsort(-probabilities(net, data.test.images[:1])[0])[:10])
    expect(page.get_by_role("rowheader")).to_have_text([str(label) for label in likeliest])


@pytest.mark.parametrize(
    ("shape", "dtype"), [((784,), np.uint8), ((8, 8, 3), np.uint8), ((8, 8), np.float32), ((8, 8, 1, 1), np.uint8)]
)
def test_there_is_no_pad_for_data_that_cannot_be_drawn(shape: tuple[int, ...], dtype: Any) -> None:
    recipe, data = Recipe(), dataset(shape, 3, dtype=dtype)
    net = Classifier(recipe.model, shape, 3, data.input_scale)
    assert pad.payload(recipe, data, {"minigrad": net.state_dict()}) is None
    assert pad.payload(recipe, dataset((8, 8), 3), {}) is None


# What is drawn


def test_an_empty_pad_shows_a_hint(page: Page) -> None:
    expect(page.get_by_text("The pad is empty")).to_be_visible()
    assert page.evaluate("pad.answers()") == {}
    assert not seen(page).any()


@pytest.mark.parametrize(("scale", "x", "y"), [(1, 0, 0), (0.25, 0.02, 0.7), (1.4, -0.2, -0.2)])
def test_a_drawing_fills_the_box_and_is_centred(
    page: Page, trained: Networks, scale: float, x: float, y: float
) -> None:
    draw(page, moved(THREE, scale, x, y))
    image = seen(page).astype(float)
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert rows[-1] - rows[0] + 1 == 20  # it is taller than wide
    # Its lines are 2.25 pixels thick; the rest is as wide as the rest is tall, in the drawing's aspect.
    assert columns[-1] - columns[0] + 1 == pytest.approx(17.75 * 0.32 / 0.6 + 2.25, abs=1.1)
    at = np.arange(28)
    assert abs((image.sum(axis=1) * at).sum() / image.sum() - 14) <= 0.5
    assert abs((image.sum(axis=0) * at).sum() / image.sum() - 14) <= 0.5
    check_answers(page, trained, image.astype(np.uint8))


def test_position_and_size_of_a_drawing_do_not_matter(page: Page) -> None:
    draw(page, THREE)
    large = seen(page).astype(int)
    page.get_by_role("button", name="Clear").click()
    draw(page, moved(THREE, 0.25, 0.02, 0.7))
    assert np.abs(seen(page) - large).mean() < 0.05 * large.mean()


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.9), (0.9, 0.1)])
def test_lines_are_as_thick_as_in_mnist(page: Page, x: float, y: float) -> None:
    draw(page, [[(0.5, 0.1), (x, y)]])
    image = seen(page) / 255
    length = 17.75 * np.hypot(x - 0.5, y - 0.1) / max(abs(x - 0.5), abs(y - 0.1))
    assert image.sum() == pytest.approx(2.25 * length + np.pi * 1.125**2, rel=0.03)
    assert ((image > 0) & (image < 1)).any()


def test_a_dot_is_a_dot(page: Page) -> None:
    draw(page, [[(0.1, 0.9)]])
    image = seen(page) / 255
    assert image.sum() == pytest.approx(np.pi * 1.125**2, rel=0.05)
    assert image[12:17, 12:17].sum() == image.sum()


def test_an_image_that_is_not_square_keeps_the_aspect_ratio(open_pad: Open) -> None:
    recipe, data = Recipe(), dataset((20, 12), 3)
    nets = {"minigrad": untrained(recipe, data, 0)}
    page = open_pad(recipe, data, nets)
    draw(page, [[(0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6), (0.2, 0.2)]])
    image = seen(page, (20, 12))
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert columns[-1] - columns[0] + 1 == 9  # 20/28 of 12
    assert rows[-1] - rows[0] + 1 == pytest.approx(9, abs=1)
    check_answers(page, nets, image)


def test_digits_traced_from_the_test_set_are_recognised(page: Page, mnist: Dataset, trained: Networks) -> None:
    right = 0
    for label in range(10):
        image = mnist.test.images[np.flatnonzero(mnist.test.labels == label)[0]]
        draw(page, traced(image), steps=1)
        check_answers(page, trained, seen(page))
        right += int(np.argmax(page.evaluate("pad.answers()")["minigrad"])) == label
        page.get_by_role("button", name="Clear").click()
    assert right >= 8


def traced(image: np.ndarray) -> Strokes:
    """Each run of ink in each row as a short stroke, a pixel shorter at each end as the line is thick."""
    strokes = []
    for row, line in enumerate(image > 127):
        edges = np.flatnonzero(np.diff(np.pad(line.astype(int), 1)))
        for start, stop in edges.reshape(-1, 2):
            middle, half = (start + stop) / 2, max(0, (stop - start) / 2 - 1)
            ends = (-1, 1) if half else (0,)
            strokes.append([((middle + end * half) / 28, (row + 0.5) / 28) for end in ends])
    return strokes


def test_undo_removes_the_last_stroke_or_image(page: Page, mnist: Dataset) -> None:
    undo = page.get_by_role("button", name="Undo")
    draw(page, THREE)
    three = seen(page)
    draw(page, [[(0.1, 0.1), (0.9, 0.1)]])
    assert (seen(page) != three).any()
    undo.click()
    assert (seen(page) == three).all()
    page.get_by_role("button", name="Test image 1,").click()
    assert (mnist.test.images == seen(page)).all(axis=(1, 2)).any()
    undo.click()
    assert (seen(page) == three).all()
    undo.click()
    assert not seen(page).any()


def test_a_stroke_replaces_an_image(page: Page) -> None:
    line = [[(0.2, 0.2), (0.8, 0.6)]]
    draw(page, line)
    alone = seen(page)
    page.get_by_role("button", name="Clear").click()
    draw(page, THREE)
    page.get_by_role("button", name="Test image 1,").click()
    draw(page, line)
    assert (seen(page) == alone).all()


# By which means


def test_drawing_and_clearing_work_with_the_keyboard_alone(page: Page, trained: Networks) -> None:
    page.set_viewport_size({"width": 360, "height": 500})
    page.keyboard.press("Tab")
    scrolled = page.evaluate("scrollY")
    expect(page.get_by_label("Drawing pad")).to_be_focused()
    page.keyboard.press("ArrowUp")
    assert not seen(page).any()  # the pen is up
    page.keyboard.press("Space")
    for key in ["ArrowDown"] * 8 + ["ArrowRight"] * 4:
        page.keyboard.press(key)
    page.keyboard.press("Space")
    corner = seen(page)
    page.keyboard.press("ArrowRight")
    assert (seen(page) == corner).all()
    rows, columns = np.flatnonzero(corner.any(axis=1)), np.flatnonzero(corner.any(axis=0))
    assert len(rows) == 20
    assert len(columns) == pytest.approx(17.75 / 2 + 2.25, abs=1)
    assert page.evaluate("scrollY") == scrolled
    check_answers(page, trained, corner)
    for key in ("c", "Delete", "Backspace", "z"):
        page.keyboard.press("Space")
        page.keyboard.press("Space")
        assert seen(page).any()
        page.keyboard.press(key)
        assert key == "z" or not seen(page).any()
    expect(page.get_by_text("The pad is empty")).to_be_visible()


def test_a_finger_draws_and_does_not_scroll(open_pad: Open, recipe: Recipe, mnist: Dataset, trained: Networks) -> None:
    page = open_pad(recipe, mnist, trained, has_touch=True, viewport={"width": 360, "height": 600})
    box = page.get_by_label("Drawing pad").bounding_box()
    assert box
    touch = page.context.new_cdp_session(page)
    for kind, y in [("touchStart", 0.9), *(("touchMove", 0.9 - 0.08 * i) for i in range(1, 10)), ("touchEnd", None)]:
        points = [] if y is None else [{"x": box["x"] + box["width"] / 2, "y": box["y"] + y * box["height"]}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    rows = np.flatnonzero(seen(page).any(axis=1))
    assert len(rows) == 20
    assert page.evaluate("scrollY") == 0
    check_answers(page, trained, seen(page))
    page.evaluate("scrollTo(0, 100)")
    assert page.evaluate("scrollY") == 100  # it could have


@pytest.mark.parametrize("width", [360, 700, 1100])
def test_it_fits_the_width(open_pad: Open, recipe: Recipe, mnist: Dataset, trained: Networks, width: int) -> None:
    nets = dict.fromkeys(("minigrad", "by hand", "torch", "Lightning", "Keras on torch", "JAX"), trained["minigrad"])
    page = open_pad(recipe, mnist, nets, viewport={"width": width, "height": 800})
    draw(page, THREE)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_sentence_replaces_the_pad_in_print(page: Page) -> None:
    page.emulate_media(media="print")
    expect(page.get_by_text("In a browser, this page")).to_be_visible()
    expect(page.get_by_label("Drawing pad")).to_be_hidden()
    expect(page.get_by_role("table")).to_be_hidden()


@pytest.mark.parametrize("name", ["pad_network.js", "pad_image.js", "pad_view.js", "pad.js"])
def test_the_template_does_not_change_the_scripts(name: str, recipe: Recipe) -> None:
    data = dataset((28, 28), 10)
    page = render(recipe, data, {"minigrad": Classifier(recipe.model, (28, 28), 10)})
    assert (FOLDER / name).read_text(encoding="utf-8").strip() in page
