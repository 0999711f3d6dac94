"""The recorded graph behind a tensor, drawn as SVG: `draw(loss).save("graph.svg")`. Data flow downwards."""

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

FEW = 4  # so many numbers are shown themselves, more by their norm
TITLE, SMALL = 13, 11  # font sizes
CHARACTER = 0.61  # the width of one in a monospaced font, in font sizes


@dataclass(frozen=True)
class Drawing:
    """A picture as SVG text, which a notebook shows by itself."""

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
    """The graph behind `tensor`: operations as boxes, leaves as rounded ones, edges as the data flow.

    A box says its operation, shape and dtype, and small values; a leaf also
    its gradient, once `backward(retain_graph=True)` has left one: the numbers
    of a few, else their norm. What needs no gradient was not recorded, so
    the images behind a network aren't there.

    Args:
        tensor: where the graph ends, say the loss.
        names: what to call tensors, such as `dict(net.named_parameters())`.

    Raises:
        TypeError: it is no tensor.
        RuntimeError: nothing was recorded, or backward freed what was.
    """
    if not isinstance(tensor, Node):
        raise TypeError(f"draw: expected a tensor; got {type(tensor).__name__}")
    if not tensor.requires_grad:
        raise RuntimeError("draw: this tensor does not require a gradient; nothing was recorded")
    called: dict[int, list[str]] = {}
    for name, named in (names or {}).items():
        called.setdefault(id(named), []).append(name)
    nodes, above = _reach(tensor)
    boxes = {i: _box(node, above[i], called.get(i, [])) for i, node in nodes.items()}
    last = max(above.values())
    for box in boxes.values():
        box.row = last - box.row
    boxes[id(tensor)].kind += " root"
    operands = {i: [id(operand) for operand, _ in node._edges] for i, node in nodes.items()}
    rows, gaps, far = lay_out(boxes, operands)
    operations = sum(bool(node._edges) for node in nodes.values())
    description = f"{tensor._op}, {operations} operations, {len(nodes) - operations} leaves"
    return Drawing(to_svg(rows, gaps, far, description), description)


def _reach(root: Node) -> tuple[dict[int, Node], dict[int, int]]:
    """The nodes behind `root` by id, first operands first, and how many edges the longest way from each to it has."""
    nodes: dict[int, Node] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in nodes:
            continue
        if node._edges is FREED:
            raise RuntimeError(
                f"draw: the graph behind {node._op!r} was freed by backward; give it retain_graph=True, or draw before it"
            )
        nodes[id(node)] = node
        stack.extend(operand for operand, _ in reversed(node._edges))
    above = dict.fromkeys(nodes, 0)
    for node in sorted(nodes.values(), key=lambda n: -n._order):  # each before its operands
        for operand, _ in node._edges:
            above[id(operand)] = max(above[id(operand)], above[id(node)] + 1)
    return nodes, above


def _box(node: Node, row: int, names: list[str]) -> Box:
    """The box of a node with its text, so large as that needs."""
    kind = "op" if node._edges else "leaf"
    title = " = ".join([*names, *([node._op] if node._edges or not names else [])])
    text = [("t", _clean(title)), ("s", f"{node.data.shape} {node.data.dtype}")]
    if node.data.size <= FEW:
        text.append(("s", f"value {_numbers(node.data)}"))
    if node.grad is not None:
        few = node.grad.size <= FEW
        norm = np.linalg.norm(node.grad.astype(np.float64).ravel())
        text.append(("g", f"grad {_numbers(node.grad)}" if few else f"|grad| {norm:.4g}"))
    wide = max(_columns(line) * CHARACTER * (TITLE if style == "t" else SMALL) for style, line in text)
    return Box(kind, row, text, round(wide) + 2 * PAD, LINE * len(text) + PAD)


def _clean(text: str) -> str:
    """`text` on one line and without what XML can't hold."""
    return re.sub(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", re.sub(r"\s", " ", text))


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _numbers(array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"{array.item():.4g}"
    return "[" + ", ".join(_numbers(part) for part in array) + "]"
