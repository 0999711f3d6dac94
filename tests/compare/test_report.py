"""report.html and the PNG files: complete, without requests, with the values of results.json, and with parts missing."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as BrowserPage

from compare import contenders
from compare.report import figures, images, plots, table, text, theme
from compare.report import page as report_page
from compare.results import source_code
from compare.results.schema import Results
from minigrad.datasets import Dataset, Split

sys.path.insert(0, str(Path(__file__).parent))

import sample

VOID = {"meta", "link", "img", "br", "hr", "input"}
SECTIONS = ["answer", "draw", "agreement", "speed", "phases", "width", "accuracy", "latency", "digits", "code"]
SECTIONS += ["claims", "environment"]
CHARTS = {"ratio": 1, "agreement": 2, "rounds": 1, "times": 3, "composition": 3, "width": 1, "accuracy": 1, "target": 3}
CHARTS["latency"] = 3

Render = Callable[..., "Page"]


@dataclass
class Page(HTMLParser):
    """A parsed page: its text, ids, links and cells."""

    source: str
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[key] for key in ("href", "src", "action", "srcset") if key in values]
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def sections(self) -> list[str]:
        return [name for name in self.ids if name in SECTIONS]

    @property
    def charts(self) -> dict[str, Any]:
        """The specification of each chart."""
        found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', self.source, re.DOTALL)
        assert found
        return json.loads(found[1])

    @property
    def downloads(self) -> dict[str, str]:
        """The content of the data: links, by file name."""
        found = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', self.source)
        return {name: base64.b64decode(text).decode() for name, text in found}


def write(path: Path, results: Results, data: Dataset | None = None) -> Page:
    """Render a page, and check that ids are unique, that links lead somewhere, and that nothing is loaded from outside."""
    networks = {row["name"]: sample.networks()[row["name"]] for row in results["contenders"]}
    report_page.write(path, results, sample.recipe(), data or sample.data(), networks)
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids))
    assert all(link[1:] in page.ids if link.startswith("#") else link.startswith("data:") for link in page.links)
    assert {f"chart-{name}" for name in page.charts} <= set(page.ids)
    return page


@pytest.fixture
def results() -> Results:
    return sample.results()


@pytest.fixture
def render(tmp_path: Path) -> Render:
    return lambda *arguments: write(tmp_path / "report.html", *arguments)


@pytest.fixture(scope="module", autouse=True)
def programs() -> Iterator[None]:
    """Every contender has a program, except minigrad, whose file is missing."""
    with pytest.MonkeyPatch.context() as patch:
        for name in sample.STEP_US:
            patch.setattr(contenders.find(name), "program", name)
        patch.setattr(
            source_code, "program", lambda name: None if name == "minigrad" else f"step <{name}>", raising=False
        )
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "report.html"


@pytest.fixture(scope="module")
def page(file: Path) -> Page:
    return write(file, sample.results())


# The page's content


def test_the_page_has_every_section_and_chart(page: Page) -> None:
    assert page.sections == SECTIONS
    assert set(page.charts) == {f"{name}-{i}" for name, count in CHARTS.items() for i in range(count)}


def test_the_page_contains_the_raw_results(page: Page, results: Results) -> None:
    assert json.loads(page.downloads["results.json"]) == results


def test_the_page_begins_with_the_answer(page: Page) -> None:
    answer = "Same network, same answers to 9,999 of 10,000 test images. By hand 113 µs per step; minigrad 1.07x (undecided),"
    assert answer in page.text
    assert (
        page.text.index(answer) < page.text.index("The contenders agree") < page.text.index("A processor, 2 processors")
    )
    assert (
        "Other processes disturbed 1 of 12 rounds of the closed division. Disturbed rounds do not count." in page.text
    )


def test_the_page_names_variables_that_select_kernels(render: Render, results: Results) -> None:
    results["environment"]["variables"] = {"OPENBLAS_CORETYPE": "Haswell"}
    assert "times differ: OPENBLAS_CORETYPE=Haswell." in render(results).text


def test_the_tables_contain_the_measurements(page: Page, results: Results) -> None:
    shown = {"oneMKL 2024.2", "SkylakeX", "Trainer(barebones=True)", "1.07x (undecided)", "0.60"}
    shown |= {"4.90", "slower"}  # Lightning divided by by hand, in the matrix of pairs
    for row in results["contenders"]:
        shown |= {table.micros(row["steady_step_us"]), table.seconds(row["seconds"]["startup"])}  # type: ignore[typeddict-item]
    assert shown <= {*page.cells, *page.words}


def test_programs_are_shown_where_they_exist(page: Page) -> None:
    assert "Keras, 34 lines of code step <keras>" in page.text
    assert "minigrad, 34 lines of code" not in page.text


def test_claims_are_shown_with_their_sources(page: Page) -> None:
    assert "Source: A common blog post. Judged by: the steady step time." in page.text


def test_a_table_can_be_saved_as_csv(page: Page, results: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(page.downloads["phases-in-seconds;-train-includes-the-first-step.csv"])))
    assert [row["contender"] for row in rows] == [row["title"] for row in results["contenders"]]
    assert [float(row["total s"]) for row in rows] == [row["seconds"]["total"] for row in results["contenders"]]  # type: ignore[typeddict-item]


def test_the_images_are_those_of_the_test_set(page: Page, results: Results) -> None:
    index = results["digits"]["hardest"][0]["index"]
    found = re.search(rf'alt="Test image {index}, labelled \d+" src="data:image/png;base64,([^"]+)"', page.source)
    assert found
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
        assert np.array_equal(np.asarray(image), sample.data().test.images[index])


# Parts that are missing


def test_without_agreement_the_page_shows_only_the_parity(render: Render, results: Results) -> None:
    cell = results["parity"]["contenders"]["torch"]["float64"]
    cell |= {"passed": False, "first": "step 3, loss: nan where minigrad has <1>", "max_abs_diff": None}
    cell["by_step"] = dict.fromkeys(cell["by_step"])
    results["parity"]["passed"] = results["parity"]["float64"]["passed"] = False
    page = render(results)
    assert page.sections == ["answer", "agreement", "environment"]
    assert "The contenders do NOT agree: torch in float64: step 3, loss: nan where minigrad has <1>" in page.text
    assert "µs" not in page.text


def test_without_a_measurement_the_page_shows_no_verdicts(render: Render, results: Results) -> None:
    results |= {"status": "not measured", "status_reason": "other processes disturbed 9 of 12 rounds."}
    page = render(results)
    assert "NOT MEASURED: other processes disturbed 9 of 12 rounds." in page.text
    assert text.NOT_RELIABLE in page.text
    assert {"draw", "agreement", "speed", "accuracy", "digits", "code"} <= set(page.sections)
    assert "claims" not in page.sections
    assert "ratio-0" not in page.charts
    for word in ("faster than", "Pairs"):
        assert word not in page.text


def test_failed_contenders_are_shown(render: Render, results: Results) -> None:
    row = results["contenders"][1]
    kept = ("name", "title", "trains_by", "lines_of_code", "division")
    results["contenders"][1] = {key: row[key] for key in kept} | {"status": "needs <an NVIDIA GPU>"}
    assert "by hand: needs <an NVIDIA GPU>" in render(results).text


def test_a_page_of_minigrad_alone(render: Render) -> None:
    page = render(sample.results(("minigrad",)))
    assert "There is no other contender to compare with minigrad." in page.text
    assert "Minigrad 121 µs per step." in page.text
    assert not {"ratio-0", "agreement-0"} & set(page.charts)


def test_a_page_with_only_the_closed_division_and_one_seed(render: Render) -> None:
    results = sample.results(seeds=1)
    for row in results["contenders"]:
        row["runs"][0] |= {"curve": [], "seconds_to_target": None}
        row["seconds_to_target"] = None
        del row["latency"], row["products"]
    for pair in results["ratios"]:
        pair |= {"low": None, "high": None, "verdict": "undecided", "rounds": 1}
    results |= {"target": None, "default": [], "open": [], "sweep": None, "rounds": []}
    page = render(results)
    assert "width" not in page.ids
    assert "division: as" not in page.text  # neither the default nor the open division is described
    assert "There is no target accuracy" in page.text
    assert set(page.charts) == {"ratio-0", "agreement-0", "agreement-1", "times-0", "times-1", "times-2", "accuracy-0"}


def test_a_page_for_vectors_has_no_images_and_no_pad(render: Render, results: Results) -> None:
    data = sample.data()
    flat = Split(data.test.images.reshape(len(data.test.labels), -1), data.test.labels)
    assert not {"digits", "draw"} & set(render(results, replace(data, train=flat, test=flat)).ids)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3)])
def test_float_and_color_images_are_shown(shape: tuple[int, ...]) -> None:
    values = np.linspace(-1, 3, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    with Image.open(io.BytesIO(base64.b64decode(images.uri(values).split(",")[1]))) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (shape if shape[-1] == 3 else shape[:2])
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_titles_and_class_names_are_escaped(render: Render, results: Results) -> None:
    names = tuple(f"<script>alert({k})</script>" for k in range(sample.CLASSES))
    results["contenders"][0]["title"] = title = "</svg><script>alert('&')</script>"
    page = render(results, replace(sample.data(), class_names=names))
    assert "<script>alert(" not in page.source
    assert f"labelled {escape(names[0])}" in page.source
    assert title in page.text
    assert names[3] in page.text


# The charts


def test_each_contender_has_its_own_shape_and_colors() -> None:
    for values in zip(*theme.CONTENDERS.values(), strict=True):
        assert len(set(values)) == len(theme.CONTENDERS)


@pytest.mark.parametrize(("low", "high"), [(1, 430), (3e-16, 3e-12), (850, 960), (1, 1), (0.143, 0.2)])
def test_ticks_are_few_and_round(low: float, high: float) -> None:
    found = plots.ticks([low, high], 5)
    assert len(found) <= 6
    assert all(float(f"{value:.2g}") == value for value in found)


def test_the_png_files_are_drawn(tmp_path: Path, results: Results) -> None:
    figures.draw(tmp_path / "comparison.png", results)
    figures.draw_crossover(tmp_path / "crossover.png", results)
    for name in ("comparison", "crossover"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.width > 1500
            colors = {color[:3] for _, color in image.convert("RGB").getcolors(1 << 24)}
            drawn = {tuple(bytes.fromhex(theme.CONTENDERS[name][0][1:])) for name in sample.STEP_US}
            assert drawn <= colors


def test_a_png_without_measurements_is_drawn(tmp_path: Path) -> None:
    results = sample.results(("minigrad",))
    results |= {"status": "not measured", "status_reason": "nothing ran."}
    figures.draw(tmp_path / "comparison.png", results)
    assert (tmp_path / "comparison.png").stat().st_size > 1000


# The page in a browser


@pytest.fixture
def opened(page: Page, file: Path, browser: Browser) -> Iterator[Callable[..., BrowserPage]]:
    """Opens the page, waits for its charts, and checks that it logs nothing and sends no request."""
    trouble: list[str] = []
    contexts = []

    def open_(**options: Any) -> BrowserPage:
        contexts.append(browser.new_context(**options))
        shown = contexts[-1].new_page()
        shown.on("console", lambda message: trouble.append(message.text))
        shown.on("pageerror", lambda error: trouble.append(str(error)))
        shown.on("request", lambda request: request.url.startswith("http") and trouble.append(request.url))
        shown.goto(file.as_uri())
        shown.wait_for_selector(f"body[data-charts='{sum(CHARTS.values())}']")
        return shown

    yield open_
    for context in contexts:
        context.close()
    assert trouble == []


OUTSIDE = """[...document.querySelectorAll('.chart svg')].flatMap((svg) => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter((text) => {
        const box = text.getBoundingClientRect();
        return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1);
    }).map((text) => text.textContent);
})"""


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_charts_and_text_fit_the_window(opened: Callable[..., BrowserPage], width: int, scheme: Any) -> None:
    page = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OUTSIDE) == []
    sizes = page.evaluate(
        "[...document.querySelectorAll('.chart text')].map((t) => parseFloat(getComputedStyle(t).fontSize))"
    )
    assert min(sizes) >= 12
    ink, paper, label = (
        page.evaluate(f"getComputedStyle(document.querySelector('{where}')).{name}")
        for where, name in (("body", "color"), ("body", "backgroundColor"), (".chart .role-axis-label text", "fill"))
    )
    brightness = [sum(map(int, re.findall(r"\d+", found)[:3])) for found in (ink, paper, label)]
    assert abs(brightness[0] - brightness[1]) > 400
    assert (brightness[0] > brightness[1]) is (brightness[2] > brightness[1]) is (scheme == "dark")


def test_values_are_shown_on_hover_and_touch(opened: Callable[..., BrowserPage]) -> None:
    page = opened(viewport={"width": 360, "height": 740}, has_touch=True)
    tooltip = page.locator("#vg-tooltip-element")
    chart = page.locator("#chart-ratio-0 svg")
    chart.scroll_into_view_if_needed()
    chart.hover(position={"x": 200, "y": 15})
    expect(tooltip).to_contain_text("113 µs")
    steps = page.locator("#chart-agreement-0 svg")
    steps.scroll_into_view_if_needed()
    box = steps.bounding_box()
    assert box
    page.touchscreen.tap(box["x"] + box["width"] - 12, box["y"] + 100)
    expect(tooltip).to_contain_text("Lightning")  # all contenders at that step


def test_the_printed_page_is_light_and_has_neither_pad_nor_raw_data(opened: Callable[..., BrowserPage]) -> None:
    page = opened(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(31, 34, 38)"
    assert not page.locator("#draw canvas:visible, button:visible, details:visible, nav:visible").count()
    pdf = page.pdf(format="A4", prefer_css_page_size=True)
    assert max(map(int, re.findall(rb"/Count (\d+)", pdf))) <= 6


def test_the_pad_gives_one_answer_if_all_contenders_agree(opened: Callable[..., BrowserPage]) -> None:
    page = opened()
    page.get_by_role("button", name="Test image 1,").click()
    expect(page.locator("#draw thead th:visible")).to_have_text(["", "all 5 contenders"])
