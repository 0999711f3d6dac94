"""The report of a comparison of two models: the text for the terminal, diff.json and diff.html."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from compare.porting import report
from compare.porting.result import Difference, DiffResult, Explanation, LayerPair, StageResult

HOSTILE = "<script>alert(1)</script>"
ENTRY = "- left: fc\n  right: dense\n  rows: [16, 5, 5]\n"


def difference(left: str, right: str, gap: float | None, **others: Any) -> Difference:
    values = {"stage": "forward", "tensor": "output", "dtype": "float64", "mode": "eval", "tolerance": 1e-10, **others}
    return Difference(left=left, right=right, gap=gap, **values)


def result(**others: Any) -> DiffResult:
    """Two models that differ first in a layer with a hostile name, then by a shape; with one layer without a partner."""
    values: dict[str, Any] = {
        "left": "torch:a.py:model",
        "right": "keras:b.py:model",
        "equal": False,
        "stages": (
            StageResult("structure", "equal", "Two pairs of layers."),
            StageResult("forward", "different", "Two outputs differ.", ("The running variance is biased by design.",)),
        ),
        "layers": (
            LayerPair("conv", "conv2d", "conv2d"),
            LayerPair(HOSTILE, "bn", "batch_norm"),
            LayerPair(None, "pad", "pad", "conv: it pads itself"),
            LayerPair("fc", "dense", "linear"),
        ),
        "differences": (
            difference("conv", "conv2d", 3e-12),
            difference(HOSTILE, "bn", 2.5e-3, detail="0.5 and 0.4975"),
            difference("fc", "dense", None, dtype="float32", mode="train"),
        ),
        "explanations": (Explanation(HOSTILE, "bn", "epsilon", "Set epsilon=1e-05 in bn."),),
        "map": f"layers:\n{ENTRY}",
    }
    return DiffResult(**(values | others))


def equal() -> DiffResult:
    stages = (StageResult("structure", "equal", "One pair."), StageResult("forward", "equal", "One output."))
    differences = (difference("conv", "conv2d", 3e-12), difference("fc", "dense", 5e-11))
    return result(equal=True, stages=stages, differences=differences, explanations=())


def test_the_answer_comes_first_then_the_change() -> None:
    lines = report.terminal(result()).splitlines()
    assert lines[0] == f"different: first at {HOSTILE} / bn"
    assert "2.5e-03" in lines[1]
    assert "0.5 and 0.4975" in lines[1]
    assert lines[2] == "Set epsilon=1e-05 in bn."


def test_the_layers_that_differ_most_come_first_in_the_table() -> None:
    table = report.terminal(result()).split("Layers that differ most")[1].splitlines()
    assert table[2].startswith("fc / dense")
    assert table[2].endswith("no number")
    assert table[3].endswith("2e+07")
    assert "conv / conv2d" not in "".join(table[:4])  # it is equal


def test_equal_models_are_reported_with_the_largest_difference() -> None:
    text = report.terminal(equal())
    assert text.startswith("equal:")
    assert "0.5 of its tolerance: output of fc / dense" in text
    assert "DIFFERENT" not in text


def test_a_layer_without_a_partner_is_listed_with_the_likely_one() -> None:
    assert "right  pad (pad); likely partner: conv: it pads itself" in report.terminal(result())


def test_a_map_that_makes_both_equal_is_printed() -> None:
    explanation = Explanation("fc", "dense", "flatten order", "Other order.", map=ENTRY)
    assert f"layers:\n{ENTRY.rstrip()}" in report.terminal(result(explanations=(explanation,)))


def test_models_of_other_structure_are_reported_without_numbers() -> None:
    stages = (StageResult("structure", "different", "fc has no partner."),)
    text = report.terminal(result(stages=stages, differences=(), explanations=()))
    assert text.splitlines()[:2] == ["different: structure", "fc has no partner."]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("fc", ""), "first at fc (left), which has no partner"),
        (("", "dense"), "first at dense (right), which has no partner"),
    ],
)
def test_a_first_layer_without_a_partner_is_named_with_its_side(names: tuple[str, str], words: str) -> None:
    lost = difference(*names, None, stage="structure", tensor="linear", detail="has no partner")
    models = result(differences=(lost,), explanations=())
    assert report.terminal(models).splitlines()[0] == f"different: {words}"


def weights_that_differ(copy_weights: str = "none") -> DiffResult:
    """Two random convolutions whose biases are 0 on the right, and a linear layer of which only the bias is 0."""
    tensors = [(f"c{i}", f"conv{i}", role) for i in (1, 2) for role in ("weight", "bias")] + [("fc", "dense", "bias")]
    layers = [(left, right) for left, right, role in tensors if role == "bias"]
    return result(
        stages=(StageResult("weights", "different", "Five tensors differ."),),
        differences=tuple(difference(a, b, 0.5, stage="weights", tensor=role) for a, b, role in tensors),
        explanations=tuple(Explanation(a, b, "weight not copied", f"Copy it from `{a}`.") for a, b in layers),
        request={"copy_weights": copy_weights},
    )


def test_weights_that_were_not_copied_are_advised_to_be_copied_once(tmp_path: Path) -> None:
    lines = report.terminal(weights_that_differ()).splitlines()
    assert (
        lines[2]
        == "The weights were not copied; `--copy-weights left` copies those of the left model into the right one."
    )
    assert [line for line in lines if "Copy it" in line] == ["Copy it from `fc`."]
    report.write(weights_that_differ(), tmp_path)
    page = (tmp_path / "diff.html").read_text(encoding="utf-8")
    assert page.count("<code>--copy-weights left</code> copies those of the left model") == 1
    assert "Copy it from <code>c1</code>" not in page
    copied = report.terminal(weights_that_differ("left"))
    assert "were not copied" not in copied
    assert copied.count("Copy it") == 3


def test_a_report_of_many_layers_stays_short_and_says_what_it_leaves_out() -> None:
    pairs = tuple(LayerPair(f"layer{i}", f"layer{i}", "linear") for i in range(200))
    alone = tuple(LayerPair(f"extra{i}", None, "dropout") for i in range(30))
    differences = tuple(difference(f"layer{i}", f"layer{i}", 1.0 + i) for i in range(200))
    text = report.terminal(result(layers=pairs + alone, differences=differences))
    assert len(text.splitlines()) <= 40
    assert "of 200" in text
    assert "and 25 more" in text


def test_control_characters_of_a_name_do_not_reach_the_terminal() -> None:
    text = report.terminal(result(differences=(difference("a\x1b[2J\nb", "c", 1.0),)))
    assert "\x1b" not in text
    assert text.splitlines()[0].endswith("/ c")


def test_diff_json_is_the_result(tmp_path: Path) -> None:
    report.write(result(), tmp_path / "out")
    values = json.loads((tmp_path / "out" / "diff.json").read_text())
    assert (values["schema"], values["equal"], values["stage"]) == (1, False, "forward")
    assert values["first"] == {"left": HOSTILE, "right": "bn"}
    assert values["explanation"] == "Set epsilon=1e-05 in bn."
    assert [layer["right"] for layer in values["layers"]] == ["conv2d", "bn", "pad", "dense"]


def test_the_page_filters_its_columns_and_rows_and_escapes_names(tmp_path: Path, browser: Browser) -> None:
    report.write(result(), tmp_path)
    page = browser.new_page(viewport={"width": 390, "height": 800})
    messages: list[str] = []
    requests: list[str] = []
    page.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "diff.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    table = page.locator("table.layers")
    expect(table.locator("tbody tr").nth(1)).to_contain_text(HOSTILE)
    expect(table.locator("td.most").first).to_contain_text("2e+07")
    page.check("#only-float64")
    expect(table.locator("thead")).not_to_contain_text("float32", use_inner_text=True)
    page.check("#only-different")
    expect(table.locator("tbody tr:visible")).to_have_count(2)
    assert not messages
    assert len(requests) == 1
    page.close()


@pytest.mark.parametrize("models", [result(), equal(), dataclasses.replace(equal(), differences=(), layers=())])
def test_the_page_begins_with_the_answer(models: DiffResult, tmp_path: Path) -> None:
    report.write(models, tmp_path)
    page = (tmp_path / "diff.html").read_text(encoding="utf-8")
    answer = page.split('<p class="answer">')[1]
    assert answer.startswith("Equal:" if models.equal else "Different: first at")
    assert HOSTILE not in page
