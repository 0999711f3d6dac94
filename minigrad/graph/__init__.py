"""The recorded graph of a tensor as an SVG picture: `draw(loss).save("graph.svg")`. Data flow downwards."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..tape import FREED, Node
from .layout import Box, lay_out
from .svg import LINE, PAD, to_svg

__all__ = ["Drawing", "draw"]

FEW = 4  # up to this size, an array is shown by its numbers
TITLE, SMALL = 13, 11  # font sizes in pixels
CHARACTER = 0.61  # the width of a character of a monospaced font, relative to the font size


@dataclass(frozen=True)
class Drawing:
    """A picture as SVG text; a notebook displays it."""

    svg: str
    description: str

    def save(self, path: str | Path) -> None:
        """Write the picture to a new file, which replaces `path` only when it is complete."""
        from ..runs.files import write_text  # slow to import

        write_text(Path(path), self.svg)

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing: {self.description}>"

    def _repr_svg_(self) -> str:
        return self.svg


def draw(tensor: Node, names: Mapping[str, Any] | None = None) -> Drawing:
    """Draw the graph of `tensor`: operations as boxes, leaves as rounded boxes, the data flow as edges.

    A box shows the operation, the shape, the dtype and a small value. A leaf
    also shows its gradient after `backward(retain_graph=True)`: its numbers if
    there are few, otherwise its norm. Arrays that need no gradient, such as
    the input of a network, are not recorded and therefore not shown.

    Args:
        tensor: the last node of the graph, for example the loss.
        names: names of tensors, such as `dict(net.named_parameters())`.

    Raises:
        TypeError: `tensor` is not a tensor.
        RuntimeError: nothing was recorded, or `backward` has freed the graph.
    """
    if not isinstance(tensor, Node):
        raise TypeError(f"draw: expected a tensor; got {type(tensor).__name__}")
    if not tensor.requires_grad:
        raise RuntimeError("draw: this tensor does not require a gradient; nothing was recorded")
    labels: dict[int, list[str]] = {}
    for name, named_tensor in (names or {}).items():
        labels.setdefault(id(named_tensor), []).append(name)
    nodes, height = _reach(tensor)
    boxes = {i: _box(node, height[i], labels.get(i, [])) for i, node in nodes.items()}
    last = max(height.values())
    for box in boxes.values():
        box.row = last - box.row
    boxes[id(tensor)].kind += " root"
    operands = {i: [id(operand) for operand, *_ in node._edges] for i, node in nodes.items()}
    rows, gaps, long_edges = lay_out(boxes, operands)
    operations = sum(bool(node._edges) for node in nodes.values())
    description = f"{tensor._op}, {operations} operations, {len(nodes) - operations} leaves"
    return Drawing(to_svg(rows, gaps, long_edges, description), description)


def _reach(root: Node) -> tuple[dict[int, Node], dict[int, int]]:
    """Return the nodes of the graph by id, first operands first, and the longest path from each node to `root`."""
    nodes: dict[int, Node] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in nodes:
            continue
        if node._edges is FREED:
            raise RuntimeError(
                f"draw: the graph behind {node._op!r} was freed by backward; pass retain_graph=True to it, or draw before it"
            )
        nodes[id(node)] = node
        stack.extend(operand for operand, *_ in reversed(node._edges))
    height = dict.fromkeys(nodes, 0)
    for node in sorted(nodes.values(), key=lambda n: -n._order):  # each node before its operands
        for operand, *_ in node._edges:
            height[id(operand)] = max(height[id(operand)], height[id(node)] + 1)
    return nodes, height


def _box(node: Node, row: int, names: list[str]) -> Box:
    """Return the box of a node, with its text and the size that the text needs."""
    kind = "op" if node._edges else "leaf"
    title = " = ".join([*names, *([node._op] if node._edges or not names else [])])
    text = [("t", _clean(title)), ("s", f"{node.data.shape} {node.data.dtype}")]
    if node.data.size <= FEW:
        text.append(("s", f"value {_numbers(node.data)}"))
    if node.grad is not None:
        few = node.grad.size <= FEW
        norm = np.linalg.norm(node.grad.astype(np.float64).ravel())
        text.append(("g", f"grad {_numbers(node.grad)}" if few else f"|grad| {norm:.4g}"))
    width = max(_columns(line) * CHARACTER * (TITLE if style == "t" else SMALL) for style, line in text)
    return Box(kind, row, text, round(width) + 2 * PAD, LINE * len(text) + PAD)


def _clean(text: str) -> str:
    """`text` on one line, without characters that XML does not allow."""
    return re.sub(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", re.sub(r"\s", " ", text))


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _numbers(array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"{array.item():.4g}"
    return "[" + ", ".join(_numbers(part) for part in array) + "]"
