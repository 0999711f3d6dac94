"""The recorded graph behind a tensor, drawn as SVG: `draw(loss).save("graph.svg")`.

Data flow downwards. The layout is Sugiyama's (Sugiyama, Tagawa and Toda,
1981), in four steps, none of them recursive, so that depth is unlimited:

1. rows: a box stands as far above the last one as the longest way to it;
2. bends: an edge over several rows gets a place in each, shared by all edges
   from the same box, so that a weight used a thousand times is one line;
3. order in a row: each box goes to the mean of its neighbours, row by row,
   down and up again, and the order with the fewest crossings is kept;
4. places: those nearest to the neighbours' at which no two boxes touch.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, repeat
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from .runs.files import write_text
from .tape import _FREED, Node

FEW = 4  # so many numbers are shown themselves, more by their norm
MAX_BENDS = 20_000  # beyond them the longest edges go straight
SWEEPS = 8
# All in pixels.
TITLE, SMALL, LINE, PAD, MARGIN, BESIDE, BETWEEN = 13, 11, 16, 14, 20, 26, 32
CHARACTER = 0.61  # the width of one in a monospaced font, in font sizes

STYLE = """
.minigrad-graph text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;text-anchor:middle}
.minigrad-graph .t{font-size:13px;font-weight:600}.minigrad-graph .s,.minigrad-graph .g{font-size:11px}
.minigrad-graph .e{fill:none;stroke-width:1.5}.minigrad-graph .root rect{stroke-width:2.5}
.minigrad-graph .paper{fill:#fff}.minigrad-graph .e{stroke:#a3adbd}.minigrad-graph .a{fill:#a3adbd}
.minigrad-graph .op rect{fill:#eef1ff;stroke:#6473e8}.minigrad-graph .leaf rect{fill:#fff6e3;stroke:#dc9a2c}
.minigrad-graph .t{fill:#1b2138}.minigrad-graph .s{fill:#525c72}.minigrad-graph .g{fill:#0b7261}
@media (prefers-color-scheme:dark){
.minigrad-graph .paper{fill:#10141c}.minigrad-graph .e{stroke:#5d6980}.minigrad-graph .a{fill:#5d6980}
.minigrad-graph .op rect{fill:#1d2547;stroke:#7d8cff}.minigrad-graph .leaf rect{fill:#33270f;stroke:#e0a443}
.minigrad-graph .t{fill:#eef1fa}.minigrad-graph .s{fill:#aab4c8}.minigrad-graph .g{fill:#5fdcc4}}
"""


@dataclass(frozen=True)
class Drawing:
    """A picture as SVG text, which a notebook shows by itself."""

    svg: str
    description: str

    def save(self, path: str | Path) -> None:
        """Write the picture, whole or not at all."""
        write_text(Path(path), self.svg)

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing: {self.description}>"

    def _repr_svg_(self) -> str:
        return self.svg


@dataclass(eq=False)
class _Box:
    """What stands in a row: an operation, a leaf, or a bend of a long edge, which has no text."""

    kind: str
    row: int
    text: list[tuple[str, str]] = field(default_factory=list)  # (style, line)
    width: float = 0.0
    height: float = 0.0
    x: float = 0.0  # its middle
    y: float = 0.0  # its top
    column: int = 0


# From a box to one in the next row, and where it enters that one, from 0 (left) to 1.
_Edge = tuple[_Box, _Box, float]


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
    gaps, far = _connect(nodes, boxes, last)
    rows: list[list[_Box]] = [[] for _ in range(last + 1)]
    for box in [*boxes.values(), *(lower for gap in gaps for _, lower, _ in gap if lower.kind == "bend")]:
        rows[box.row].append(box)
    _arrange(rows, gaps)
    _place(rows, gaps)
    operations = sum(bool(node._edges) for node in nodes.values())
    description = f"{tensor._op}, {operations} operations, {len(nodes) - operations} leaves"
    return Drawing(_svg(rows, gaps, far, description), description)


# What is drawn.


def _reach(root: Node) -> tuple[dict[int, Node], dict[int, int]]:
    """The nodes behind `root` by id, first operands first, and how many edges the longest way from each to it has."""
    nodes: dict[int, Node] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in nodes:
            continue
        if node._edges is _FREED:
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


def _box(node: Node, row: int, names: list[str]) -> _Box:
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
    return _Box(kind, row, text, round(wide) + 2 * PAD, LINE * len(text) + PAD)


def _clean(text: str) -> str:
    """`text` on one line and without what XML can't hold."""
    return re.sub(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", re.sub(r"\s", " ", text))


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _numbers(array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"{array.item():.4g}"
    return "[" + ", ".join(_numbers(part) for part in array) + "]"


def _connect(
    nodes: dict[int, Node], boxes: dict[int, _Box], last: int
) -> tuple[list[list[_Edge]], list[tuple[_Box, _Box]]]:
    """The edges between each row and the next, with bends made where one is longer, and those too far for bends."""
    users: dict[int, list[tuple[int, float]]] = {i: [] for i in nodes}
    for i, node in nodes.items():
        for k, (operand, _) in enumerate(node._edges):
            users[id(operand)].append((i, (k + 1) / (len(node._edges) + 1)))
    reach = {i: max((boxes[user].row for user, _ in to), default=0) - boxes[i].row for i, to in users.items()}
    gaps: list[list[_Edge]] = [[] for _ in range(last)]
    far: list[tuple[_Box, _Box]] = []
    bends = 0
    for i in sorted(users, key=lambda i: reach[i]):  # the longest last
        way = {boxes[i].row: boxes[i]}
        bends += max(reach[i] - 1, 0)
        if bends <= MAX_BENDS:
            for row in range(boxes[i].row + 1, boxes[i].row + reach[i]):
                way[row] = _Box("bend", row)
                gaps[row - 1].append((way[row - 1], way[row], 0.5))
        for user, port in users[i]:
            box = boxes[user]
            start = way.get(box.row - 1)
            if start:
                gaps[box.row - 1].append((start, box, port))
            else:
                far.append((boxes[i], box))
    return gaps, far


# Where it stands.


def _arrange(rows: list[list[_Box]], gaps: list[list[_Edge]]) -> None:
    """Order each row so that few edges cross."""
    for row in rows:
        _number(row)
    best, kept = _crossings(gaps), [list(row) for row in rows]
    for sweep in range(SWEEPS):
        if not best:
            break
        down = sweep % 2 == 1
        for r in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            seen: dict[_Box, list[float]] = {}
            for upper, lower, port in gaps[r - 1 if down else r]:
                seen.setdefault(lower if down else upper, []).append(
                    upper.column if down else lower.column + port - 0.5
                )
            # A box without neighbours on this side keeps its place, and the others share theirs anew.
            moving = iter(sorted((b for b in rows[r] if b in seen), key=lambda b: sum(seen[b]) / len(seen[b])))
            rows[r] = [next(moving) if box in seen else box for box in rows[r]]
            _number(rows[r])
        crossings = _crossings(gaps)
        if crossings < best:
            best, kept = crossings, [list(row) for row in rows]
    rows[:] = kept
    for row in rows:
        _number(row)


def _number(row: list[_Box]) -> None:
    for column, box in enumerate(row):
        box.column = column


def _crossings(gaps: list[list[_Edge]]) -> int:
    """How many pairs of edges cross: those whose ends are the other way round than their starts."""
    total = 0
    for gap in gaps:
        ends: list[int] = []
        for _, end in sorted((upper.column, lower.column) for upper, lower, _ in gap):
            total += len(ends) - bisect_right(ends, end)
            insort(ends, end)
    return total


def _pull(upper: _Box, lower: _Box) -> float:
    """How strongly an edge wants to be straight: long ones most, those of leaves hardly."""
    if upper.kind == "leaf":
        return 0.001
    return 8.0 if upper.kind == lower.kind == "bend" else 1.0


def _place(rows: list[list[_Box]], gaps: list[list[_Edge]]) -> None:
    """Give each box its x and y."""
    for row in rows:
        _spread(row, [0.0] * len(row), [1.0] * len(row))
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0  # up at the end, so that leaves stand above their users
        for r in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            pulls: dict[_Box, list[tuple[float, float]]] = {}
            for upper, lower, _ in gaps[r - 1 if down else r]:
                box, other = (lower, upper) if down else (upper, lower)
                pulls.setdefault(box, []).append((_pull(upper, lower), other.x))
            weights = [sum(w for w, _ in pulls[b]) if b in pulls else 0.001 for b in rows[r]]
            wanted = [
                sum(w * x for w, x in pulls[b]) / weight if b in pulls else b.x
                for b, weight in zip(rows[r], weights, strict=True)
            ]
            _spread(rows[r], wanted, weights)
    for _ in range(2):  # one line may make room for another
        _straighten(rows, gaps)
    left = min(b.x - b.width / 2 for row in rows for b in row) - MARGIN
    top = float(MARGIN)
    for r, row in enumerate(rows):
        if r:  # a steep curve needs room
            top += BETWEEN + min(80.0, 0.08 * max(abs(upper.x - lower.x) for upper, lower, _ in gaps[r - 1]))
        height = max(box.height for box in row)
        for box in row:
            box.x -= left
            if box.kind == "bend":
                box.height = height
            box.y = top + (height - box.height) / 2
        top += height


def _spread(row: list[_Box], wanted: list[float], weights: list[float]) -> None:
    """Put the boxes of `row` as near to `wanted` as they can be without touching."""
    steps = [(a.width + b.width) / 2 + BESIDE for a, b in pairwise(row)]
    for box, x in zip(row, _apart(wanted, weights, steps), strict=True):
        box.x = x


def _apart(wanted: list[float], weights: list[float], steps: list[float]) -> list[float]:
    """The places nearest to `wanted`, by weighted least squares, each at least a step right of the one before.

    With the steps taken off, the places must not decrease: isotonic
    regression, solved by pooling adjacent violators.
    """
    pools: list[tuple[float, float, int]] = []  # (place, weight, members)
    offsets = list(accumulate(steps, initial=0.0))
    for place, weight, offset in zip(wanted, weights, offsets, strict=True):
        pool = (place - offset, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            x, w, n = pools.pop()
            pool = ((x * w + pool[0] * pool[1]) / (w + pool[1]), w + pool[1], n + pool[2])
        pools.append(pool)
    return [x + offset for x, offset in zip((x for x, _, n in pools for _ in range(n)), offsets, strict=True)]


def _straighten(rows: list[list[_Box]], gaps: list[list[_Edge]]) -> None:
    """Make the bends of a long edge one vertical line, for as far down as there is room."""
    following = {upper: lower for gap in gaps for upper, lower, _ in gap if upper.kind == lower.kind == "bend"}
    for box in [b for row in rows for b in row if b.kind == "bend"]:
        if box not in following:
            continue
        run: list[_Box] = []
        low, high = -math.inf, math.inf  # where all of the run could be
        bend: _Box | None = box
        while bend:
            left, right = _room(rows[bend.row], bend)
            if max(low, left) > min(high, right):
                break
            low, high = max(low, left), min(high, right)
            run.append(bend)
            bend = following.pop(bend, None)
        x = sorted(b.x for b in run)[len(run) // 2]
        for b in run:
            b.x = min(max(x, low), high)


def _room(row: list[_Box], bend: _Box) -> tuple[float, float]:
    """How far left and right a bend could be."""
    before, after = row[bend.column - 1 : bend.column], row[bend.column + 1 : bend.column + 2]
    left = max((b.x + b.width / 2 + BESIDE for b in before), default=-math.inf)
    return left, min((b.x - b.width / 2 - BESIDE for b in after), default=math.inf)


# The picture.


def _svg(rows: list[list[_Box]], gaps: list[list[_Edge]], far: list[tuple[_Box, _Box]], description: str) -> str:
    boxes = [box for row in rows for box in row]
    width = round(max(b.x + b.width / 2 for b in boxes) + MARGIN)
    height = round(max(b.y + b.height for b in boxes) + MARGIN)
    lines, heads = [], []
    for upper, lower, x in _ends([*((u, l) for gap in gaps for u, l, _ in gap), *far]):
        top, bottom = upper.y + upper.height, lower.y - (0 if lower.kind == "bend" else 5)
        reach = (bottom - top) * 0.55
        curve = f"C{upper.x:.1f} {top + reach:.1f} {x:.1f} {bottom - reach:.1f} {x:.1f} {bottom:.1f}"
        if lower.kind == "bend":
            curve += f"V{lower.y + lower.height:.1f}"
        else:
            heads.append(f"M{x - 4:.1f} {bottom - 2:.1f}h8l-4 7z")
        lines.append(f"M{upper.x:.1f} {top:.1f}{curve}")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="minigrad-graph" role="img" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}">',
            f"<title>{escape(description)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{width}" height="{height}" rx="10"/>',
            f'<path class="e" d="{"".join(lines)}"/>',
            f'<path class="a" d="{"".join(heads)}"/>',
            *(_group(box) for box in boxes if box.text),
            "</svg>\n",
        ]
    )


def _ends(edges: list[tuple[_Box, _Box]]) -> Iterator[tuple[_Box, _Box, float]]:
    """Each edge with the x at which it enters its lower box: straight down where that can be, none on another."""
    into: dict[_Box, list[_Box]] = {}
    for upper, lower in edges:
        into.setdefault(lower, []).append(upper)
    for lower, uppers in into.items():
        uppers.sort(key=lambda u: u.x)
        room = max(lower.width / 2 - PAD, 0)
        steps = [min(18.0, 2 * room / len(uppers))] * (len(uppers) - 1)
        wanted = [min(max(u.x, lower.x - room), lower.x + room) for u in uppers]
        weights = [_pull(u, lower) for u in uppers]
        yield from zip(uppers, repeat(lower), _apart(wanted, weights, steps))


def _group(box: _Box) -> str:
    left, radius = box.x - box.width / 2, box.height / 2 if box.kind.startswith("leaf") else 6
    rectangle = f'<rect x="{left:.1f}" y="{box.y:.1f}" width="{box.width}" height="{box.height}" rx="{radius}"/>'
    texts = [
        f'<text class="{style}" x="{box.x:.1f}" y="{box.y + PAD / 2 + LINE * k + 12:.1f}">{escape(line)}</text>'
        for k, (style, line) in enumerate(box.text)
    ]
    return f'<g class="{box.kind}">{rectangle}{"".join(texts)}</g>'
