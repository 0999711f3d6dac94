"""docs/study: each chapter has its parts, shows the code of the repository, and the pictures that the script draws."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from pages import ROOT, blocks

from minigrad import datasets, recipes
from minigrad.study import step, subjects

FOLDER = ROOT / "docs/study"
CHAPTERS = sorted(FOLDER.glob("[0-9]*.md"), key=lambda page: int(page.name.split("-")[0]))
EXERCISES = (
    "01_slope", "02_predict", "03_square", "04_backward", "05_broadcasting", "06_matmul", "07_softmax", "08_cross_entropy",
    "09_sgd", "10_adam", "11_xor", "12_digits", "13_mnist", "14_torch", "15_keras",
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", FOLDER / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_chapters_are_numbered_and_listed_in_order() -> None:
    assert [int(page.name.split("-")[0]) for page in CHAPTERS] == list(range(1, 11))
    index = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[.*?\]\((.*?)\)", index, re.MULTILINE) == [page.name for page in CHAPTERS]


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.name)
def test_a_chapter_has_its_parts(page: Path) -> None:
    """It says what the reader will know, computes something, and ends with a misunderstanding, an exercise and the player."""
    text = page.read_text(encoding="utf-8")
    assert re.match(r"# \d+\. .*\n\nAfter this chapter you ", text)
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections[-3] == "A common misunderstanding"
    assert sections[-2] in ("Exercise", "Exercises")
    assert sections[-1] == "In the player"
    assert any(block.language == "python" and block.not_run is None for block in blocks(page))
    assert any(block.output for block in blocks(page))


def test_the_exercises_are_named_in_order() -> None:
    named = [
        name
        for page in CHAPTERS
        for name in re.findall(r"^python -m minigrad\.study check (\S+)$", page.read_text("utf-8"), re.M)
    ]
    assert tuple(named) == EXERCISES


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.name)
def test_a_marker_names_the_event_to_look_at(page: Path) -> None:
    """The line below a marker shows the same event as the end of an address of step.html."""
    text = page.read_text(encoding="utf-8")
    (marker,) = re.findall(r"^<!-- player: (subject=\w+&mistake=\w*&event=\d+) -->$", text, re.MULTILINE)
    assert f"`step.html#{marker}`" in text.partition(f"<!-- player: {marker} -->\n")[2]


EVENTS = {  # per chapter: the kind of the event, its operation and its operand
    "1-slope.md": ("backward", "linear", "weight"),
    "2-chain-rule.md": ("forward", "linear", None),
    "3-first.md": ("backward", "add", "a"),
    "4-broadcasting.md": ("backward", "add", "b"),
    "5-by-hand.md": ("backward", "relu", "input"),
    "6-tape.md": ("backward", "cross_entropy", "input"),
    "7-softmax.md": ("backward", "cross_entropy", "input"),
    "8-optimizers.md": ("update", None, None),
    "9-frameworks.md": ("forward", "linear", None),
    "10-parallel.md": ("backward", "linear", "weight"),
}


def test_the_event_is_the_one_that_the_chapter_describes() -> None:
    recipe = recipes.load("simple")
    recipe.data.path = "digits"  # the same events as with mnist, and fewer weights
    data = datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
    recordings, _ = subjects.recordings(step.state_at(recipe, data, 1), 0)
    events = {(found["subject"], found["mistake"] or ""): found["events"] for found in recordings}
    for page in CHAPTERS:
        (marker,) = re.findall(r"player: subject=(\w+)&mistake=(\w*)&event=(\d+)", page.read_text(encoding="utf-8"))
        event = events[marker[:2]][int(marker[2])]
        assert (event["kind"], event.get("op"), event.get("operand")) == EVENTS[page.name], page.name


def code(page: str, first: str) -> str:
    """Return the code in the block of the page that contains the line `first`, from this line on, without blank lines."""
    (text,) = [block.text for block in blocks(FOLDER / page) if f"\n{first}" in f"\n{block.text}"]
    return re.sub(r"\n\n+", "\n", text[text.index(first) :])


@pytest.mark.parametrize(
    ("page", "first", "file"),
    [
        ("3-first.md", "class Node:", "minigrad/first.py"),
        ("3-first.md", "def operation(", "minigrad/first.py"),
        ("3-first.md", "def backward(", "minigrad/first.py"),
        ("5-by-hand.md", "def gradients(", "minigrad/study/by_hand.py"),
    ],
)
def test_a_chapter_shows_the_code_of_the_repository(page: str, first: str, file: str) -> None:
    source = (ROOT / file).read_text(encoding="utf-8").splitlines()
    missing = [line for line in code(page, first).splitlines() if line not in source]
    assert not missing


def test_the_table_of_frameworks_quotes_the_programs() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (FOLDER / "9-frameworks.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    names = [cell.strip("`") for cell in rows[0]]
    programs = {name: (ROOT / "examples/programs" / name).read_text(encoding="utf-8") for name in names[1:]}
    methods = {"fit"}  # the table also says what happens in them
    for row in rows[2:]:
        for name, cell in zip(names[1:], row[1:], strict=True):
            for fragment in re.findall(r"`([^`]*)`", cell):
                assert fragment in programs[name] or fragment in methods, f"{name}: {fragment}"


def test_the_committed_pictures_are_what_the_script_draws(pictures: ModuleType) -> None:
    drawn = {f"{make.__name__}.svg": make() for make in pictures.PICTURES}
    assert {path.name for path in pictures.FOLDER.iterdir()} == set(drawn)
    for name, svg in drawn.items():
        committed = (pictures.FOLDER / name).read_text(encoding="utf-8")
        assert committed == svg, f"{name}: run python docs/study/pictures.py"


def test_each_picture_is_shown_once_and_has_colours_for_dark_pages(pictures: ModuleType) -> None:
    texts = "".join(page.read_text(encoding="utf-8") for page in CHAPTERS)
    shown = re.findall(r"!\[.+?\]\(pictures/(\w+)\.svg\)", texts)
    assert sorted(shown) == sorted(make.__name__ for make in pictures.PICTURES)
    for path in pictures.FOLDER.iterdir():
        assert "prefers-color-scheme:dark" in path.read_text(encoding="utf-8")


def test_the_picture_of_the_orders_has_the_numbers_of_the_chapter(pictures: ModuleType) -> None:
    right, wrong = pictures.deliveries("newest first"), pictures.deliveries("depth first")
    assert [g for _, to, g in right if to == "a"] == [2, 2]
    assert [g for _, to, g in wrong if to == "a"] == [1, 1, 2, 2]
