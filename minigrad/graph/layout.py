"""The positions of the boxes of a graph: the layered layout of Sugiyama, Tagawa and Toda, 1981.

The layout has four steps. None is recursive, so the depth is unlimited.

1. Rows: the row of a box is its longest distance from the last box.
2. Bends: an edge over several rows gets one bend per row between. All edges
   from the same box share them, so that a weight that is used a thousand
   times is one line.
3. Order: row by row, down and up again, each box moves to the mean of its
   neighbors. The order with the fewest crossings is kept.
4. Coordinates: as close to the neighbors as possible, without overlap.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

MAX_BENDS = 20_000  # if more are needed, the longest edges are straight lines
SWEEPS = 8
MARGIN, BESIDE, BETWEEN = 20, 26, 32  # pixels


@dataclass(eq=False)
class Box:
    """An element of a row: an operation, a leaf, or a bend of a long edge, which has no text."""

    kind: str
    row: int
    text: list[tuple[str, str]] = field(default_factory=list)  # (style, line)
    width: float = 0.0
    height: float = 0.0
    x: float = 0.0  # of the center
    y: float = 0.0  # of the top
    column: int = 0


# (upper box, box in the next row, where the edge enters the lower box: 0 is its left end, 1 its right end)
Edge = tuple[Box, Box, float]


def lay_out(
    boxes: dict[int, Box], operands: dict[int, list[int]]
) -> tuple[list[list[Box]], list[list[Edge]], list[tuple[Box, Box]]]:
    """Set the coordinates of every box.

    Args:
        boxes: the boxes by key, with row, width and height.
        operands: per key, the keys of the boxes from which its edges start, first operand first.

    Returns:
        The rows, including bends; per row, the edges to the next row; and the
        long edges that have no bends.
    """
    last = max(box.row for box in boxes.values())
    gaps, long_edges = _connect(operands, boxes, last)
    rows: list[list[Box]] = [[] for _ in range(last + 1)]
    for box in [*boxes.values(), *(lower for gap in gaps for _, lower, _ in gap if lower.kind == "bend")]:
        rows[box.row].append(box)
    _order_rows(rows, gaps)
    _set_coordinates(rows, gaps)
    return rows, gaps, long_edges


def _connect(
    operands: dict[int, list[int]], boxes: dict[int, Box], last: int
) -> tuple[list[list[Edge]], list[tuple[Box, Box]]]:
    """Return, per row, the edges to the next row, with new bends for longer edges; and the long edges without bends."""
    users: dict[int, list[tuple[int, float]]] = {i: [] for i in boxes}
    for i, keys in operands.items():
        for k, operand in enumerate(keys):
            users[operand].append((i, (k + 1) / (len(keys) + 1)))
    reach = {i: max((boxes[user].row for user, _ in ports), default=0) - boxes[i].row for i, ports in users.items()}
    gaps: list[list[Edge]] = [[] for _ in range(last)]
    long_edges: list[tuple[Box, Box]] = []
    bends = 0
    for i in sorted(users, key=lambda i: reach[i]):  # the longest edges last
        path = {boxes[i].row: boxes[i]}
        bends += max(reach[i] - 1, 0)
        if bends <= MAX_BENDS:
            for row in range(boxes[i].row + 1, boxes[i].row + reach[i]):
                path[row] = Box("bend", row)
                gaps[row - 1].append((path[row - 1], path[row], 0.5))
        for user, port in users[i]:
            box = boxes[user]
            start = path.get(box.row - 1)
            if start:
                gaps[box.row - 1].append((start, box, port))
            else:
                long_edges.append((boxes[i], box))
    return gaps, long_edges


def _order_rows(rows: list[list[Box]], gaps: list[list[Edge]]) -> None:
    """Order the boxes of each row so that few edges cross."""
    for row in rows:
        _set_columns(row)
    best, kept = _crossings(gaps), [list(row) for row in rows]
    for sweep in range(SWEEPS):
        if not best:
            break
        down = sweep % 2 == 1
        for r in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            targets: dict[Box, list[float]] = {}
            for upper, lower, port in gaps[r - 1 if down else r]:
                targets.setdefault(lower if down else upper, []).append(
                    upper.column if down else lower.column + port - 0.5
                )
            # A box without neighbors on this side keeps its position; the others are sorted.
            moving = iter(sorted((b for b in rows[r] if b in targets), key=lambda b: sum(targets[b]) / len(targets[b])))
            rows[r] = [next(moving) if box in targets else box for box in rows[r]]
            _set_columns(rows[r])
        crossings = _crossings(gaps)
        if crossings < best:
            best, kept = crossings, [list(row) for row in rows]
    rows[:] = kept
    for row in rows:
        _set_columns(row)


def _set_columns(row: list[Box]) -> None:
    for column, box in enumerate(row):
        box.column = column


def _crossings(gaps: list[list[Edge]]) -> int:
    """Count the pairs of edges that cross: pairs whose ends are in the opposite order of their starts."""
    total = 0
    for gap in gaps:
        ends: list[int] = []
        for _, end in sorted((upper.column, lower.column) for upper, lower, _ in gap):
            total += len(ends) - bisect_right(ends, end)
            insort(ends, end)
    return total


def pull(upper: Box, lower: Box) -> float:
    """Return the weight with which an edge is straightened: largest for long edges, smallest for edges of leaves."""
    if upper.kind == "leaf":
        return 0.001
    return 8.0 if upper.kind == lower.kind == "bend" else 1.0


def _set_coordinates(rows: list[list[Box]], gaps: list[list[Edge]]) -> None:
    """Set x and y of each box."""
    for row in rows:
        _spread(row, [0.0] * len(row), [1.0] * len(row))
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0  # the last sweep goes up, so that leaves are above the boxes that use them
        for r in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            pulls: dict[Box, list[tuple[float, float]]] = {}
            for upper, lower, _ in gaps[r - 1 if down else r]:
                box, other = (lower, upper) if down else (upper, lower)
                pulls.setdefault(box, []).append((pull(upper, lower), other.x))
            weights = [sum(w for w, _ in pulls[b]) if b in pulls else 0.001 for b in rows[r]]
            wanted = [
                sum(w * x for w, x in pulls[b]) / weight if b in pulls else b.x
                for b, weight in zip(rows[r], weights, strict=True)
            ]
            _spread(rows[r], wanted, weights)
    for _ in range(2):  # moving one line may make room for another
        _straighten(rows, gaps)
    left = min(b.x - b.width / 2 for row in rows for b in row) - MARGIN
    top = float(MARGIN)
    for r, row in enumerate(rows):
        if r:  # a wide curve needs height
            top += BETWEEN + min(80.0, 0.08 * max(abs(upper.x - lower.x) for upper, lower, _ in gaps[r - 1]))
        height = max(box.height for box in row)
        for box in row:
            box.x -= left
            if box.kind == "bend":
                box.height = height
            box.y = top + (height - box.height) / 2
        top += height


def _spread(row: list[Box], wanted: list[float], weights: list[float]) -> None:
    """Move the boxes of `row` as close to `wanted` as possible without overlap."""
    steps = [(a.width + b.width) / 2 + BESIDE for a, b in pairwise(row)]
    for box, x in zip(row, apart(wanted, weights, steps), strict=True):
        box.x = x


def apart(wanted: list[float], weights: list[float], steps: list[float]) -> list[float]:
    """Return the positions closest to `wanted` by weighted least squares, at least steps[i] from the i-th to the next.

    After subtraction of the steps, the positions must not decrease: this is
    isotonic regression, solved by the pool-adjacent-violators algorithm.
    """
    pools: list[tuple[float, float, int]] = []  # (position, weight, members)
    offsets = list(accumulate(steps, initial=0.0))
    for position, weight, offset in zip(wanted, weights, offsets, strict=True):
        pool = (position - offset, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            x, w, n = pools.pop()
            pool = ((x * w + pool[0] * pool[1]) / (w + pool[1]), w + pool[1], n + pool[2])
        pools.append(pool)
    return [x + offset for x, offset in zip((x for x, _, n in pools for _ in range(n)), offsets, strict=True)]


def _straighten(rows: list[list[Box]], gaps: list[list[Edge]]) -> None:
    """Align the bends of each long edge vertically, over as many rows as possible without overlap."""
    following = {upper: lower for gap in gaps for upper, lower, _ in gap if upper.kind == lower.kind == "bend"}
    for box in [b for row in rows for b in row if b.kind == "bend"]:
        if box not in following:
            continue
        run: list[Box] = []
        low, high = -math.inf, math.inf  # the range that is free for all bends of the run
        bend: Box | None = box
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


def _room(row: list[Box], bend: Box) -> tuple[float, float]:
    """Return the smallest and the largest x that a bend can have."""
    before, after = row[bend.column - 1 : bend.column], row[bend.column + 1 : bend.column + 2]
    left = max((b.x + b.width / 2 + BESIDE for b in before), default=-math.inf)
    return left, min((b.x - b.width / 2 - BESIDE for b in after), default=math.inf)
