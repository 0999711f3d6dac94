"""The pages of operations: complete, with gradients that are the slopes of the plotted values."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import ROOT

from minigrad import Array, operation, ops

sys.path.insert(0, str(ROOT / "docs"))

import operation_pages
import operation_plots
from operation_plots import Plot, sample

NAMES = ops.__all__
PLOTS = {
    f"{name}-{i}": plot
    for name, (_, entry) in operation_pages.entries().items()
    for i, plot in enumerate(operation_pages.plots_of(entry))
}


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}")[1].split("\n## ")[0]


def test_each_operation_has_an_entry_in_the_file_of_its_family() -> None:
    modules = {name: inspect.unwrap(getattr(ops, name)).__module__.split(".")[-1] for name in NAMES}
    assert {name: family for name, (family, _) in operation_pages.entries().items()} == modules


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_complete(name: str) -> None:
    page = operation_pages.page(name)
    formula, derivation = (section(page, title).count("<p>") for title in ("Formula", "Derivation"))
    assert "dL/d" in section(page, "Formula")
    assert formula >= 3  # the notation, the value and a gradient
    assert 2 <= derivation <= 6
    assert f"def {name}(" in section(page, "Source")
    assert ".grad)" in section(page, "Example").split("```text")[0]
    assert "[" in section(page, "Example").split("```text")[1]
    assert "torch." in section(page, "See also") or name == "getitem"
    for parameter in inspect.signature(getattr(ops, name)).parameters:
        assert len(operation_pages.meaning(name, parameter)) > 3, parameter


def test_pages_are_the_same_each_time() -> None:
    assert operation_pages.page("dropout") == operation_pages.page("dropout")


@pytest.mark.parametrize("case", PLOTS)
def test_a_plotted_gradient_is_the_slope_of_the_plotted_value(case: str) -> None:
    plot = PLOTS[case]
    curves = sample(plot, points=9)
    assert len(curves.dots) >= 13
    for t, slope in curves.dots.tolist():
        assert plot.value_and_gradient(t)[1] == pytest.approx(slope, rel=1e-7, abs=1e-8), t
        assert plot.value_and_gradient(t)[0] == plot.value(t), t
    assert curves.error <= 1e-7 * max(1, np.abs(curves.dots[:, 1]).max())


def test_a_wrong_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    @operation
    def square(a: Array) -> Any:
        return a * a, lambda g: g * a

    plot = Plot("ops.square(a)", {"a": "t"}, -2, 2)
    assert sample(plot, points=5).error < 1e-8
    monkeypatch.setattr(ops, "square", square)
    assert sample(plot, points=5).error > 1


def test_a_kink_has_the_slopes_of_both_sides_and_no_dot() -> None:
    curves = sample(Plot("ops.leaky_relu(a, 0.25)", {"a": "t"}, -3, 3, kinks=(0,)))
    (kink,) = curves.kinks
    assert (kink.gradient, kink.jumps) == (0.25, False)
    assert (kink.left, kink.right) == pytest.approx((0.25, 1))
    assert np.abs(curves.dots[:, 0]).min() > 0.1
    below, above = curves.segments
    assert below[:, 0].max() < 0 < above[:, 0].min()
    assert sample(Plot("ops.sign(a)", {"a": "t"}, -3, 3, kinks=(0,))).kinks[0].jumps


def test_a_plot_is_a_small_picture_with_a_description() -> None:
    plot = PLOTS["relu-0"]
    text = operation_plots.svg(plot, sample(plot), 'value < "1"')
    picture = ET.fromstring(text)
    assert picture.get("aria-label") == 'value < "1"'
    assert len(text) < 10_000
    marks = [element.get("class") for element in picture.iter("circle")]
    assert marks.count("dot") == 14  # of 15, one is at the kink
    assert marks.count("kink") == 1
    assert [element.text for element in picture.iter("text")][:3] == ["-3", "-2", "-1"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-3, 3, [-3, -2, -1, 0, 1, 2, 3]), (0.02, 4, [1, 2, 3, 4]), (-0.97, 0.97, [-0.5, 0, 0.5])],
)
def test_ticks_are_round_numbers_within_the_range(low: float, high: float, expected: list[float]) -> None:
    assert operation_plots.ticks(low, high, 6 if low == -3 else 5) == expected


def test_the_source_of_an_operation_includes_the_private_rule_and_the_helpers() -> None:
    page = section(operation_pages.page("concatenate"), "Source")
    rule, helpers = page.split("<details")
    assert "def _concatenate(" in rule
    assert "def _listed(" in helpers
    assert "def reshape(" not in page


def test_names_in_tables_become_links() -> None:
    markdown = "`relu`\n\n| family | operations |\n| --- | --- |\n| reduction | `max`, `other` |\n| `elu` | 1 |\n"
    expected = "| [reduction](operations/reduce.md) | [`max`](operations/max.md), `other` |"
    linked = operation_pages.with_links(markdown)
    assert linked.splitlines()[4:] == [expected, "| [`elu`](operations/elu.md) | 1 |"]
    assert linked.startswith("`relu`\n\n| family | operations |\n")


def test_a_chapter_of_the_guide_is_linked_if_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation_pages, "DOCS", tmp_path)
    assert operation_pages.chapter_link("7-softmax.md") == ""
    (tmp_path / "study").mkdir()
    (tmp_path / "study/7-softmax.md").write_text("# Softmax and its loss\n", encoding="utf-8")
    assert operation_pages.chapter_link("7-softmax.md") == "[Softmax and its loss](../study/7-softmax.md)"


def test_the_counterparts_in_numpy_exist() -> None:
    assert operation_pages.counterpart("relu", "numpy") == ""
    for name in NAMES:
        exists(operation_pages.counterpart(name, "numpy"))


@pytest.mark.slow
def test_the_counterparts_in_torch_exist() -> None:
    pytest.importorskip("torch")
    names = [operation_pages.counterpart(name, "torch") for name in NAMES]
    code = f"import torch\nfor name in {json.dumps([n for n in names if '`' not in n])}: eval(name)"
    subprocess.run([sys.executable, "-c", code], check=True)


def exists(path: str) -> None:
    if path and "`" not in path:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path
