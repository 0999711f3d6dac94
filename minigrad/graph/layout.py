"""Where the boxes of a graph stand: Sugiyama's layout (Sugiyama, Tagawa and Toda, 1981).

Four steps, none of them recursive, so that depth is unlimited:

1. rows: a box stands as far above the last one as the longest way to it;
2. bends: an edge over several rows gets a place in each, shared by all edges
   from the same box, so that a weight used a thousand times is one line;
3. order in a row: each box goes to the mean of its neighbours, row by row,
   down and up again, and the order with the fewest crossings is kept;
4. places: those nearest to the neighbours' at which no two boxes touch.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

MAX_BENDS = 20_000  # beyond them the longest edges go straight
SWEEPS = 8
MARGIN, BESIDE, BETWEEN = 20, 26, 32  # pixels


@dataclass(eq=False)
class Box:
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
Edge = tuple[Box, Box, float]


def lay_out(
    boxes: dict[int, Box], operands: dict[int, list[int]]
) -> tuple[list[list[Box]], list[list[Edge]], list[tuple[Box, Box]]]:
    """Give every box its place.

    Args:
        boxes: by key, each with its row, width and height.
        operands: by key, the keys of those from which edges come, first operand first.

    Returns:
        the rows, bends included; the edges between each row and the next; and
        the edges that are too far for bends.
    """
    last = max(box.row for box in boxes.values())
    gaps, far = _connect(operands, boxes, last)
    rows: list[list[Box]] = [[] for _ in range(last + 1)]
    for box in [*boxes.values(), *(lower for gap in gaps for _, lower, _ in gap if lower.kind == "bend")]:
        rows[box.row].append(box)
    _arrange(rows, gaps)
    _place(rows, gaps)
    return rows, gaps, far


def _connect(
    operands: dict[int, list[int]], boxes: dict[int, Box], last: int
) -> tuple[list[list[Edge]], list[tuple[Box, Box]]]:
    """The edges between each row and the next, with bends made where one is longer, and those too far for bends."""
    users: dict[int, list[tuple[int, float]]] = {i: [] for i in boxes}
    for i, above in operands.items():
        for k, operand in enumerate(above):
            users[operand].append((i, (k + 1) / (len(above) + 1)))
    reach = {i: max((boxes[user].row for user, _ in to), default=0) - boxes[i].row for i, to in users.items()}
    gaps: list[list[Edge]] = [[] for _ in range(last)]
    far: list[tuple[Box, Box]] = []
    bends = 0
    for i in sorted(users, key=lambda i: reach[i]):  # the longest last
        way = {boxes[i].row: boxes[i]}
        bends += max(reach[i] - 1, 0)
        if bends <= MAX_BENDS:
            for row in range(boxes[i].row + 1, boxes[i].row + reach[i]):
                way[row] = Box("bend", row)
                gaps[row - 1].append((way[row - 1], way[row], 0.5))
        for user, port in users[i]:
            box = boxes[user]
            start = way.get(box.row - 1)
            if start:
                gaps[box.row - 1].append((start, box, port))
            else:
                far.append((boxes[i], box))
    return gaps, far


def _arrange(rows: list[list[Box]], gaps: list[list[Edge]]) -> None:
    """Order each row so that few edges cross."""
    for row in rows:
        _number(row)
    best, kept = _crossings(gaps), [list(row) for row in rows]
    for sweep in range(SWEEPS):
        if not best:
            break
        down = sweep % 2 == 1
        for r in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            seen: dict[Box, list[float]] = {}
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


def _number(row: list[Box]) -> None:
    for column, box in enumerate(row):
        box.column = column


def _crossings(gaps: list[list[Edge]]) -> int:
    """How many pairs of edges cross: those whose ends are the other way round than their starts."""
    total = 0
    for gap in gaps:
        ends: list[int] = []
        for _, end in sorted((upper.column, lower.column) for upper, lower, _ in gap):
            total += len(ends) - bisect_right(ends, end)
            insort(ends, end)
    return total


def pull(upper: Box, lower: Box) -> float:
    """How strongly an edge wants to be straight: long ones most, those of leaves hardly."""
    if upper.kind == "leaf":
        return 0.001
    return 8.0 if upper.kind == lower.kind == "bend" else 1.0


def _place(rows: list[list[Box]], gaps: list[list[Edge]]) -> None:
    """Give each box its x and y."""
    for row in rows:
        _spread(row, [0.0] * len(row), [1.0] * len(row))
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0  # up at the end, so that leaves stand above their users
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


def _spread(row: list[Box], wanted: list[float], weights: list[float]) -> None:
    """Put the boxes of `row` as near to `wanted` as they can be without touching."""
    steps = [(a.width + b.width) / 2 + BESIDE for a, b in pairwise(row)]
    for box, x in zip(row, apart(wanted, weights, steps), strict=True):
        box.x = x


def apart(wanted: list[float], weights: list[float], steps: list[float]) -> list[float]:
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


def _straighten(rows: list[list[Box]], gaps: list[list[Edge]]) -> None:
    """Make the bends of a long edge one vertical line, for as far down as there is room."""
    following = {upper: lower for gap in gaps for upper, lower, _ in gap if upper.kind == lower.kind == "bend"}
    for box in [b for row in rows for b in row if b.kind == "bend"]:
        if box not in following:
            continue
        run: list[Box] = []
        low, high = -math.inf, math.inf  # where all of the run could be
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
    """How far left and right a bend could be."""
    before, after = row[bend.column - 1 : bend.column], row[bend.column + 1 : bend.column + 2]
    left = max((b.x + b.width / 2 + BESIDE for b in before), default=-math.inf)
    return left, min((b.x - b.width / 2 - BESIDE for b in after), default=math.inf)
