"""The check of 04 backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .... import first
from .core import Case, Mistake, Outputs, Part

# Rules of the graphs, each with one that returns g itself, as in exercise 05.
RULES: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: (a + b, lambda g: g, lambda g: g),
    "*": lambda a, b: (a * b, lambda g: g * b, lambda g: g * a),
    "sum": lambda a: (a.sum(), lambda g: np.full_like(a, g)),
}
Graph = list[tuple[str, str, tuple[str, ...]]]  # the name of each new node, its rule, and the names of its operands


class Described:
    """A graph, with the expression that is shown."""

    def __init__(self, graph: Graph, text: str = "") -> None:
        self.graph = graph
        self.text = text or ", ".join(
            f"{name} = {f' {rule} '.join(operands) if len(operands) > 1 else f'{rule}({operands[0]})'}"
            for name, rule, operands in graph
        )

    def __str__(self) -> str:
        return self.text


def call_backward(module: Any, graph: Described, calls: int = 1, **leaves: np.ndarray) -> Outputs:
    """Build the graph from the leaves, call backward on its last node, and return all gradients."""
    operations = {name: module.operation(rule) for name, rule in RULES.items()}
    nodes = {name: module.Node(value) for name, value in leaves.items()}
    unused = module.Node(1.0)
    for name, rule, operands in graph.graph:
        nodes[name] = operations[rule](*(nodes[operand] for operand in operands))
    for _ in range(calls):  # a second call replaces the gradients
        module.backward(nodes[graph.graph[-1][0]])
    shown = nodes if len(nodes) < 20 else dict.fromkeys(leaves)
    gradients = {f"{name}.grad": nodes[name].grad for name in reversed(shown)}
    return gradients | {"The grad of a node that the root does not depend on": unused.grad}


def graph_cases(rng: np.random.Generator) -> Iterator[Case]:
    two = np.array(2.0)
    graphs: list[tuple[Graph, dict[str, np.ndarray]]] = [
        ([("y", "*", ("a", "b"))], {"a": two, "b": np.array(5.0)}),
        ([("y", "+", ("a", "a"))], {"a": two}),
        ([("b", "*", ("a", "a")), ("y", "*", ("b", "a"))], {"a": two}),
        ([("b", "+", ("a", "a")), ("c", "+", ("b", "b"))], {"a": np.array(1.0)}),
        ([("c", "+", ("a", "b")), ("d", "+", ("c", "b")), ("y", "*", ("d", "c"))], {"a": two, "b": np.array(3.0)}),
        (
            [("c", "*", ("a", "b")), ("d", "+", ("c", "a")), ("e", "*", ("d", "c")), ("y", "sum", ("e",))],
            {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=(2, 3))},
        ),
    ]
    for graph, leaves in graphs:
        yield Case({"graph": Described(graph)} | leaves)
    yield Case({"graph": Described(graphs[0][0]), "calls": 2} | graphs[0][1])
    names = [f"x{i}" for i in range(3001)]
    long: Graph = [(new, "+", (old, "b")) for old, new in zip(["a", *names], names, strict=False)]
    yield Case(
        {"graph": Described(long, "a + b + b + b + ..., 3001 times"), "a": two, "b": np.array(1.0)}, replay=False
    )
    deep: Graph = [(new, "+", (old, old)) for old, new in zip(["a", *names[:59]], names[:60], strict=True)]
    text = "x0 = a + a, x1 = x0 + x0, ..., x59: 2^60 paths lead from x59 to a, but there are only 61 nodes"
    yield Case({"graph": Described(deep, text), "a": two}, replay=False)


def right(root: Any) -> None:
    first.backward(root)


def overwriting(root: Any) -> None:
    """Replace the gradient of an operand that is used twice."""
    waiting = {root: np.ones_like(root.value)}
    while waiting:
        node = max(waiting, key=lambda node: node.order)
        node.grad = g = waiting.pop(node)
        waiting |= {operand: pullback(g) for operand, pullback in node.edges}


def depth_first(root: Any) -> None:
    """Pass the sum so far on whenever a gradient arrives."""
    grads: dict[Any, Any] = {}

    def visit(node: Any, g: Any) -> None:
        node.grad = grads[node] = grads.get(node, 0) + g
        for operand, pullback in node.edges:
            visit(operand, pullback(node.grad))

    visit(root, np.ones_like(root.value))


def once_depth_first(root: Any) -> None:
    """Visit each node once, when the first gradient arrives."""
    grads: dict[Any, Any] = {root: np.ones_like(root.value)}
    seen = set()

    def visit(node: Any) -> None:
        seen.add(node)
        for operand, pullback in node.edges:
            grads[operand] = grads.get(operand, 0) + pullback(grads[node])
        for operand, _ in node.edges:
            if operand not in seen:
                visit(operand)

    visit(root)
    for node, g in grads.items():
        node.grad = g


def queue(root: Any) -> None:
    """Visit the nodes in the order in which they were reached, as often as they were reached."""
    grads: dict[Any, Any] = {root: np.ones_like(root.value)}
    waiting = [root]
    while waiting:
        node = waiting.pop(0)
        node.grad = grads[node]
        for operand, pullback in node.edges:
            grads[operand] = grads.get(operand, 0) + pullback(grads[node])
            waiting.append(operand)
    for node, g in grads.items():
        node.grad = g


def oldest_first(root: Any) -> None:
    waiting = {root: np.ones_like(root.value)}
    while waiting:
        node = min(waiting, key=lambda node: node.order)
        node.grad = g = waiting.pop(node)
        for operand, pullback in node.edges:
            p = pullback(g)
            waiting[operand] = waiting[operand] + p if operand in waiting else p


def in_place(root: Any) -> None:
    waiting = {root: np.ones_like(root.value)}
    while waiting:
        node = max(waiting, key=lambda node: node.order)
        node.grad = g = waiting.pop(node)
        for operand, pullback in node.edges:
            if operand in waiting:
                waiting[operand] += pullback(g)
            else:
                waiting[operand] = pullback(g)


def twice(root: Any) -> None:
    """Add to the gradients of the first call."""
    first.backward(root)
    for node in _nodes(root):
        node.total = getattr(node, "total", 0) + node.grad
        node.grad = node.total


def from_value(root: Any) -> None:
    """Start with the value of the root."""
    first.backward(root)
    for node in _nodes(root):
        node.grad = node.grad * root.value


def _nodes(root: Any) -> set[Any]:
    nodes, waiting = {root}, [root]
    while waiting:
        new = {operand for operand, _ in waiting.pop().edges} - nodes
        nodes |= new
        waiting += new
    return nodes


ORDER = (
    "A node passes its gradient on before all contributions have arrived."
    " Visit the newest of the waiting nodes: max(..., key=lambda node: node.order)."
)
MISTAKES = [
    (overwriting, "A contribution replaces an earlier one. If a node is used several times, add them."),
    (depth_first, ORDER),
    (once_depth_first, ORDER),
    (queue, ORDER),
    (oldest_first, "The oldest node is visited first. Visit the newest one: max instead of min."),
    (in_place, "+= has changed an array that two nodes share, since some pullbacks return g itself. Add with a + b."),
    (twice, "The gradients of an earlier call of backward are added. Replace them: node.grad = ..."),
    (from_value, "The gradient of the root is 1, and not its value: np.ones_like(root.value)."),
]


def _module(backward: Callable[[Any], None]) -> SimpleNamespace:
    return SimpleNamespace(Node=first.Node, operation=first.operation, backward=backward)


BACKWARD = (
    Part(
        ("backward", "Node", "operation"),
        call_backward,
        _module(right),
        graph_cases,
        [Mistake(_module(wrong), hint) for wrong, hint in MISTAKES],
        {"RecursionError": "A graph may have thousands of nodes in a row. Use a loop instead of recursion."},
    ),
)
