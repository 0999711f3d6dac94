"""Record what the engine does: each operation, each pullback, and the arrays that they use.

A `Recorder` observes the engine while it is active, and costs nothing
otherwise. It copies every array, because a training step changes some of
them.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..modes import Observer, observe
from ..tape import Edge, Node, unbroadcast
from .sources import Sources

PACKAGE = Path(__file__).parents[1]
# Files of the engine, between an operation and the line that a reader would call its caller.
ENGINE = ("operation.py", "modes.py", "tensor.py", "in_place.py", "functional.py", "ops/", "nn/", "study/recording.py")


@dataclass
class Entry:
    """A tensor, an array or a number that was recorded.

    Attributes:
        kind: "input", "label", "constant", "parameter" or "result".
        value: a copy of the array.
        op: the operation that computed a result.
        name: a name for people.
        symbol: the name in formulas, in LaTeX.
        gradient: a copy of d(loss)/d(value), once it is complete.
        check: finite differences of the loss: the flat indices of the elements, or None for all, and the estimates.
    """

    kind: str
    value: np.ndarray
    op: str | None = None
    name: str = ""
    symbol: str = ""
    gradient: np.ndarray | None = None
    check: tuple[np.ndarray | None, np.ndarray] | None = None


@dataclass
class Recorder(Observer):
    """The entries and events of everything that happens inside `with recorder.active():`.

    Attributes:
        entries: see `Entry`, in the order of their first use.
        events: one dict per event; see `page.py`.
        sources: the source code of the rules.
        keep: the objects behind the entries, so that no id is used twice.
    """

    entries: list[Entry] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    sources: Sources = field(default_factory=Sources)
    keep: list[Any] = field(default_factory=list)
    _index: dict[int, int] = field(default_factory=dict)
    _rules: dict[int, Callable[..., Any]] = field(default_factory=dict)
    _returned: np.ndarray | None = None

    def active(self) -> Any:
        """Return a context in which this recorder observes the engine."""
        return observe(self)

    def add(self, x: Any, kind: str, name: str = "", symbol: str = "") -> int:
        """Return the index of the entry of `x`, which is added if it is new; a number is always new."""
        if isinstance(x, (Node, np.ndarray)) and id(x) in self._index:
            return self._index[id(x)]
        self.keep.append(x)
        self._index[id(x)] = len(self.entries)
        value = np.array(x.data if isinstance(x, Node) else x)
        self.entries.append(Entry(kind, value, name=name, symbol=symbol))
        return len(self.entries) - 1

    def index(self, x: Any) -> int:
        """Return the index of the entry of a tensor or an array that was recorded."""
        return self._index[id(x)]

    # The engine calls these.

    def recorded(
        self, node: Node, rule: Callable[..., Any], operands: Mapping[str | int, Any], options: Mapping[str, Any]
    ) -> None:
        used = [{"label": str(label), "tensor": self._operand(x)} for label, x in operands.items() if x is not None]
        arrays = dict(_arrays(options))
        used += [{"label": name, "tensor": self.add(x, "constant", name)} for name, x in arrays.items()]
        k = self.add(node, "result", node._op)
        self.entries[k].op = node._op
        self._rules[k] = rule
        source, lines = self.sources.value(rule)
        plain = {name: _plain(x) for name, x in options.items() if not isinstance(x, (tuple, np.ndarray))}
        self.events.append(
            {"kind": "forward", "tensor": k, "op": node._op, "operands": used, "options": plain, "source": source,
             "lines": lines, "caller": _caller()}
        )  # fmt: skip

    def pulled_back(self, node: Node, edge: Edge, incoming: np.ndarray, returned: Any) -> None:
        if not any(event["kind"] in ("start", "backward") for event in self.events):
            self.start(node, incoming)
        self.entries[self.index(node)].gradient = incoming.copy()
        self._returned = np.array(returned)

    def added(self, node: Node, edge: Edge, total: np.ndarray) -> None:
        operand, pullback, label = edge
        assert self._returned is not None
        self.step_back(node, operand, str(label), pullback, self._returned, total)

    # The events that the engine has no hook for.

    def start(self, root: Node, gradient: np.ndarray) -> None:
        """Record the gradient at which the backward pass starts."""
        self.events.append({"kind": "start", "tensor": self.index(root), "gradient": np.array(gradient)})

    def step_back(
        self, node: Node, operand: Node, label: str, pullback: Any, returned: np.ndarray, total: np.ndarray
    ) -> None:
        """Record one call of a pullback, and the sum of the gradients of its operand so far."""
        k, j = self.index(node), self.index(operand)
        source, lines = self.sources.pullback(self._rules[k], pullback)
        earlier = [event for event in self.events if event["kind"] == "backward" and event["to"] == j]
        self.entries[j].gradient = np.array(total)
        shape = operand.data.shape
        self.events.append(
            {"kind": "backward", "tensor": k, "op": node._op, "operand": label, "to": j,
             "incoming": self.entries[k].gradient, "returned": np.broadcast_to(unbroadcast(returned, shape), shape).copy(),
             "returned_shape": list(returned.shape), "total": np.array(total), "nth": len(earlier) + 1,
             "unbroadcast": returned.shape != shape, "source": source, "lines": lines}
        )  # fmt: skip

    def note(self, text: str) -> None:
        """Record a sentence."""
        self.events.append({"kind": "note", "text": text})

    def _operand(self, x: Any) -> int:
        if isinstance(x, Node):
            return self.add(x, "parameter" if x.requires_grad else "constant")
        return self.add(x, "constant")


def depth_first(root: Node, recorder: Recorder) -> None:
    """Visit the graph of `root` depth first, which is wrong, and record the wrong gradients.

    Each visit passes on the sum of the gradients that have arrived so far,
    although others may arrive later.
    """
    totals = {root: np.ones_like(root.data)}
    recorder.start(root, totals[root])

    def visit(node: Node) -> None:
        for operand, pullback, label in node._edges:
            returned = np.asarray(pullback(totals[node]))
            p = unbroadcast(returned, operand.data.shape)
            totals[operand] = totals[operand] + p if operand in totals else p
            # The gradient that was passed on, not the one that has arrived since then.
            recorder.entries[recorder.index(node)].gradient = np.array(totals[node])
            recorder.step_back(node, operand, str(label), pullback, returned, totals[operand])
            visit(operand)

    visit(root)


def _arrays(options: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays among the options, such as labels, also those in a tuple, such as an index."""
    for name, x in options.items():
        if isinstance(x, np.ndarray):
            yield name, x
        elif isinstance(x, tuple):
            yield from ((f"{name}[{i}]", part) for i, part in enumerate(x) if isinstance(part, np.ndarray))


def _plain(x: Any) -> Any:
    return x if isinstance(x, (bool, int, float, str, type(None))) else repr(x)


def _caller() -> dict[str, Any]:
    """Return file, line and text of the nearest caller outside the engine."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        path = Path(frame.f_code.co_filename)
        inside = path.is_relative_to(PACKAGE)
        if not (inside and path.relative_to(PACKAGE).as_posix().startswith(ENGINE)):
            break
        frame = frame.f_back
    line = linecache.getline(str(path), frame.f_lineno).strip()
    name = path.relative_to(PACKAGE.parent).as_posix() if inside else path.name
    return {"file": name, "line": frame.f_lineno, "text": line}
