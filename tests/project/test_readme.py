"""README.md says what is measured and what is there."""

from __future__ import annotations

import re

import pytest

from benchmarks import engine
from compare.report import readme
from minigrad import datasets, ops, recipes
from minigrad.recipes import Recipe

PAGE = readme.PAGE.read_text(encoding="utf-8")
RESULTS = readme.committed()


def test_its_tables_are_the_committed_results() -> None:
    assert set(re.findall(r"<!-- results (\w+)", PAGE)) == set(RESULTS)
    assert readme.fill(PAGE, RESULTS) == PAGE


@pytest.mark.parametrize("name", recipes.names())
def test_the_committed_results_are_of_the_shipped_recipe_and_agree(name: str) -> None:
    results = RESULTS[name]
    shipped, measured = recipes.load(name), Recipe.from_dict(results["recipe"])
    # What null means may stand there as the number that it meant.
    shipped.data.validation_size = datasets.resolve_validation_size(60_000, shipped.data.validation_size)
    measured.data.validation_size = datasets.resolve_validation_size(60_000, measured.data.validation_size)
    assert measured == shipped
    assert results["parity"]["passed"] is True
    assert results["parity"]["float64"]["max_abs_diff"] <= 1e-12


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


def test_it_counts_the_operations() -> None:
    assert re.search(r"\b(\d+) operations", PAGE)[1] == str(len(ops.__all__))


def test_the_engines_ratios_are_those_of_the_goals() -> None:
    rows = {(row["network"], row["peer"]): row for row in RESULTS["engine"]["rows"] if row["status"] == "ok"}
    for key, goal in engine.GOALS.items():
        assert rows[key]["goal"] == goal, key
    assert all(row["ratio"] == 1 for (_, peer), row in rows.items() if peer == "minigrad")


def test_the_make_targets_it_names_exist() -> None:
    makefile = (readme.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`?make ([a-z-]+)", PAGE))
    assert {"compare", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_pictures_and_files_it_links_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert links
    for link in links:
        assert (readme.ROOT / link).exists(), link
