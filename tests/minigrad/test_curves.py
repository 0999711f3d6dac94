"""curves.png: what the panels of one run and of several show, looked at on the figure and in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from minigrad.runs import Epoch, curves


def run(epochs: int, loss: float = 1.0, rates: float | list[float] = 0.1, validation: bool = True) -> list[Epoch]:
    """A run that learns: its losses fall from `loss`, its accuracies rise."""
    rows = []
    for i in range(1, epochs + 1):
        seen = (1.1 * loss / i, 1 / (1 + 1.1 * loss / i)) if validation else (None, None)
        rate = rates[i - 1] if isinstance(rates, list) else rates
        rows.append(Epoch(i, loss / i, 1 / (1 + loss / i), *seen, rate, 1.0))
    return rows


def figure_of(runs: Mapping[str, list[Epoch]], title: str = "") -> Figure:
    return curves._figure(runs, title)


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def lines(axes: Axes, style: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_linestyle() == style]


def ticks(axes: Axes) -> list[float]:
    low, high = axes.get_xlim()
    return [x for x in axes.get_xticks() if low <= x <= high]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        assert file.format == "PNG"
        return np.asarray(file.convert("RGB"))


def count(picture: np.ndarray, color: str) -> int:
    return int((picture == [int(color[i : i + 2], 16) for i in (1, 3, 5)]).all(-1).sum())


# One run.


def test_one_run_is_drawn_in_three_panels_as_it_was() -> None:
    history = run(4)
    loss, accuracy, rate = figure_of({"it": history}, "the title").axes
    assert [a.get_ylabel() for a in (loss, accuracy, rate)] == ["loss (nats)", "accuracy (%)", "learning rate"]
    for axes, scale, columns in (
        (loss, 1, ["train_loss", "val_loss"]),
        (accuracy, 100, ["train_accuracy", "val_accuracy"]),
        (rate, 1, ["learning_rate"]),
    ):
        assert len(axes.lines) == len(columns)
        for line, column in zip(axes.lines, columns, strict=True):
            assert list(line.get_xdata()) == [1, 2, 3, 4]
            assert list(line.get_ydata()) == pytest.approx([scale * getattr(e, column) for e in history])
    for axes in (loss, accuracy):
        assert [line.get_color() for line in axes.lines] == [
            curves.SINGLE_RUN_COLORS["training"],
            curves.SINGLE_RUN_COLORS["validation"],
        ]


def test_the_legend_names_what_is_there() -> None:
    assert legend_of(figure_of({"it": run(3)})) == ["training", "validation"]
    assert legend_of(figure_of({"it": run(3, validation=False)})) == ["training"]


def test_the_title_is_taken_as_it_is() -> None:
    title = figure_of({"it": run(3)}, "a$b$ and 10 %")._suptitle
    assert title is not None
    assert title.get_text() == "a$b$ and 10 %"
    assert not title.get_parse_math()


@pytest.mark.parametrize("epochs", [1, 47])
def test_both_colours_are_in_the_picture(epochs: int) -> None:
    """A single epoch has no line, so its markers must show."""
    curves.draw(Path("a.png"), run(epochs), "")
    picture = pixels(Path("a.png"))
    assert picture.shape[1] > 2.5 * picture.shape[0]
    third = picture.shape[1] // 3
    loss, accuracy, rate = (picture[:-60, i * third : (i + 1) * third] for i in range(3))  # without the legend
    for panel in (loss, accuracy):
        assert count(panel, curves.SINGLE_RUN_COLORS["training"]) > 5
        assert count(panel, curves.SINGLE_RUN_COLORS["validation"]) > 5
    assert count(rate, curves.SINGLE_RUN_COLORS["rate"]) > 5


def test_without_validation_there_is_no_blue() -> None:
    curves.draw(Path("a.png"), run(3, validation=False), "")
    assert count(pixels(Path("a.png")), curves.SINGLE_RUN_COLORS["validation"]) == 0


def test_an_empty_history_gives_empty_panels() -> None:
    curves.draw(Path("a.png"), [], "nothing")
    figure = figure_of({"it": []})
    assert [len(axes.lines) for axes in figure.axes] == [0, 0, 0]
    assert figure.legends == []
    assert pixels(Path("a.png")).size


def test_epochs_without_a_number_are_passed_over() -> None:
    """Lightning may validate every second epoch only."""
    rows = [Epoch(i, 1.0, 0.5, *((1.0, 0.5) if i % 2 == 0 else (None, None)), 0.1, 1.0) for i in range(1, 7)]
    rows[0] = Epoch(1, float("inf"), float("nan"), None, None, 0.1, 1.0)
    train, validation = figure_of({"it": rows}).axes[0].lines
    assert list(train.get_xdata()) == [2, 3, 4, 5, 6]
    assert list(validation.get_xdata()) == [2, 4, 6]


# The axes.


@pytest.mark.parametrize("epochs", [0, 1, 2, 12, 40, 200])
def test_epochs_are_whole_numbers_and_all_have_room(epochs: int) -> None:
    for axes in figure_of({"it": run(epochs)}).axes:
        assert ticks(axes)
        assert all(x == round(x) for x in ticks(axes))
        assert axes.get_xlim()[0] < 1
        assert max(1, epochs) < axes.get_xlim()[1] < 1.1 * max(epochs, 10)


@pytest.mark.parametrize("accuracies", [(1.0, 1.0), (0.0, 0.0), (0.2, 1.0), (0.998, 0.9999)])
def test_accuracies_stay_within_0_and_100(accuracies: tuple[float, float]) -> None:
    rows = [Epoch(i, 1.0, a, 1.0, a, 0.1, 1.0) for i, a in enumerate(accuracies, 1)]
    low, high = figure_of({"it": rows}).axes[1].get_ylim()
    assert 0 <= low <= 100 * min(accuracies)
    assert 100 * max(accuracies) <= high <= 100
    assert low < high


@pytest.mark.parametrize(
    ("rates", "scale"),
    [
        ([0.1, 0.1, 0.1], "linear"),
        ([0.1, 0.1 + 1e-9, 0.1], "linear"),
        ([0.1, 0.03, 0.01], "linear"),
        ([0.1, 0.05, 0.0], "linear"),  # cosine: nothing has the logarithm of zero
        ([0.0, 0.0, 0.0], "linear"),
        ([0.006, 0.01, 4e-8], "linear"),  # one cycle, whose last rate would take all the room
        ([0.1, 0.01, 0.001], "log"),
        ([0.1, 1e-3, 1e-6], "log"),
    ],
)
def test_a_rate_has_a_logarithm_where_it_helps(rates: list[float], scale: str) -> None:
    axes = figure_of({"it": run(3, rates=rates)}).axes[2]
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low <= min(rates)
    assert max(rates) <= high
    if scale == "linear":
        assert low == 0


def test_runs_at_rates_far_apart_share_a_logarithm() -> None:
    """Also where one of them ends at next to nothing, since by the other it would lie on the floor."""
    for adam in (1e-3, [6e-4, 1e-3, 4e-9]):
        rate = figure_of({"sgd": run(3, rates=0.1), "none": [], "adam": run(3, rates=adam)}).axes[2]
        assert rate.get_yscale() == "log"
    zero = figure_of({"sgd": run(3, rates=0.1), "adam": run(3, rates=[6e-4, 1e-3, 0])}).axes[2]
    assert zero.get_yscale() == "linear"


# Several runs.


def test_several_runs_have_a_colour_each_in_all_panels() -> None:
    names = ["a", "b", "c"]
    figure = figure_of({name: run(4 + i, loss=1 + i) for i, name in enumerate(names)})
    for axes in figure.axes:
        solid = lines(axes, "-")
        assert [line.get_color() for line in solid] == list(curves.COLORS[:3])
        assert [len(line.get_xdata()) for line in solid] == [4, 5, 6]
    for axes in figure.axes[:2]:
        dashed = lines(axes, "--")
        assert len(dashed) == 3
        for dark, light in zip(lines(axes, "-"), dashed, strict=True):
            assert to_rgb(light.get_color()) > to_rgb(dark.get_color())
            assert light.get_marker() == dark.get_marker()
    assert legend_of(figure) == [*names, "training", "validation"]


def test_several_runs_are_in_the_picture() -> None:
    curves.draw_runs(Path("a.png"), {str(i): run(6, loss=1 + i, rates=0.1 * (i + 1)) for i in range(10)})
    picture = pixels(Path("a.png"))
    third = picture.shape[1] // 3
    for i in range(3):
        panel = picture[:-90, i * third : (i + 1) * third]  # without the legend
        assert all(count(panel, color) > 20 for color in curves.COLORS)


def test_more_runs_than_colours_still_differ() -> None:
    figure = figure_of({f"run {i}": run(3, loss=1 + i) for i in range(30)})
    drawn = [(line.get_color(), line.get_marker()) for line in lines(figure.axes[0], "-")]
    assert len(set(drawn)) == 30
    keys = [(line.get_color(), line.get_marker()) for line in figure.legends[0].get_lines()]
    assert keys[:30] == drawn


def test_runs_without_validation_or_epochs_stand_beside_others() -> None:
    figure = figure_of({"a": run(1), "b": run(20, validation=False), "c": [], "d": run(60)})
    assert [len(line.get_xdata()) for line in lines(figure.axes[0], "--")] == [1, 20, 60]
    assert [len(line.get_xdata()) for line in lines(figure.axes[0], "-")] == [1, 60]
    assert legend_of(figure) == ["a", "b", "c", "d", "training", "validation"]
    assert legend_of(figure_of({name: run(2, validation=False) for name in "ab"})) == ["a", "b", "training"]


@pytest.mark.parametrize("epochs", [12, 13, 47, 300])
def test_many_epochs_do_not_clot(epochs: int) -> None:
    alone = figure_of({"it": run(epochs)}).axes[0].lines[1]
    assert (alone.get_marker() != "") == (epochs < 40)
    for line in figure_of({"a": run(epochs), "b": run(epochs, loss=2)}).axes[0].lines:
        every: Any = line.get_markevery()
        assert 6 <= len(range(0, epochs, every)) <= 12


def test_a_run_under_another_shows() -> None:
    """The three packages compute the same, so that this is what a comparison of them looks like."""
    for axes in figure_of({"a": run(5), "b": run(5, loss=1 + 1e-6), "c": run(7)}).axes:
        widths = [line.get_linewidth() for line in lines(axes, "-")]
        assert widths[0] > widths[1] > widths[2]
    apart = figure_of({"a": run(5), "b": run(5, loss=2)}).axes[0]
    assert len({line.get_linewidth() for line in lines(apart, "-")}) == 1

    curves.draw_runs(Path("a.png"), {str(i): run(5) for i in range(3)})
    picture = pixels(Path("a.png"))[:-60]
    assert all(count(picture, color) > 100 for color in curves.COLORS[:3])


# The legend.


@pytest.mark.parametrize(("runs", "name"), [(1, "{}"), (2, "{}"), (10, "{}"), (25, "a-name-of-thirty-letters-and-{}")])
def test_the_legend_lies_below_the_panels_and_within_the_picture(runs: int, name: str) -> None:
    figure = figure_of({name.format(i): run(3, loss=1 + i) for i in range(runs)}, "title")
    figure.draw_without_rendering()
    box: Any = figure.legends[0].get_window_extent()
    for axes in figure.axes:
        around = axes.get_tightbbox()
        assert around is not None
        assert around.y0 >= box.y1 - 1
        assert axes.get_window_extent().height > 150
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_names_stand_as_they_are() -> None:
    figure = figure_of({"_old": run(2), "$x$": run(2), "training": run(2)})
    assert legend_of(figure) == ["_old", "$x$", "training", "training", "validation"]
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())
    assert all(line.get_visible() for line in figure.legends[0].get_lines())


def test_a_long_name_keeps_both_its_ends() -> None:
    first, second, *_ = legend_of(figure_of({"begin" + 200 * "x" + end: run(2) for end in ("one", "two")}))
    assert len(first) == len(second) == curves.MAX_NAME_LENGTH
    assert first.startswith("begin")
    assert first.endswith("one")
    assert second.endswith("two")


# The file.


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_suffix_selects_the_format_and_the_same_run_gives_the_same_bytes(suffix: str, begins: bytes) -> None:
    paths = [Path(f"a{suffix}"), Path(f"b{suffix.upper()}")]
    curves.draw(paths[0], run(3), "one")
    curves.draw_runs(paths[1], {"one": run(3)}, "one")
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(begins)
    assert first == second
    assert not any(word in first for word in (b"CreationDate", b"dc:date"))
    assert sorted(path for path in Path().iterdir() if path.is_file()) == paths
