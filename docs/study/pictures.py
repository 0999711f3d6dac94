"""Draws the pictures of the guide: `python docs/study/pictures.py` writes them into docs/study/pictures/.

Each picture is SVG text that depends only on the numbers that it shows, so a
test can compare the committed files with what this script makes. They have
colours for light and for dark pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigrad import Tensor, nn, ops, optim
from minigrad.first import Node, add, backward
from minigrad.graph import draw

FOLDER = Path(__file__).parent / "pictures"
STYLE = """
.study text{font:13px system-ui,sans-serif;fill:#1b2138}.study .m{text-anchor:middle}.study .r{text-anchor:end}
.study .small{font-size:12px;fill:#525c72}.study .title{font-weight:600}
.study .paper{fill:#fff}.study .axis{stroke:#a3adbd;fill:none}.study .line{fill:none;stroke-width:2}
.study .box{fill:#eef1ff;stroke:#6473e8}.study .copy{fill:#fff6e3;stroke:#dc9a2c;stroke-dasharray:4 3}
.study .faint{fill:none;stroke:#dfe4ec}.study .dash{stroke-dasharray:6 4}
.study .c1{stroke:#4456d6}.study .c2{stroke:#b85c00}.study .c3{stroke:#0b7261}
.study .f1{fill:#4456d6}.study .f2{fill:#b85c00}.study .f3{fill:#0b7261}
@media (prefers-color-scheme:dark){
.study text{fill:#eef1fa}.study .small{fill:#aab4c8}
.study .paper{fill:#10141c}.study .axis{stroke:#5d6980}
.study .box{fill:#1d2547;stroke:#7d8cff}.study .copy{fill:#33270f;stroke:#e0a443}.study .faint{stroke:#2a3240}
.study .c1{stroke:#8f9dff}.study .c2{stroke:#f0a95a}.study .c3{stroke:#5fdcc4}
.study .f1{fill:#8f9dff}.study .f2{fill:#f0a95a}.study .f3{fill:#5fdcc4}}
"""
Point = tuple[float, float]


# Elements of SVG.


def picture(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """Return a picture with a background; `title` says what it shows."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="study" role="img" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{width}" height="{height}" rx="10"/>',
            *parts,
            "</svg>\n",
        ]
    )


def text(x: float, y: float, content: str, style: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{content}</text>'


def polyline(points: Iterable[Point], style: str) -> str:
    return f'<polyline class="{style}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3"/>'


def dot(point: Point, style: str, radius: float = 3.5) -> str:
    return f'<circle class="{style}" cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="{radius}"/>'


def arrow(start: Point, end: Point, style: str) -> list[str]:
    """Return a downward line with a head."""
    (x, y), (u, v) = start, end
    head = f'<path class="{style.replace("c", "f")}" d="M{u - 4:.1f} {v - 7:.1f}h8l-4 7z"/>'
    return [polyline([(x, y), (u, v - 7)], f"line {style}"), head]


class Axes(NamedTuple):
    """Maps numbers to pixels: the ranges x and y to the rectangle from (left, top) to (right, bottom)."""

    x: Point
    y: Point
    left: float
    top: float
    right: float
    bottom: float

    def at(self, x: float, y: float) -> Point:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def curve(self, xs: Iterable[float], f: Callable[[float], float], style: str) -> str:
        return polyline([self.at(x, f(x)) for x in xs], style)

    def frame(self, xs: dict[float, str], ys: dict[float, str], x_name: str, y_name: str) -> list[str]:
        """Return the two axes with the given labels and their names."""
        corner = [(self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)]
        return [
            polyline(corner, "axis"),
            *(text(self.at(x, 0)[0], self.bottom + 18, label, "small m") for x, label in xs.items()),
            *(text(self.left - 8, self.at(0, y)[1] + 4, label, "small r") for y, label in ys.items()),
            text((self.left + self.right) / 2, self.bottom + 38, x_name, "m"),
            text(self.left - 8, self.top - 12, y_name),
        ]


# The pictures, in the order of the chapters.


def slope() -> str:
    """A curve, its tangent at a point, and two secants through that point."""
    axes = Axes((0, 2.2), (0, 4.6), 50, 50, 420, 330)
    parts = axes.frame({k: str(k) for k in (0, 1, 2)}, {k: str(k) for k in range(5)}, "x", "f(x) = x²")
    parts.append(axes.curve(np.linspace(0, 2.14, 60).tolist(), lambda x: x * x, "line axis"))
    for h, style in ((1.0, "c2"), (0.5, "c3")):
        rise = (1 + h) ** 2 - 1
        ends = [axes.at(x, 1 + rise / h * (x - 1)) for x in (0.75, 2.15)]
        parts.append(polyline(ends, f"line dash {style}"))
        parts.append(dot(axes.at(1 + h, 1 + rise), style.replace("c", "f")))
        x, y = 450, 100 if h == 1 else 150
        parts += [polyline([(x, y), (x + 30, y)], f"line dash {style}")]
        parts += [
            text(x + 40, y - 2, f"secant, h = {h:g}"),
            text(x + 40, y + 16, f"slope {rise:g} / {h:g} = {rise / h:g}"),
        ]
    parts.append(axes.curve((0.55, 2.15), lambda x: 1 + 2 * (x - 1), "line c1"))
    parts += [
        polyline([(450, 200), (480, 200)], "line c1"),
        text(490, 198, "tangent at x = 1"),
        text(490, 216, "slope 2"),
    ]
    parts += [polyline([(450, 56), (480, 56)], "line axis"), text(490, 60, "f(x) = x²"), dot(axes.at(1, 1), "f1", 4.5)]
    return picture(640, 390, "The slope of a secant approaches the slope of the tangent", parts)


def chain() -> str:
    """The graph of (w x + b - 5)^2 with the gradient of each value."""
    w, x, b = (Tensor(np.array(v), requires_grad=True) for v in (3.0, 2.0, 1.0))
    z = w * x
    y = z + b
    r = y - 5.0
    loss = ops.square(r)
    for result in (z, y, r, loss):
        result.retain_grad()
    loss.backward(retain_graph=True)
    return draw(loss, {"w": w, "x": x, "b": b, "z": z, "y": y, "r": r, "loss": loss}).svg


def deliveries(order: str) -> list[tuple[str, str, float]]:
    """Return who sends which gradient to whom, in b = a + a, c = b + b, for one order of visits."""
    a = Node(3.0)
    b = add(a, a)
    c = add(b, b)
    names, sent = {a: "a", b: "b", c: "c"}, list[tuple[str, str, float]]()
    if order == "newest first":
        for node in (c, b):
            node.edges = [(x, _recorded(names[node], names[x], p, sent)) for x, p in node.edges]
        backward(c)
        return sent
    gradients: dict[Node, float] = {}

    def visit(node: Node, g: float) -> None:
        gradients[node] = gradients.get(node, 0.0) + g
        for operand, pullback in node.edges:
            p = float(pullback(gradients[node]))
            sent.append((names[node], names[operand], p))
            visit(operand, p)

    visit(c, 1.0)
    return sent


def _recorded(
    source: str, to: str, pullback: Callable[[np.ndarray], np.ndarray], sent: list[tuple[str, str, float]]
) -> Callable[[np.ndarray], np.ndarray]:
    def record(g: np.ndarray) -> np.ndarray:
        p = pullback(g)
        sent.append((source, to, float(p)))
        return p

    return record


def reuse() -> str:
    """The two orders of visits in b = a + a, c = b + b, with each gradient that is passed on."""
    parts: list[str] = []
    tops = {"c": 50, "b": 170, "a": 290}
    formulas = {"c": "c = b + b", "b": "b = a + a", "a": "a"}
    for left, order, title in (
        (0, "newest first", "newest node first: right"),
        (340, "depth first", "depth first: wrong"),
    ):
        middle, sent = left + 170, deliveries(order)
        parts.append(text(middle, 34, title, "title m"))
        for source, to in (("c", "b"), ("b", "a")):
            own = [(k, g) for k, (s, t, g) in enumerate(sent, 1) if (s, t) == (source, to)]
            reach = 20 * (len(own) - 1)
            for (k, g), x in zip(own, np.linspace(middle - reach, middle + reach, len(own)).tolist(), strict=True):
                early = order == "depth first" and k in (2, 3)
                parts += arrow((x, tops[source] + 48), (x, tops[to] - 3), "c2" if early else "c1")
                parts.append(text(x + 6, tops[source] + 84, f"{k}: {g:g}", "small"))
        for name, top in tops.items():
            total = 1.0 if name == "c" else sum(g for _, t, g in sent if t == name)
            parts.append(rectangle(middle - 85, top, 170, 46, "box"))
            parts += [
                text(middle, top + 19, formulas[name], "m"),
                text(middle, top + 37, f"gradient {total:g}", "small m"),
            ]
    parts.append(
        text(
            20,
            368,
            "An arrow is a call of a pullback: its number in the order of calls, and what it returned.",
            "small",
        )
    )
    parts.append(text(20, 386, "Orange: called before the gradient of b was complete.", "small"))
    return picture(680, 402, "The gradients that reach b and a in two orders of visits", parts)


def broadcasting() -> str:
    """A row of biases that is copied to two rows, and the gradient of the copies that is summed to one row."""
    x, b, g = np.array([[1, 2, 3], [4, 5, 6]]), np.array([10, 20, 30]), np.array([[1, 0, 2], [3, 1, 1]])
    parts = [text(30, 40, "forward: b is copied to each row, then added", "title")]
    parts += _cells(30, 60, x, "box", "x") + _sign(175, 104, "+")
    parts += (
        _cells(205, 60, np.stack([b, b]), "box", "b", copies=1)
        + _sign(350, 104, "=")
        + _cells(380, 60, x + b, "box", "y")
    )
    parts += [text(30, 200, "backward: the gradients of the copies are summed", "title")]
    parts += _cells(30, 220, g, "box", "gradient of y") + _sign(175, 264, "→")
    parts += _cells(205, 220, g, "copy", "gradient of each copy") + _sign(350, 264, "→")
    parts += _cells(380, 242, g.sum(axis=0)[None], "box", "gradient of b")
    return picture(540, 350, "Broadcasting copies a row; its pullback sums over the copies", parts)


def _sign(x: float, y: float, sign: str) -> list[str]:
    return [text(x, y + 4, sign, "title m")]


def _cells(x: float, y: float, values: np.ndarray, style: str, name: str, copies: int = 0) -> list[str]:
    """Return a table of numbers with its name below; the last `copies` rows are drawn as copies."""
    rows, columns = values.shape
    parts = []
    for i in range(rows):
        for j in range(columns):
            own = "copy" if i >= rows - copies else style
            parts.append(rectangle(x + 42 * j, y + 44 * i, 38, 38, own))
            parts.append(text(x + 42 * j + 19, y + 44 * i + 24, f"{values[i, j]:g}", "m"))
    return [*parts, text(x + 21 * columns - 2, y + 44 * rows + 16, name, "small m")]


def network() -> str:
    """The recorded graph of one loss of the network 784-10-10."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(784, 10, rng=rng), nn.ReLU(), nn.Linear(10, 10, rng=rng))
    loss = ops.cross_entropy(net(np.zeros((128, 784), np.float32)), np.zeros(128, np.int64))
    return draw(loss, dict(net.named_parameters())).svg


def softmax() -> str:
    """From logits to probabilities to the gradient, as bars."""
    z = np.array([2.0, 1.0, 0.0])
    e = np.exp(z)
    p = e / e.sum()
    panels = [
        ("logits z", z, 8, ".3g"),
        ("e^z", e, 8, ".3g"),
        ("p = e^z / sum", p, 1, ".3f"),
        ("gradient p - onehot(1)", p - [0, 1, 0], 1, ".3f"),
    ]
    parts: list[str] = []
    for k, (title, values, full, digits) in enumerate(panels):
        left, zero, height = 20 + 180 * k, 150, 100
        parts += [text(left + 75, 30, title, "title m"), polyline([(left, zero), (left + 150, zero)], "axis")]
        for j, v in enumerate(values.tolist()):
            tall, x = abs(v) / full * height, left + 10 + 48 * j
            parts.append(rectangle(x, zero - tall if v > 0 else zero, 34, tall, "f2" if v < 0 else "f1"))
            parts.append(text(x + 17, zero - tall - 6 if v >= 0 else zero + tall + 16, f"{v:{digits}}", "m"))
            parts.append(text(x + 17, zero + 18 if v >= 0 else zero - 6, f"class {j}", "small m"))
    return picture(740, 245, "Softmax turns logits into probabilities; the gradient is p minus 1 at the label", parts)


def path_of(optimizer: Callable[[Tensor], optim.Optimizer], steps: int) -> np.ndarray:
    """Return the points that an optimizer visits on loss = (x^2 + 10 y^2) / 2, from (-4, 1.5)."""
    w = Tensor(np.array([-4.0, 1.5]), requires_grad=True)
    rule, points = optimizer(w), [w.data.copy()]
    for _ in range(steps):
        rule.zero_grad()
        ((w * w) * np.array([0.5, 5.0])).sum().backward()
        rule.step()
        points.append(w.data.copy())
    return np.array(points)


def learning_rate() -> str:
    """The paths of SGD with three learning rates, and with momentum, on one loss surface."""
    panels: list[tuple[str, Callable[[Tensor], optim.Optimizer], int]] = [
        ("lr = 0.02: slow", lambda w: optim.SGD([w], lr=0.02), 20),
        ("lr = 0.18: zigzag", lambda w: optim.SGD([w], lr=0.18), 20),
        ("lr = 0.21: diverges", lambda w: optim.SGD([w], lr=0.21), 6),
        ("lr = 0.02, momentum 0.8", lambda w: optim.SGD([w], lr=0.02, momentum=0.8), 20),
    ]
    parts: list[str] = []
    angles = np.linspace(0, 2 * np.pi, 73).tolist()
    for k, (title, optimizer, steps) in enumerate(panels):
        left, top = 20 + 330 * (k % 2), 50 + 220 * (k // 2)
        axes = Axes((-4.6, 4.6), (-2.9, 2.9), left, top, left + 310, top + 170)
        parts.append(text(left + 155, top - 14, title, "title m"))
        for level in (0.5, 2.0, 5.0, 10.0):  # (x^2 + 10 y^2) / 2 = level
            across, up = (2 * level) ** 0.5, (level / 5) ** 0.5
            ring = [(across * np.cos(t), up * np.sin(t)) for t in angles]
            parts.append(polyline([axes.at(x, y) for x, y in ring], "faint"))
        points = [axes.at(x, y) for x, y in path_of(optimizer, steps).tolist()]
        parts += [polyline(points, "line c1"), *(dot(point, "f1", 2.2) for point in points)]
        parts += [dot(points[0], "f2", 4.5), dot(axes.at(0, 0), "f3", 4.5)]
    parts += [dot((30, 492), "f2", 4.5), text(42, 496, "start", "small"), dot((100, 492), "f3", 4.5)]
    parts.append(
        text(112, 496, "minimum; a ring joins points of equal loss; 20 steps, or 6 where it diverges", "small")
    )
    return picture(680, 515, "The paths of gradient descent with three learning rates, and with momentum", parts)


def error_of(h: float, dtype: type[np.floating]) -> float:
    """Return |(f(1 + h) - f(1 - h)) / 2h - 3| for f(x) = x^3, computed in `dtype`."""
    one, step = dtype(1), dtype(h)
    up, down = one + step, one - step
    return abs(float((up * up * up - down * down * down) / (step + step)) - 3.0)


def float32() -> str:
    """The error of a central difference against its step, in float32 and float64."""
    axes = Axes((-12, 0), (-12, 1), 90, 50, 430, 340)
    ticks = {k: f"1e{k}" if k else "1" for k in range(-12, 1, 2)}
    parts = axes.frame({float(k): v for k, v in ticks.items()}, {}, "step h", "error of the derivative of x³ at 1")
    parts += [text(82, axes.at(0, k)[1] + 4, label, "small r") for k, label in ticks.items()]
    exponents = np.arange(-12, 0.01, 0.25).tolist()
    for dtype, style, y, name in ((np.float32, "c2", 100, "float32"), (np.float64, "c1", 150, "float64")):
        errors = [(k, max(error_of(10.0**k, dtype), 1e-12)) for k in exponents]
        parts.append(polyline([axes.at(k, float(np.log10(e))) for k, e in errors], f"line {style}"))
        parts += [polyline([(455, y), (485, y)], f"line {style}"), text(495, y + 4, name)]
    return picture(590, 400, "The error of a finite difference grows for a step that is too large or too small", parts)


PICTURES: Sequence[Callable[[], str]] = (
    slope, chain, reuse, broadcasting, network, softmax, learning_rate, float32,
)  # fmt: skip


def main() -> None:
    """Write each picture to FOLDER as NAME.svg."""
    FOLDER.mkdir(exist_ok=True)
    for make in PICTURES:
        (FOLDER / f"{make.__name__}.svg").write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
