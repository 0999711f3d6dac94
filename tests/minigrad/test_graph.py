"""The picture of a graph: what is on it, that it can be read, and that it can always be drawn."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest

from minigrad import Tensor, no_grad, ops, recipes
from minigrad.classifier import Classifier
from minigrad.graph import Drawing, draw

SVG = "{http://www.w3.org/2000/svg}"


class Box(NamedTuple):
    kind: str
    lines: tuple[str, ...]
    left: float
    top: float
    width: float
    height: float

    def holds(self, x: float, y: float) -> bool:
        return self.left <= x <= self.left + self.width and self.top <= y <= self.top + self.height


def boxes(drawing: Drawing) -> list[Box]:
    """What a person sees, from the top left."""
    found = []
    for group in ElementTree.fromstring(str(drawing)).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        lines = tuple(str(text.text) for text in group.iter(f"{SVG}text"))
        sides = (float(rect.get(name, "nan")) for name in ("x", "y", "width", "height"))
        found.append(Box(str(group.get("class")), lines, *sides))
    return sorted(found, key=lambda b: (b.top, b.left))


def titles(drawing: Drawing) -> list[str]:
    return [box.lines[0] for box in boxes(drawing)]


def drawn(drawing: Drawing, style: str) -> str:
    """What the pen does for all lines (e) or all arrowheads (a)."""
    path = ElementTree.fromstring(str(drawing)).find(f"{SVG}path[@class='{style}']")
    assert path is not None
    return str(path.get("d"))


def arrows(drawing: Drawing) -> list[tuple[float, float]]:
    """The points of the arrowheads."""
    points = re.findall(r"M([-\d.]+) ([-\d.]+)h8l-4 7z", drawn(drawing, "a"))
    return [(float(x) + 4, float(y) + 7) for x, y in points]


def of(drawing: Drawing, title: str) -> Box:
    (found,) = [box for box in boxes(drawing) if box.lines[0] == title]
    return found


def curves(drawing: Drawing) -> list[tuple[float, float, float]]:
    """Each stretch of an edge from one row to the next: its first x and y, and its last x."""
    number = r"([-\d.]+)"
    found = re.findall(rf"M{number} {number}C{number} {number} {number} {number} {number} ", drawn(drawing, "e"))
    return [(float(x), float(y), float(end)) for x, y, *_, end in found]


def parameter(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32), requires_grad=True)


def network(name: str, **changes: object) -> tuple[Classifier, Tensor]:
    """A recipe's network and the loss of a small batch."""
    model = recipes.load(name).model
    for key, value in changes.items():
        setattr(model, key, value)
    net, rng = Classifier(model, (28, 28), 10), np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 28, 28)).astype(np.uint8)
    return net, ops.cross_entropy(net(images), rng.integers(0, 10, 4))


def never_overlap(drawing: Drawing) -> None:
    rows: dict[float, list[Box]] = {}
    for box in boxes(drawing):
        rows.setdefault(box.top + box.height / 2, []).append(box)
    for row in rows.values():
        for a, b in pairwise(sorted(row, key=lambda b: b.left)):
            assert a.left + a.width < b.left, (a, b)
    middles = sorted(rows)
    for above, below in pairwise(middles):
        assert max(b.top + b.height for b in rows[above]) < min(b.top for b in rows[below])


# What is on it.


def test_a_product_and_its_sum() -> None:
    w = Tensor([2.0, 3.0], requires_grad=True)
    drawing = draw((w * w).sum(), {"w": w})
    assert [box.lines for box in boxes(drawing)] == [
        ("w", "(2,) float32", "value [2, 3]"),
        ("multiply", "(2,) float32", "value [4, 9]"),
        ("sum", "() float32", "value 13"),
    ]
    assert [box.kind for box in boxes(drawing)] == ["leaf", "op", "op root"]
    into = [of(drawing, "multiply").holds(x, y + 1) for x, y in arrows(drawing)]
    assert into.count(True) == 2, "an operand that is used twice has two arrows"
    assert len(arrows(drawing)) == 3
    assert len({x for x, _ in arrows(drawing)}) == 3, "no arrow hides another"


def test_gradients_are_shown_once_they_are_there() -> None:
    few, many = Tensor([2.0, 3.0], requires_grad=True), parameter(30)
    loss = (few * few).sum() + (many * 4.0).sum()
    assert not any("grad" in line for box in boxes(draw(loss)) for line in box.lines)
    loss.backward(retain_graph=True)
    drawing = draw(loss, {"few": few, "many": many})
    assert of(drawing, "few").lines[-1] == "grad [4, 6]"
    assert of(drawing, "many").lines[-1] == f"|grad| {4 * np.sqrt(30):.4g}"


def test_a_network_has_its_parameters_by_name_above_the_layer_that_uses_them() -> None:
    net, loss = network("simple")
    drawing = draw(loss, dict(net.named_parameters()))
    assert titles(drawing) == [
        *("hidden.0.weight", "hidden.0.bias", "linear"),
        *("relu", "output.weight", "output.bias", "linear", "cross_entropy"),
    ]
    assert of(drawing, "hidden.0.weight").lines[1] == "(10, 784) float32"
    assert [b.kind for b in boxes(drawing) if "." in b.lines[0]] == ["leaf"] * 4
    never_overlap(drawing)
    # The data's way is one straight line: relu's only edge ends right below where it starts.
    relu, (_, linear) = of(drawing, "relu"), [b for b in boxes(drawing) if b.lines[0] == "linear"]
    middle = relu.left + relu.width / 2
    assert min(abs(x - middle) for x, y in arrows(drawing) if linear.holds(x, y + 1)) < 1


def test_a_convolutional_network() -> None:
    net, loss = network("cnn", batch_norm=True)
    drawing = draw(loss, dict(net.named_parameters()))
    operations = [box.lines[0] for box in boxes(drawing) if box.kind.startswith("op")]
    block = ["conv2d", "batch_norm", "max_pool2d", "relu"]
    assert operations == [*block, *block, "flatten", "linear", "cross_entropy"]
    assert {b.lines[0] for b in boxes(drawing) if b.kind == "leaf"} == {name for name, _ in net.named_parameters()}
    never_overlap(drawing)


def attention() -> Tensor:
    x, weights = parameter(3, 4), [parameter(4, 4) for _ in range(3)]
    q, k, v = (ops.linear(x, w) for w in weights)
    y = x + ops.matmul(ops.softmax(ops.matmul(q, ops.swapaxes(k, 0, 1))), v)
    return (y * y).mean()


def test_each_edge_starts_below_one_box_and_ends_on_another() -> None:
    drawing = draw(attention())
    never_overlap(drawing)
    all_boxes = boxes(drawing)
    heads = arrows(drawing)
    # Three products of x and a weight, two more, softmax, swapaxes, the sum, the square and the mean.
    assert len(heads) == 3 * 2 + 2 * 2 + 1 + 1 + 2 + 2 + 1
    for px, py in heads:
        assert sum(box.holds(px, py + 0.5) for box in all_boxes) == 1
    foot = {(round(b.left + b.width / 2), round(b.top + b.height)) for b in all_boxes}
    left = {(round(x), round(y)) for x, y, _ in curves(drawing)} & foot
    assert len(left) == len(all_boxes) - 1, "every box but the last gives its value to another"


def test_a_long_edge_passes_between_boxes() -> None:
    x = parameter(8)
    y = x
    for _ in range(4):
        y = y.tanh()
    drawing = draw((x + y).sum())
    vertical = [float(n) for n in re.findall(r"([-\d.]+) [-\d.]+V", drawn(drawing, "e"))]
    assert len(vertical) == 4, "one place in each row that it passes"
    for box in boxes(drawing):
        if box.lines[0] == "tanh":
            assert not any(box.left <= x <= box.left + box.width for x in vertical)


def test_a_long_edge_is_one_straight_line() -> None:
    vertical = re.findall(r"([-\d.]+) [-\d.]+V", drawn(draw(attention()), "e"))
    assert len(vertical) > 4
    assert len(set(vertical)) == 1


def test_all_edges_go_down() -> None:
    x = parameter(8)
    short = x.exp()  # made first, so that creation order alone would put x too low
    drawing = draw(short + x.tanh().tanh().tanh(), {"x": x})
    assert titles(drawing)[0] == "x"
    assert titles(drawing)[-1] == "add"
    assert all(of(drawing, "exp").top >= b.top for b in boxes(drawing) if b.lines[0] == "tanh")


def test_an_order_without_crossings_is_found() -> None:
    a, b = parameter(8), parameter(8)
    # In the operands' order the second edge from a would cross the one from b.
    drawing = draw(ops.concatenate([a.exp(), b.sin(), a.tanh()]), {"a": a, "b": b})
    for x, y, end in curves(drawing):
        for other, height, other_end in curves(drawing):
            assert y != height or (x - other) * (end - other_end) >= 0
    assert {t for t in titles(drawing) if t in ("exp", "sin", "tanh")} == {"exp", "sin", "tanh"}


def test_a_weight_used_often_is_one_box() -> None:
    w, h = parameter(4, 4), np.ones((2, 4), np.float32)
    for _ in range(5):
        h = ops.tanh(ops.linear(h, w))
    drawing = draw(h.sum(), {"w": w})
    assert titles(drawing).count("w") == 1
    linear = [b for b in boxes(drawing) if b.lines[0] == "linear"]
    assert [sum(b.holds(x, y + 1) for x, y in arrows(drawing)) for b in linear] == [1, 2, 2, 2, 2]


# Names and text.


def test_a_shared_tensor_has_both_names_and_an_operation_can_have_one() -> None:
    w = parameter(2)
    loss = w.sum()
    assert titles(draw(loss, {"encoder": w, "decoder": w, "loss": loss, "elsewhere": parameter(2)})) == [
        "encoder = decoder",
        "loss = sum",
    ]


def test_any_text_can_be_a_name() -> None:
    w = parameter(8)
    for name in ('<script>&"]]>', "重み", "two\nlines", "bell\x07 \ud800"):
        drawing = draw(w.sum(), {name: w})
        expected = name.replace("\n", " ").replace("\x07", "�").replace("\ud800", "�")
        assert titles(drawing)[0] == expected
    wide, narrow = (boxes(draw(w.sum(), {"x" * n: w}))[0].width for n in (40, 4))
    assert wide >= 40 * 7 > narrow


# Where it can be looked at.


def test_it_shows_itself_in_a_notebook_and_is_saved_whole(tmp_path: Path) -> None:
    drawing = draw(parameter(2).sum())
    assert drawing._repr_svg_() == str(drawing)
    assert str(drawing).startswith("<svg ")
    assert repr(drawing) == "<Drawing: sum, 1 operations, 1 leaves>"
    drawing.save(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == str(drawing)
    assert [p.name for p in tmp_path.iterdir()] == ["graph.svg"]


def test_it_has_colours_for_light_and_dark_and_needs_nothing_from_outside() -> None:
    text = str(draw(parameter(2).sum()))
    assert "prefers-color-scheme:dark" in text
    assert not re.search(r"url\(|href|<script|@import", text)
    # Styles reach the page around a picture; these reach nothing but the picture.
    rules = re.findall(r"([^{}]+)\{[^{}]*\}", re.search(r"<style>(.*)</style>", text, re.DOTALL)[1])
    for rule in rules:
        for selector in rule.replace("@media (prefers-color-scheme:dark){", "").split(","):
            assert selector.strip().startswith((".minigrad-graph ", "@media")), selector


def test_the_same_graph_gives_the_same_picture() -> None:
    first, second = (draw(loss, dict(net.named_parameters())) for net, loss in (network("cnn"), network("cnn")))
    assert str(first) == str(second)


# Any graph at all.


def test_thousands_of_operations() -> None:
    w, b, h, total = parameter(2, 2), parameter(2), np.ones((1, 2), np.float32), 0.0
    for _ in range(600):  # two operations each: deeper than Python's recursion limit
        h = ops.tanh(ops.linear(h, w, b))
        total = total + h.sum()
    start = time.perf_counter()
    drawing = draw(total, {"w": w, "b": b})
    assert time.perf_counter() - start < 60
    assert len(boxes(drawing)) == 2 + 600 * 4
    assert len(arrows(drawing)) == 600 * (2 + 1 + 1 + 1) + 599 + 599


def test_a_row_of_a_thousand_leaves() -> None:
    leaves = [parameter(1) for _ in range(1000)]
    drawing = draw(ops.concatenate(leaves).sum(), {f"leaf {i}": leaf for i, leaf in enumerate(leaves)})
    row = [box for box in boxes(drawing) if box.kind == "leaf"]
    assert [box.lines[0] for box in sorted(row, key=lambda b: b.left)] == [f"leaf {i}" for i in range(1000)]
    never_overlap(drawing)


def test_more_edges_than_there_are_bends_for_are_drawn_straight() -> None:
    h, states = parameter(1), []
    for _ in range(250):  # 250 * 250 / 2 bends would be needed
        h = h.tanh()
        states.append(h)
    drawing = draw(ops.concatenate(states))
    assert len(arrows(drawing)) == 250 + 250
    assert len(str(drawing)) < 4_000_000


# What can't be drawn.


def test_a_freed_graph_says_how_to_keep_it() -> None:
    w = parameter(2)
    middle = w * w
    loss, other = middle.sum(), (middle * 2.0).sum()
    loss.backward()
    for tensor in (loss, other):
        with pytest.raises(RuntimeError, match="freed by backward; pass retain_graph=True"):
            draw(tensor)


def test_what_was_not_recorded_is_refused() -> None:
    w = parameter(2)
    with no_grad():
        value = w * w
    for tensor in (value, Tensor([1.0])):
        with pytest.raises(RuntimeError, match="does not require a gradient; nothing was recorded"):
            draw(tensor)
    with pytest.raises(TypeError, match="expected a tensor; got ndarray"):
        draw(np.ones(2))


def test_a_leaf_alone_is_a_picture_too() -> None:
    assert titles(draw(parameter(8))) == ["leaf"]
