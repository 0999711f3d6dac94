"""A graph with a layout as SVG text, for light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

from .layout import MARGIN, Box, Edge, apart, pull

LINE, PAD = 16, 14  # the height of a line of text and the padding around the text, in pixels

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


def escape(text: str) -> str:
    """Return `text` as XML character data. `xml.sax.saxutils.escape` does the same, but is slow to import."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_svg(rows: list[list[Box]], gaps: list[list[Edge]], long_edges: list[tuple[Box, Box]], description: str) -> str:
    """Return the picture of a graph that `lay_out` arranged; `description` is its title."""
    boxes = [box for row in rows for box in row]
    width = round(max(b.x + b.width / 2 for b in boxes) + MARGIN)
    height = round(max(b.y + b.height for b in boxes) + MARGIN)
    lines, heads = [], []
    for upper, lower, x in ends([*((u, l) for gap in gaps for u, l, _ in gap), *long_edges]):
        top, bottom = upper.y + upper.height, lower.y - (0 if lower.kind == "bend" else 5)
        lines.append(curve(upper.x, top, x, bottom))
        if lower.kind == "bend":
            lines.append(f"V{lower.y + lower.height:.1f}")
        else:
            heads.append(f"M{x - 4:.1f} {bottom - 2:.1f}h8l-4 7z")
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


def curve(x: float, top: float, end: float, bottom: float) -> str:
    """Return the path of an edge from (x, top) to (end, bottom), vertical at both ends."""
    reach = (bottom - top) * 0.55
    return f"M{x:.1f} {top:.1f}C{x:.1f} {top + reach:.1f} {end:.1f} {bottom - reach:.1f} {end:.1f} {bottom:.1f}"


def ends(edges: list[tuple[Box, Box]]) -> Iterator[tuple[Box, Box, float]]:
    """Yield each edge with the x at which it enters its lower box.

    Edges are vertical where possible, and no two edges enter a box at the same x.
    """
    into: dict[Box, list[Box]] = {}
    for upper, lower in edges:
        into.setdefault(lower, []).append(upper)
    for lower, uppers in into.items():
        uppers.sort(key=lambda u: u.x)
        room = max(lower.width / 2 - PAD, 0)
        steps = [min(18.0, 2 * room / len(uppers))] * (len(uppers) - 1)
        wanted = [min(max(u.x, lower.x - room), lower.x + room) for u in uppers]
        weights = [pull(u, lower) for u in uppers]
        yield from zip(uppers, repeat(lower), apart(wanted, weights, steps))


def _group(box: Box) -> str:
    left, radius = box.x - box.width / 2, box.height / 2 if box.kind.startswith("leaf") else 6
    rectangle = f'<rect x="{left:.1f}" y="{box.y:.1f}" width="{box.width}" height="{box.height}" rx="{radius}"/>'
    texts = [
        f'<text class="{style}" x="{box.x:.1f}" y="{box.y + PAD / 2 + LINE * k + 12:.1f}">{escape(line)}</text>'
        for k, (style, line) in enumerate(box.text)
    ]
    return f'<g class="{box.kind}">{rectangle}{"".join(texts)}</g>'
