"""The step player in Chromium: it shows the engine's numbers, chains of factors, mistakes, and fits every screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from minigrad import Tensor, datasets, ops
from minigrad.classifier import Classifier
from minigrad.functional import grad
from minigrad.recipes import Recipe
from minigrad.study import page as study_page
from minigrad.study import step, subjects
from minigrad.study.recording import Recorder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]
BATCH, SEED = 12, 42


def recipe_for(**model: Any) -> Recipe:
    return Recipe.from_dict(
        {
            "model": {"hidden": [10], **model},
            "data": {"path": "digits", "batch_size": BATCH},
            "trainer": {"max_epochs": 1},
        }
    )


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "step.html"
    path.write_text(step.page_of(recipe_for()), encoding="utf-8")
    return path


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens a page; afterwards, there must have been no error and no request."""
    problems: list[str] = []
    contexts = []

    def visit(path: Path, fragment: str = "", width: int = 1280, scheme: Any = "light") -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        tab = contexts[-1].new_page()
        tab.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda r: None if r.url.startswith((path.as_uri(), "data:")) else problems.append(r.url))
        tab.goto(f"{path.as_uri()}#{fragment}")
        tab.wait_for_selector("html[data-ready]", timeout=10_000)
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


class Reference:
    """The same step, computed by the engine alone: values and gradients by symbol."""

    def __init__(self) -> None:
        recipe = recipe_for()
        data = datasets.load("digits", recipe.data.validation_size, recipe.seed_everything)
        single = Classifier(recipe.model, data.input_shape, data.classes, data.input_scale, SEED)
        self.net = Classifier(recipe.model, data.input_shape, data.classes, data.input_scale, SEED, np.float64)
        self.net.load_state_dict(single.state_dict())
        first, second = list(datasets.batches(len(data.train.labels), BATCH, SEED, 0))[:2]
        self.images, self.labels = data.train.images[first], data.train.labels[first]
        self.other = data.train.images[second], data.train.labels[second]
        w1, b1, w2, b2 = (p.data for p in self.net.parameters())
        x = self.images.reshape(BATCH, -1) * data.input_scale
        z1 = x @ w1.T + b1
        a1 = np.maximum(z1, 0)
        z2 = a1 @ w2.T + b2
        self.values = {
            "x": x,
            "W_{1}": w1,
            "b_{1}": b1,
            "W_{2}": w2,
            "b_{2}": b2,
            "z_{1}": z1,
            "a_{1}": a1,
            "z_{2}": z2,
        }

        def loss(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
            hidden = ops.linear(ops.relu(ops.linear(x, w1, b1)), w2, b2)
            return ops.cross_entropy(hidden, self.labels)

        self.values["L"] = loss(x, w1, b1, w2, b2)
        symbols = ("x", "W_{1}", "b_{1}", "W_{2}", "b_{2}")
        self.gradients = dict(zip(symbols, grad(loss, (0, 1, 2, 3, 4))(x, w1, b1, w2, b2), strict=True))
        later = {
            "z_{1}": lambda z: ops.cross_entropy(ops.linear(ops.relu(z), w2, b2), self.labels),
            "a_{1}": lambda a: ops.cross_entropy(ops.linear(a, w2, b2), self.labels),
            "z_{2}": lambda z: ops.cross_entropy(z, self.labels),
        }
        self.gradients |= {symbol: grad(f)(self.values[symbol]) for symbol, f in later.items()}
        self.gradients["L"] = np.ones(())


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


def shown(tab: Page, name: str, within: str = "#event .array") -> list[tuple[int, float]]:
    """The flat index and the full number of each array's selected element."""
    found = tab.locator(f"{within} [data-name='{name}']").evaluate_all(
        "all => all.map(e => [e.dataset.index, e.dataset.value])"
    )
    return [(int(index), float(value)) for index, value in found]


def number(tab: Page, selector: str) -> float:
    value = tab.locator(selector).first.get_attribute("data-value")
    assert value is not None
    return float(value)


def close(actual: float, expected: Any) -> bool:
    return bool(np.isclose(actual, expected, rtol=1e-12, atol=1e-300))


# The events of the network: what is shown at each, as (name, symbol, gradient or value).
STEPS: list[tuple[str, list[tuple[str, str, str]]]] = [
    ("zero_grad", []),
    ("linear computes z₁", [("operand input", "x", "v"), ("operand weight", "W_{1}", "v"), ("value", "z_{1}", "v")]),
    ("relu computes a₁", [("operand input", "z_{1}", "v"), ("value", "a_{1}", "v")]),
    ("linear computes z₂", [("operand bias", "b_{2}", "v"), ("value", "z_{2}", "v")]),
    ("cross_entropy computes L", [("operand input", "z_{2}", "v"), ("value", "L", "v")]),
    ("starts at L", [("value", "L", "v")]),
    ("dL/dL into dL/dz₂", [("incoming", "L", "g"), ("returned", "z_{2}", "g")]),
    ("dL/dz₂ into dL/da₁", [("incoming", "z_{2}", "g"), ("returned", "a_{1}", "g")]),
    ("dL/dz₂ into dL/dW₂", [("incoming", "z_{2}", "g"), ("returned", "W_{2}", "g")]),
    ("dL/dz₂ into dL/db₂", [("incoming", "z_{2}", "g"), ("returned", "b_{2}", "g")]),
    ("dL/da₁ into dL/dz₁", [("incoming", "a_{1}", "g"), ("returned", "z_{1}", "g")]),
    ("dL/dz₁ into dL/dW₁", [("incoming", "z_{1}", "g"), ("returned", "W_{1}", "g")]),
    ("dL/dz₁ into dL/db₁", [("incoming", "z_{1}", "g"), ("returned", "b_{1}", "g")]),
    ("updates W₁", [("before", "W_{1}", "v"), ("gradient", "W_{1}", "g"), ("after", "W_{1}", "u")]),
    ("updates b₁", [("before", "b_{1}", "v"), ("gradient", "b_{1}", "g"), ("after", "b_{1}", "u")]),
    ("updates W₂", [("before", "W_{2}", "v"), ("gradient", "W_{2}", "g"), ("after", "W_{2}", "u")]),
    ("updates b₂", [("before", "b_{2}", "v"), ("gradient", "b_{2}", "g"), ("after", "b_{2}", "u")]),
]


def test_each_event_shows_the_numbers_of_the_engine(html: Path, visit: Open, reference: Reference) -> None:
    tab, texts = visit(html), []
    rate = recipe_for().model.learning_rate
    for k, (words, arrays) in enumerate(STEPS):
        texts.append(tab.locator("#sentence").inner_text())
        assert words in texts[-1]
        assert tab.evaluate("location.hash") == f"#subject=network&mistake=&event={k}"
        for name, symbol, kind in arrays:
            [(index, value)] = shown(tab, name)
            expected = {
                "v": lambda s: reference.values[s],
                "g": lambda s: reference.gradients[s],
                "u": lambda s: reference.values[s] - rate * reference.gradients[s],
            }[kind](symbol)
            assert close(value, np.ravel(expected)[index]), (words, name)
        if arrays and arrays[-1][0] == "returned":
            assert number(tab, ".facts [data-name=total]") == shown(tab, "returned")[0][1]
        tab.keyboard.press("ArrowRight")
    assert len(set(texts)) == len(STEPS)
    assert tab.locator("#next").is_disabled()


def test_keys_buttons_and_address_select_the_event(html: Path, visit: Open) -> None:
    tab = visit(html, "subject=network&mistake=&event=4")
    position = tab.locator("#position")
    assert position.inner_text() == f"5 / {len(STEPS)}"
    for press, expected in (("ArrowLeft", 4), ("End", len(STEPS)), ("Home", 1), ("ArrowRight", 2)):
        tab.keyboard.press(press)
        assert position.inner_text().startswith(f"{expected} /")
    tab.click("#next")
    tab.locator("#slider").focus()
    tab.keyboard.press("ArrowRight")
    assert position.inner_text().startswith("4 /")
    tab.evaluate("location.hash = '#subject=reuse&mistake=depth_first&event=5'")
    tab.wait_for_function("document.querySelector('#position').textContent === '6 / 9'")
    tab.evaluate("location.hash = '#train'")
    tab.wait_for_selector("#train:not([hidden])")
    assert tab.locator("#step").is_hidden()


def test_formula_and_source_of_the_event(html: Path, visit: Open, reference: Reference) -> None:
    tab = visit(html, "subject=network&mistake=&event=6")
    [(index, returned)] = shown(tab, "returned")
    values = tab.locator(".numbers [data-value]").evaluate_all("all => all.map(e => Number(e.dataset.value))")
    z = reference.values["z_{2}"][index // 10]
    probability = np.exp(z - z.max())[index % 10] / np.exp(z - z.max()).sum()
    assert values[0] == 1
    assert close(values[1], probability)
    assert values[-1] == returned
    assert "d *= scale" in tab.locator(".code mark").all_inner_texts()[-2]
    assert "minigrad/ops/loss.py" in tab.locator(".source").inner_text()


def test_symbols_and_indices_are_explained_and_one_path_is_followed(html: Path, visit: Open) -> None:
    tab = visit(html, "subject=network&mistake=&event=1")
    meanings = " ".join(tab.locator(".where-list dd").all_inner_texts())
    assert "hidden.0.weight, 10 × 64" in meanings
    assert "the index of the unit the index of the pixel" in meanings
    assert re.fullmatch(r"image 0, unit \d", tab.locator(".where").inner_text())
    weight = shown(tab, "operand weight")[0][0]
    assert weight % 64 == shown(tab, "operand input")[0][0]  # the pixel that the weight is multiplied by
    assert f"row {weight % 64 // 8}, column {weight % 8}" in tab.locator(".inspector-head").inner_text()
    for subject, event, words in (
        ("reuse&mistake=depth_first", 4, "Too early: only 1 of 2 contributions to dc/db has arrived."),
        ("reuse&mistake=depth_first", 7, "Passed on again"),
        ("network&mistake=softmax_twice", 4, "The first softmax"),
        ("network&mistake=transposed_weight", 3, "not needed"),
        ("network&mistake=no_zero_grad", 8, "right for this batch"),
    ):
        tab.evaluate(f"location.hash = '#subject={subject}&event={event}'")
        tab.wait_for_function(f"document.querySelector('#wrong').textContent.includes({words!r})")


def click_pixel(tab: Page, element: int, tiles: int) -> None:
    """Click an element of the gradient in the inspector, whose 8 x 8 images are 5 in a row, with a gap of a pixel."""
    unit, pixel = divmod(element, 64)
    across, down = (5, -(-tiles // 5)) if tiles > 1 else (1, 1)
    canvas = tab.locator("#inspector canvas").nth(1)
    box = canvas.bounding_box()
    assert box is not None
    x, y = unit % across * 9 + pixel % 8 + 0.5, unit // across * 9 + pixel // 8 + 0.5
    canvas.click(position={"x": box["width"] * x / (9 * across - 1), "y": box["height"] * y / (9 * down - 1)})


def test_a_click_shows_the_chain_of_factors(html: Path, visit: Open, reference: Reference) -> None:
    """The terms sum to the gradient, and the finite difference agrees."""
    tab = visit(html, "subject=network&mistake=&event=11")
    for symbol in ("W_{1}", "x"):
        gradients = reference.gradients[symbol]
        if symbol == "x":
            tab.locator("#graph .box", has_text="64").first.click()
            gradients = gradients[0]
        element = int(np.argsort(-np.abs(gradients.ravel()))[2])
        click_pixel(tab, element, gradients.size // 64)
        [(index, gradient)] = shown(tab, "gradient", "#inspector .array")
        assert index == element
        assert close(gradient, gradients.ravel()[index])
        if not tab.locator("#inspector .terms[open]").count():  # it stays open for the next element
            tab.locator("#inspector .terms summary").last.click()
        rows = tab.locator("#inspector .terms").last.locator("tbody tr")
        rows.last.wait_for()
        products = rows.locator("[data-name=product]").evaluate_all("all => all.map(e => Number(e.dataset.value))")
        factors = rows.locator("[data-name=g], [data-name=factor]").evaluate_all(
            "all => all.map(e => Number(e.dataset.value))"
        )
        np.testing.assert_allclose(np.prod(np.reshape(factors, (-1, 2)), axis=1), products, rtol=1e-14)
        assert abs(sum(products) - gradient) <= 1e-12 * max(1e-3, abs(gradient))
        assert abs(number(tab, "#inspector [data-name=chain-sum]") - gradient) <= 1e-15
        assert number(tab, "#inspector [data-name=estimate]") == pytest.approx(gradient, abs=1e-7)
        assert "Both agree" in tab.locator("#inspector").inner_text()


def test_mistakes_change_the_gradients(html: Path, visit: Open, reference: Reference) -> None:
    tab = visit(html, "subject=reuse&mistake=&event=3")
    assert tab.locator("#differences").is_hidden()
    tab.locator("#mistakes input").click()
    assert [number(tab, f"#differences [data-name={name}]") for name in ("wrong", "correct")] == [6, 4]
    assert "mistake=depth_first" in tab.evaluate("location.hash")
    tab.select_option("#subject", "network")
    tab.click("#mistakes input[value=no_zero_grad]")
    net = reference.net
    ops.cross_entropy(net(reference.other[0]), reference.other[1]).backward()
    ops.cross_entropy(net(reference.images), reference.labels).backward()
    norms = [np.linalg.norm(p.grad) for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    wrong = tab.locator("#differences [data-name=wrong]").evaluate_all("all => all.map(e => Number(e.dataset.value))")
    np.testing.assert_allclose(wrong, norms, rtol=1e-12)
    assert "left over from another batch" in tab.locator("#inspector").inner_text()
    for mistake in ("softmax_twice", "transposed_weight"):
        tab.click(f"#mistakes input[value={mistake}]")
        assert tab.locator("#differences tr.wrong").count() == 4
    assert tab.locator("#mistakes input[value=depth_first]").is_disabled()


CONTRAST = """() => {
  const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (c) => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = c; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const under = (e) => {
    const c = rgba(getComputedStyle(e).backgroundColor);
    return c[3] > 128 ? c : e.parentElement ? under(e.parentElement) : [255, 255, 255];
  };
  const bad = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = walk.nextNode());) {
    const e = n.parentElement;
    if (!n.textContent.trim() || !e.getClientRects().length || e.closest('script, style, .katex-mathml, .off, .skip, [disabled]')) continue;
    const drawn = e.closest('svg') ? e.parentElement.querySelector('rect') : null, style = getComputedStyle(e);
    const back = drawn ? rgba(getComputedStyle(drawn).fill) : under(e), front = rgba(drawn ? style.fill : style.color);
    const [a, b] = [light(front.slice(0, 3)), light(back.slice(0, 3))].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) bad.push([n.textContent.trim().slice(0, 30), ratio.toFixed(2)]);
  }
  return bad;
}"""


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_it_fits_a_phone_and_can_be_read(html: Path, visit: Open, scheme: str) -> None:
    tab = visit(html, "subject=small_steps&mistake=depth_first&event=2", width=360, scheme=scheme)
    for fragment in (
        "small_steps&mistake=depth_first&event=20",
        "network&mistake=&event=1",
        "network&mistake=&event=14",
    ):
        tab.evaluate(f"location.hash = '#subject={fragment}'")
        tab.wait_for_timeout(50)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        assert tab.evaluate(CONTRAST) == []
    small = tab.locator("button:visible, select:visible, summary:visible, .toggle:visible, input[type=number]:visible")
    sizes = small.evaluate_all("all => all.map(e => [e.textContent.slice(0, 30), e.getBoundingClientRect().height])")
    assert [s for s in sizes if s[1] < 43.9] == []


@pytest.mark.slow
def test_a_screen_reader_gets_the_sentence_and_the_pictures(html: Path, visit: Open) -> None:
    tab = visit(html, "subject=network&mistake=&event=11")
    assert tab.locator("#sentence").get_attribute("aria-live") == "polite"
    labels = tab.locator("#step canvas").evaluate_all("all => all.map(e => [e.getAttribute('role'), e.ariaLabel])")
    assert labels
    assert all(role == "img" and "from" in text and " to " in text for role, text in labels)
    names = tab.locator("button, select, input").evaluate_all(
        "all => all.filter(e => !e.ariaLabel && !e.labels?.length && !e.textContent.trim()).map(e => e.outerHTML)"
    )
    assert names == []
    canvas = tab.locator("#inspector canvas").first
    canvas.focus()
    before = tab.locator("#inspector h2").inner_text()
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#inspector h2").inner_text() != before
    assert tab.locator("#position").inner_text().startswith("12 /")
    assert tab.evaluate("document.activeElement.tagName") == "CANVAS"


def step_through(tab: Page) -> list[str]:
    """Visit all events; return the backward events whose formula has no terms with numbers."""
    without = []
    for _ in range(int(tab.locator("#slider").get_attribute("max") or 0)):
        tab.keyboard.press("ArrowRight")
        if tab.locator("#phase").inner_text() == "Backward" and not tab.locator(".numbers[data-terms]").count():
            without.append(tab.locator("#operation").inner_text())
    return [text for text in without if text != "Start"]


def every_operation(x: Tensor, w: Tensor, kernel: Tensor, labels: np.ndarray) -> Tensor:
    """A loss that uses the operations that a training step does not have."""
    n = len(labels)
    images = ops.reshape(x, (n, 1, 4, 4))
    pooled = ops.avg_pool2d(ops.max_pool2d(ops.conv2d(images, kernel, padding=1), 2), 2)
    a = ops.flatten(pooled, 1)
    z = ops.matmul(ops.concatenate([ops.tanh(a), ops.sigmoid(a)], 1), ops.transpose(w))
    z = ops.negative(ops.divide(ops.multiply(z, z), ops.add(ops.exp(z), 1.5)))
    z = z + ops.square(ops.sqrt(ops.exp(z))) + ops.power(ops.exp(z), 2.0) + ops.softmax(z, 1)
    z = z - ops.logsumexp(z, keepdims=True) + ops.sum(z, axis=1, keepdims=True) + ops.maximum(z, 0.1)
    z = (
        ops.swapaxes(ops.swapaxes(z, 0, 1), 0, 1)
        + ops.log(ops.exp(z))
        + ops.silu(z)
        + ops.max(z, axis=1, keepdims=True)
    )
    lp = ops.log_softmax(z)
    picked = ops.mean(ops.getitem(lp, (np.arange(n), labels)))
    return ops.nll_loss(lp, labels) - picked + ops.mse_loss(z, np.zeros(z.shape))


@pytest.mark.slow
def test_every_operation_has_a_formula_with_numbers(tmp_path: Path, visit: Open) -> None:
    rng = np.random.default_rng(0)
    x, w, kernel = (Tensor(rng.normal(size=s), requires_grad=True) for s in ((3, 16), (5, 4), (2, 1, 3, 3)))
    labels = np.array([1, 4, 0])
    recorder = Recorder()
    for tensor, kind, name in (
        (x, "parameter", "x.weight"),
        (w, "parameter", "w.weight"),
        (kernel, "parameter", "kernel.weight"),
    ):
        recorder.add(tensor, kind, name)
    recorder.add(labels, "label", "labels", "t")
    with recorder.active():
        loss = every_operation(x, w, kernel, labels)
        loss.backward()
    header = {
        "title": "operations", "step": 1, "unavailable": [], "training": None,
        "batch": {"size": 3, "images": x.data, "labels": labels, "classes": 5, "class_names": None, "shown": 0},
        "recordings": [subjects.content(recorder, "network", None, loss, 0, None)],
    }  # fmt: skip
    path = tmp_path / "operations.html"
    path.write_text(study_page.render(header), encoding="utf-8")
    assert [text for text in step_through(visit(path)) if "concatenate" not in text] == []


@pytest.mark.slow
def test_a_convolutional_network_with_normalization_and_dropout(tmp_path: Path, visit: Open) -> None:
    model = {"architecture": "cnn", "channels": [2], "kernel_size": 3, "batch_norm": True, "dropout": 0.2}
    path = tmp_path / "cnn.html"
    path.write_text(step.page_of(recipe_for(**model)), encoding="utf-8")
    assert step_through(visit(path)) == []
