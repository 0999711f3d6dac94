"""The graph of a recording: a box per tensor, array and number, and an edge per operand, with positions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ..graph.layout import Box, Edge, lay_out
from ..graph.svg import LINE, PAD, curve, ends
from .recording import Recorder

WIDTH = 8.0  # of a character, in pixels


def of(recorder: Recorder) -> dict[str, Any]:
    """Return the boxes and edges of the recorded operations; data flow downwards.

    Returns:
        width and height in pixels; `boxes` with tensor, kind, x and y of the left top corner, width, height and lines of
        text; `edges` with the tensors `from` and `to`, the operand's label, the path as SVG path data, x and y for a label,
        and the backward events along it.
    """
    operands = {event["tensor"]: event["operands"] for event in recorder.events if event["kind"] == "forward"}
    used = {operand["tensor"] for many in operands.values() for operand in many} | set(operands)
    boxes = {k: _box(recorder, k) for k in sorted(used)}
    _set_rows(boxes, {k: [operand["tensor"] for operand in many] for k, many in operands.items()})
    rows, gaps, long_edges = lay_out(boxes, {k: [o["tensor"] for o in operands.get(k, [])] for k in boxes})
    placed = [box for row in rows for box in row]
    tensor_of = {id(box): k for k, box in boxes.items()}
    backward = [(i, event) for i, event in enumerate(recorder.events) if event["kind"] == "backward"]
    edges = []
    for user, many in operands.items():
        for operand, (path, x, y) in zip(many, _paths(boxes[user], many, boxes, gaps, long_edges), strict=True):
            events = [
                i for i, e in backward if e["tensor"] == user and e["operand"] == operand["label"]
                and e["to"] == operand["tensor"]
            ]  # fmt: skip
            edges.append({"from": operand["tensor"], "to": user, "label": operand["label"], "path": path,
                          "x": round(x, 1), "y": round(y, 1), "events": events})  # fmt: skip
    return {
        "width": round(max(b.x + b.width / 2 for b in placed) + PAD),
        "height": round(max(b.y + b.height for b in placed) + PAD),
        "boxes": [
            {"tensor": tensor_of[id(box)], "kind": recorder.entries[tensor_of[id(box)]].kind,
             "x": round(box.x - box.width / 2, 1), "y": round(box.y, 1), "width": round(box.width, 1),
             "height": round(box.height, 1), "lines": [line for _, line in box.text]}
            for box in placed if box.text
        ],
        "edges": edges,
    }  # fmt: skip


def _box(recorder: Recorder, k: int) -> Box:
    entry = recorder.entries[k]
    title = f"{entry.name} = {entry.op}" if entry.op else entry.name
    shape = " x ".join(map(str, entry.value.shape)) if entry.value.ndim else f"{entry.value.item():.4g}"
    text = [("t", title), ("s", shape)]
    width = max(len(line) for _, line in text) * WIDTH + 2 * PAD
    return Box("op" if entry.op else "leaf", 0, text, width, LINE * len(text) + PAD)


def _set_rows(boxes: dict[int, Box], operands: dict[int, list[int]]) -> None:
    """Set the row of each box: the longest distance from the last one, counted from above."""
    height = dict.fromkeys(boxes, 0)
    for user in sorted(operands, reverse=True):  # a result is recorded after its operands
        for operand in operands[user]:
            height[operand] = max(height[operand], height[user] + 1)
    last = max(height.values())
    for k, box in boxes.items():
        box.row = last - height[k]


def _paths(
    box: Box,
    operands: list[dict[str, Any]],
    boxes: dict[int, Box],
    gaps: list[list[Edge]],
    long_edges: list[tuple[Box, Box]],
) -> list[tuple[str, float, float]]:
    """Return per operand of a box the path from the operand's box, and the position of its label."""
    arriving = [(u, l) for gap in gaps for u, l, _ in gap if l is box] + [(u, l) for u, l in long_edges if l is box]
    entries = [(upper, x) for upper, _, x in ends(arriving)]
    paths = []
    for operand in operands:
        source = boxes[operand["tensor"]]
        chains = {id(upper): _chain(upper, gaps) for upper, _ in entries}
        k = next(k for k, (upper, _) in enumerate(entries) if chains[id(upper)][0] is source)
        upper, x = entries.pop(k)
        chain = chains[id(upper)]
        text = ""
        for above, below in pairwise(chain):
            text += _curve(above, below, below.x)
        text += _curve(chain[-1], box, x)
        paths.append((text, (chain[-1].x + x) / 2, (chain[-1].y + chain[-1].height + box.y) / 2))
    return paths


def _chain(box: Box, gaps: list[list[Edge]]) -> list[Box]:
    """Return the boxes of a long edge, from the operand's box through its bends to `box`."""
    chain = [box]
    while chain[0].kind == "bend":
        chain.insert(0, next(u for u, l, _ in gaps[chain[0].row - 1] if l is chain[0]))
    return chain


def _curve(upper: Box, lower: Box, x: float) -> str:
    path = curve(upper.x, upper.y + upper.height, x, lower.y)
    return path + (f"V{lower.y + lower.height:.1f}" if lower.kind == "bend" else "")
