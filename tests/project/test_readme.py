"""README.md and docs/ agree with the committed results, the Makefile and the code."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

import pytest
from pages import PAGES, ROOT

from benchmarks import engine, tables
from minigrad import datasets, ops, recipes
from minigrad.recipes import Recipe

TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
RESULTS = tables.committed()


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150


def test_the_tables_are_the_committed_results() -> None:
    shown = {name for text in TEXTS.values() for name in re.findall(r"<!-- results (\w+)[\w ]* -->\n", text)}
    assert shown >= set(RESULTS)
    for name, text in TEXTS.items():
        assert tables.fill(text, RESULTS) == text, f"{name}: run python -m benchmarks.tables"


def test_blocks_are_filled_in_the_readme_and_in_every_page_of_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    (tmp_path / "docs/more").mkdir(parents=True)
    block = "before\n<!-- results simple claims -->\nold\n<!-- end -->\nafter\n"
    for name in ("README.md", "docs/results.md", "docs/more/results.md"):
        (tmp_path / name).write_text(block, encoding="utf-8")
    tables.main()
    filled = [path.read_text(encoding="utf-8") for path in tables.pages()]
    assert len(filled) == 3
    for page in filled:
        assert page.startswith("before\n<!-- results simple claims -->\n- ")
        assert page.endswith("\n<!-- end -->\nafter\n")


@pytest.mark.parametrize("name", recipes.names())
def test_the_committed_results_are_of_the_shipped_recipe(name: str) -> None:
    results = RESULTS[name]
    shipped, measured = recipes.load(name), Recipe.from_dict(results["recipe"])
    # What null means may stand there as the number that it meant.
    shipped.data.validation_size = datasets.resolve_validation_size(60_000, shipped.data.validation_size)
    measured.data.validation_size = datasets.resolve_validation_size(60_000, measured.data.validation_size)
    assert measured == shipped


@pytest.mark.parametrize("name", ["simple", "advanced", "cnn"])
def test_the_committed_results_agree(name: str) -> None:
    parity = RESULTS[name]["parity"]
    assert parity["passed"] is True
    assert parity["float64"]["max_abs_diff"] <= 1e-12


def test_the_committed_speed_run_reaches_its_goal() -> None:
    results = RESULTS["speedrun"]
    rows = results["rows"]
    assert sorted(row["seed"] for row in rows) == list(range(10))
    for row in rows:
        assert f"test accuracy {100 * row['test_accuracy']:.2f} %" in row["log"]
        assert row["seconds"] < row["total_seconds"]
    assert median(row["test_accuracy"] for row in rows) >= results["goal"]["test_accuracy"] == 0.99
    assert median(row["seconds"] for row in rows) <= results["goal"]["seconds"] == 5


def test_the_committed_accuracies_are_what_the_network_is_known_for() -> None:
    simple, advanced, cnn = (
        [row["test_accuracy"] for row in RESULTS[n]["contenders"] if row["status"] == "ok"]
        for n in ("simple", "advanced", "cnn")
    )
    assert len(simple) == 6
    assert min(simple) >= 0.92
    assert max(simple) - min(simple) <= 0.001
    assert len(advanced) == 5
    assert min(advanced) >= 0.975
    assert len(cnn) == 4
    assert min(cnn) >= 0.99


def test_the_number_of_operations_is_right() -> None:
    counts = {(name, count) for name, text in TEXTS.items() for count in re.findall(r"\b(\d+) operations", text)}
    counted = {(name, count) for name, count in counts if int(count) > 50}  # not those of an example
    assert {name for name, _ in counted} >= {"README.md", "docs/engine.md", "docs/operations.md"}
    assert {count for _, count in counted} == {str(len(ops.__all__))}


def test_each_operation_is_listed() -> None:
    for name in ops.__all__:
        assert f"`{name}`" in TEXTS["docs/operations.md"], name


def test_the_engines_ratios_are_those_of_the_goals() -> None:
    rows = {(row["network"], row["peer"]): row for row in RESULTS["engine"]["rows"] if row["status"] == "ok"}
    for key, goal in engine.GOALS.items():
        assert rows[key]["goal"] == goal, key
    assert all(row["ratio"] == 1 for (_, peer), row in rows.items() if peer == "minigrad")


def test_the_make_targets_exist_and_are_documented() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    targets = set(phony[1].split()) - {"FORCE"}
    for name, text in TEXTS.items():
        blocks = "\n".join(re.findall(r"^make [a-z-]+", text, re.MULTILINE))
        for target in re.findall(r"`make ([a-z-]+)`", text) + re.findall(r"make ([a-z-]+)", blocks):
            assert target in targets, f"{name}: make {target}"
    for target in targets:
        assert f"`make {target}`" in TEXTS["docs/contributing.md"], target


@pytest.mark.parametrize("name", TEXTS)
def test_the_pictures_and_files_that_are_linked_exist(name: str) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", TEXTS[name]):
        if "://" not in link:
            assert ((ROOT / name).parent / link).exists(), link
