"""report.html: complete, without requests, with the values of results.json, on a phone, and with parts missing."""

from __future__ import annotations

import base64
import copy
import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image
from playwright.sync_api import Browser

from compare import contenders
from compare.report import images, svg, table, text, width_chart
from compare.report import page as report_page
from compare.results import source_code
from minigrad import datasets
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe

VOID = {"meta", "link", "img", "br", "hr", "input"}
SECTIONS = ["verdict", "measured", "agreement", "width", "phases", "curves", "seeds", "latency", "digits", "draw"]
SECTIONS += ["code", "claims", "environment"]

Results = dict[str, Any]
Rendered = Callable[..., "Page"]


@dataclass
class Page(HTMLParser):
    """A parsed page: its text, ids, references to ids, and tables."""

    source: str
    ids: list[str] = field(default_factory=list)
    targets: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    charts: int = 0
    words: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        self.targets |= {name for key in ("aria-labelledby", "aria-describedby") for name in given.get(key, "").split()}
        for key in ("href", "src", "action", "srcset"):
            if key in given:
                self.links.append(given[key])
        self.targets |= {link[1:] for link in self.links if link.startswith("#")}
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "svg" and given.get("role") == "img":
            self.charts += 1
            assert len(given["aria-labelledby"].split()) == 2  # its title and its description

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
    def downloads(self) -> dict[str, str]:
        """The content of the data: links, by file name."""
        found = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', self.source)
        return {name: base64.b64decode(text).decode() for name, text in found}


@pytest.fixture(scope="module")
def data(results: Results) -> Dataset:
    recipe = results["recipe"]
    return datasets.load(recipe["data"]["path"], recipe["data"]["validation_size"], recipe["seed_everything"])


@pytest.fixture
def networks(run_folder: Path, results: Results) -> dict[str, dict[str, np.ndarray]]:
    seed = str(results["plan"]["seeds"][0])
    files = {
        row["name"]: run_folder / "jobs/closed" / row["name"] / seed / "network.npz" for row in results["contenders"]
    }
    return {name: dict(np.load(path)) for name, path in files.items()}


@pytest.fixture
def page(run_folder: Path) -> Page:
    """The page that the command wrote."""
    return Page((run_folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def edited(results: Results) -> Results:
    """A copy of the results, to be changed."""
    return copy.deepcopy(results)


@pytest.fixture
def render(tmp_path: Path, data: Dataset) -> Rendered:
    """Renders the page of other results or data."""

    def write(results: Results, data: Dataset = data, networks: report_page.Networks | None = None) -> Page:
        report_page.write(tmp_path / "report.html", results, Recipe.from_dict(results["recipe"]), data, networks or {})
        found = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
        _check(found)
        return found

    return write


def _check(page: Page) -> None:
    """Check that ids are unique, that references exist, and that nothing is loaded from outside."""
    assert len(page.ids) == len(set(page.ids))
    assert page.targets <= set(page.ids)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not re.search(r"url\((?!data:)|@import", page.source)


def test_the_page_is_valid_and_has_every_section_and_chart(page: Page, results: Results) -> None:
    _check(page)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    latencies = len(results["contenders"][0]["latency"])
    assert page.charts == 2 + len(results["sweep"]["batch_sizes"]) + 1 + 1 + 2 + latencies
    assert page.source.count("<details>") == 6  # each chart's figures as a table


def test_the_page_contains_the_raw_results(page: Page, results: Results) -> None:
    assert json.loads(page.downloads["results.json"]) == results


def test_the_page_shows_verdict_conditions_and_divisions(page: Page, results: Results) -> None:
    for line in (*text.verdict(results), text.conditions(results)):
        assert " ".join(line.split()) in page.text
    assert "Closed division" in page.text
    assert "Open division" in page.text


def test_the_tables_contain_the_measurements(page: Page, results: Results) -> None:
    for row in results["contenders"]:
        runs, latency = row["runs"], row["latency"]
        shown = [
            *text.cells(row),
            table.micros(max(run["step_us"] for run in runs)),
            table.micros(row["steady_us"]["p99"]),
        ]
        shown += [table.micros(latency[n][p]) for n in latency for p in ("p50", "p99")]
        shown += [table.seconds(row["seconds"][phase]) for phase in row["seconds"]]
        shown += [
            f"{row['saved_bytes'] / 1000:,.1f}",
            f"{results['work']['flops'] / row['seconds']['train'] / 1e9:.1f}",
        ]
        assert set(shown) <= set(page.cells)
    for pair in results["pairs"]:
        assert table.times(pair["step_us"]["ratio"]) in page.cells
    for claim in results["claims"]:
        assert claim["claim"] in page.text
        assert " ".join(claim["why"].split()) in page.text


def test_a_table_can_be_saved_as_csv(page: Page, results: Results) -> None:
    rows = list(csv.DictReader(io.StringIO(page.downloads["phases-in-seconds;-train-includes-the-first-step.csv"])))
    assert [row["contender"] for row in rows] == [row["title"] for row in results["contenders"]]
    assert [float(row["total s"]) for row in rows] == [row["seconds"]["total"] for row in results["contenders"]]


def test_the_code_is_that_of_the_source_files(page: Page, results: Results) -> None:
    for row in results["contenders"]:
        contender = contenders.find(row["name"])
        for place in contender.step_code:
            assert str(escape(source_code.source(place).strip())) in page.source
        assert str(sum(map(source_code.count_lines, contender.user_code))) in page.cells


def test_the_images_are_those_of_the_test_set(page: Page, results: Results, data: Dataset) -> None:
    index = results["digits"]["hardest"][0]["index"]
    found = re.search(rf'alt="Test image {index}, labelled \d+" src="data:image/png;base64,([^"]+)"', page.source)
    assert found
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
        assert np.array_equal(np.asarray(image), data.test.images[index])


def test_without_agreement_the_page_shows_only_the_parity(render: Rendered, edited: Results) -> None:
    cell = edited["parity"]["contenders"]["torch"]["float64"]
    cell |= {"passed": False, "first": "step 3, loss: nan where minigrad has <1>", "max_abs_diff": None}
    cell["by_step"] = dict.fromkeys(cell["by_step"])
    edited["parity"]["passed"] = edited["parity"]["float64"]["passed"] = False
    for key in ("work", "target", "open", "pairs", "sweep", "digits", "claims"):
        del edited[key]
    edited["contenders"] = [
        {key: row[key] for key in ("name", "title", "trains_by", "division")} | {"status": "not timed"}
        for row in edited["contenders"]
    ]
    page = render(edited)
    assert [name for name in page.ids if name in SECTIONS] == ["verdict", "agreement", "environment"]
    assert "The contenders do NOT agree" in page.text
    assert "nan where minigrad has <1>" in page.text
    assert "µs per step" not in page.text


def test_failed_and_unavailable_contenders_are_shown(render: Rendered, edited: Results) -> None:
    for row, status in zip(
        edited["contenders"][1:3], ("needs an NVIDIA GPU", "open: ended with status 9"), strict=True
    ):
        row["status"] = status
    for key in [
        key for key in edited["contenders"][1] if key not in ("name", "title", "trains_by", "division", "status")
    ]:
        del edited["contenders"][1][key]
    del edited["parity"]["contenders"]["by_hand"]
    edited["pairs"] = [pair for pair in edited["pairs"] if "by_hand" not in (pair["a"], pair["b"])]
    page = render(edited)
    assert "by hand: needs an NVIDIA GPU" in page.text
    assert "torch: open: ended with status 9" in page.text
    assert text.cells(edited["contenders"][2])[2] in page.cells  # torch's own figures stay


def test_a_page_of_minigrad_alone(render: Rendered, edited: Results) -> None:
    edited["parity"] |= {"passed": None, "contenders": {}}
    edited["contenders"], edited["pairs"], edited["open"] = edited["contenders"][:1], [], []
    edited["sweep"]["rows"] = edited["sweep"]["rows"][:1]
    edited["sweep"] |= {"champion": "minigrad", "crossovers": {size: {} for size in edited["sweep"]["crossovers"]}}
    for row in (*edited["digits"]["disagree"], *edited["digits"]["hardest"]):
        row["answers"] = {"minigrad": 0}
    assert "There was no other contender" in render(edited).text


def test_a_page_with_one_seed_and_without_validation_sweep_and_open_division(render: Rendered, edited: Results) -> None:
    for row in edited["contenders"]:
        row["runs"] = [row["runs"][0] | {"curve": [], "seconds_to_target": None}]
        row["seconds_to_target"] = None
    for pair in edited["pairs"]:
        pair["step_us"] |= {"low": None, "high": None, "differs": None}
    edited |= {"target": None, "open": [], "sweep": None}
    edited["plan"]["seeds"] = edited["plan"]["seeds"][:1]
    page = render(edited)
    assert not {"curves", "width"} & set(page.ids)
    assert "one seed" in page.cells
    assert table.MISSING in page.cells
    assert "There is no target" in page.text


def test_the_open_division_is_compared_with_the_closed(render: Rendered, edited: Results) -> None:
    closed = edited["contenders"][2]
    row = {**closed, "division": "open", "open_by": "another way", "step_us": closed["step_us"] / 4}
    del row["latency"], row["saved_bytes"]
    edited["open"] = [row]
    page = render(edited)
    assert {"0.25", "another way"} <= set(page.cells)
    assert "open division" in page.text  # the curves' legend


def test_a_page_for_vectors_has_no_images_and_no_pad(
    render: Rendered, edited: Results, data: Dataset, networks: Any
) -> None:
    flat = replace(data, test=Split(data.test.images.reshape(len(data.test.labels), -1), data.test.labels))
    flat = replace(flat, train=Split(data.train.images.reshape(len(data.train.labels), -1), data.train.labels))
    edited["data"]["input_shape"] = [20]
    page = render(edited, flat, networks)
    assert not {"digits", "draw"} & set(page.ids)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3)])
def test_float_and_colour_images_are_shown(shape: tuple[int, ...]) -> None:
    values = np.linspace(-1, 3, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    with Image.open(io.BytesIO(base64.b64decode(images.uri(values).split(",")[1]))) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (shape if shape[-1] == 3 else shape[:2])
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_titles_are_escaped(render: Rendered, edited: Results, networks: Any) -> None:
    edited["contenders"][0]["title"] = title = "</svg><script>alert('&')</script>"
    page = render(edited, networks=networks)
    assert title not in page.source
    assert title in page.text


def test_class_names_are_shown_and_escaped(render: Rendered, edited: Results, data: Dataset, networks: Any) -> None:
    names = tuple(f"<script>alert({k})</script>" for k in range(data.classes))
    page = render(edited, replace(data, class_names=names), networks)
    digit = (edited["digits"]["disagree"] or edited["digits"]["hardest"])[0]
    assert f"labelled {escape(names[digit['label']])}" in page.source
    assert "<script>alert(" not in page.source.replace("\\u003c", "")
    assert names[digit["label"]] in page.text


def test_crossovers_are_described(edited: Results) -> None:
    sweep = edited["sweep"]
    size = str(sweep["batch_sizes"][0])
    widths = [p["width"] for p in sweep["rows"][0]["points"]]
    sweep["crossovers"][size] |= {"torch": None, "keras": widths[-1], "lightning": widths[0]}
    said = " ".join(line for _, lines in width_chart.sentences(edited) for line in lines)
    assert f"torch is not faster than hand-written NumPy: at the largest width, {widths[-1]}, a step takes " in said
    assert f"Keras is faster than hand-written NumPy from width {widths[-1]} on." in said
    assert "Lightning is faster than hand-written NumPy at every width measured." in said


@pytest.mark.parametrize(
    ("low", "high", "log"), [(1, 430, True), (3e-16, 3e-12, True), (850, 960, True), (96.4, 96.7, False)]
)
def test_ticks_are_few_and_on_the_axis(low: float, high: float, log: bool) -> None:
    scale = svg.Scale(low, high, log)
    assert 2 <= len(scale.ticks()) <= 6
    assert all(0 <= scale.fraction(tick) <= 1 for tick in scale.ticks())


def test_overlapping_labels_are_moved() -> None:
    placed = {name: y for y, name in svg.spread([(10, "a"), (11, "b"), (100, "c"), (12, "d")])}
    assert placed["c"] == 100
    assert placed["b"] - placed["a"] == placed["d"] - placed["b"] == svg.LABEL
    assert placed["b"] == 11


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_the_window_and_sends_no_request(
    run_folder: Path, browser: Browser, width: int, scheme: Any
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto((run_folder / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = """[...document.querySelectorAll('.plot text')].filter((t) => {
        const box = t.getBoundingClientRect();
        return box.left < 0 || box.right > innerWidth;
    }).map((t) => t.textContent)"""
    assert page.evaluate(outside) == []
    ink, paper = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    brightness = [sum(map(int, re.findall(r"\d+", found)[:3])) for found in (ink, paper)]
    assert abs(brightness[0] - brightness[1]) > 400
    assert (brightness[0] > brightness[1]) is (scheme == "dark")
    page.close()
    assert said == []


def test_the_printed_page_has_no_pad_and_shows_all_data(run_folder: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.goto((run_folder / "report.html").as_uri())
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("details table").first.is_visible()
    assert not page.locator("#draw canvas").first.is_visible()
    assert not page.locator("button:visible").count()
    page.close()
