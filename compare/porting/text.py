"""Words and numbers that the terminal and the page share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .result import STAGES, Difference, DiffResult, Explanation, LayerPair

UNEXPLAINED = "None of the known mistakes reproduces these numbers."
NOT_COPIED = "The weights were not copied; `--copy-weights left` copies those of the left model into the right one."


@dataclass(frozen=True)
class Compared:
    """All tensors of a pair of layers that were compared.

    Attributes:
        left, right: the names of the layers; both are "" for tensors of the model, such as the loss.
        kind: the kind of the layers; "" if they are not a pair of the map.
        differences: in the order of computation.
    """

    left: str
    right: str
    kind: str
    differences: tuple[Difference, ...]

    @property
    def worst(self) -> Difference:
        """The tensor with the largest difference relative to its tolerance."""
        return max(self.differences, key=lambda d: d.share)

    @property
    def equal(self) -> bool:
        return all(d.equal for d in self.differences)


def compared(result: DiffResult) -> list[Compared]:
    """Return what was compared, by pair of layers: first those of the map in its order, then the others."""
    groups: dict[tuple[str, str], list[Difference]] = {}
    kinds = {(pair.left or "", pair.right or ""): pair.kind for pair in result.layers}
    for names in kinds:
        groups[names] = []
    for difference in result.differences:
        groups.setdefault((difference.left, difference.right), []).append(difference)
    return [Compared(*names, kinds.get(names, ""), tuple(group)) for names, group in groups.items() if group]


def names(left: str, right: str) -> str:
    """Return the names of two layers as text; one name if both are the same, and "model" if there are none."""
    left, right = printable(left), printable(right)
    return " / ".join(dict.fromkeys(filter(None, (left, right)))) or "model"


def printable(value: str) -> str:
    """Return a text without line breaks and other control characters, which could change a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


def answer(result: DiffResult) -> str:
    """Return the result in one line that begins with "equal" or "different"."""
    if result.equal:
        pairs = sum(pair.left is not None and pair.right is not None for pair in result.layers)
        return f"equal: {pairs:,} pairs of layers, {len(result.differences):,} compared tensors"
    first = result.first
    if first is not None and first.left and first.right:
        return f"different: first at {printable(first.left)} / {printable(first.right)}"
    if first is not None and (first.left or first.right):
        side = "left" if first.left else "right"
        return f"different: first at {printable(first.left or first.right)} ({side}), which has no partner"
    if first is not None:
        return f"different: first at the {printable(first.tensor)}"
    return f"different: {result.stage or STAGES[0]}"


def first_difference(result: DiffResult) -> str:
    """Return a sentence on the first tensor that differs, or on the first stage that does; "" if all are equal."""
    first = result.first
    if first is None:
        return next((printable(s.sentence) for s in result.stages if s.verdict == "different"), "")
    where = f"{printable(first.tensor)} ({', '.join(filter(None, (first.stage, first.dtype, first.mode)))})"
    where = f"{where[:1].upper()}{where[1:]}"
    detail = f"; {printable(first.detail)}" if first.detail else ""
    if first.gap is None:
        return f"{where}: the values cannot be compared{detail}."
    limits = f"the largest difference is {magnitude(first.gap)}, the tolerance {magnitude(first.tolerance)}"
    return f"{where}: {limits}{detail}."


def not_copied(result: DiffResult) -> str:
    """Return a sentence that weights can be copied, if they are the first difference and were not copied; otherwise ""."""
    return NOT_COPIED if result.stage == "weights" and result.request.get("copy_weights") == "none" else ""


def shown_explanations(result: DiffResult) -> list[Explanation]:
    """Return the explanations without those that `not_copied` already tells.

    Those are of layers in which other weights differ too: such a layer has its initial weights.
    """
    if not not_copied(result):
        return list(result.explanations)
    different = Counter((d.left, d.right) for d in result.differences if d.stage == "weights" and not d.equal)
    return [e for e in result.explanations if e.mistake != "weight not copied" or different[e.left, e.right] <= 1]


def largest(result: DiffResult) -> str:
    """Return a sentence on the largest difference of equal models; "" if nothing was compared."""
    if not result.differences:
        return ""
    worst = max(result.differences, key=lambda d: d.share)
    if not worst.gap:
        return "All numbers are identical."
    return (
        f"The largest difference is {share(worst)} of its tolerance:"
        f" {printable(worst.tensor)} of {names(worst.left, worst.right)} in {worst.dtype}."
    )


def map_with(explanation: Explanation) -> list[str]:
    """Return the lines of a map that makes both models equal; empty if the map is not the remedy."""
    lines = [printable(line) for line in explanation.map.splitlines()]
    return ["layers:", *lines] if lines else []


def alone(result: DiffResult) -> list[tuple[str, list[str], list[str]]]:
    """Return the layers without a partner: the side, those with a likely partner in words, and the others."""
    sides = (
        ("left", [p for p in result.layers if p.right is None]),
        ("right", [p for p in result.layers if p.left is None]),
    )
    return [
        (
            side,
            [f"{_title(pair)}; likely partner: {printable(pair.partner)}" for pair in pairs if pair.partner],
            [_title(pair) for pair in pairs if not pair.partner],
        )
        for side, pairs in sides
        if pairs
    ]


def _title(pair: LayerPair) -> str:
    return printable(f"{pair.left or pair.right} ({pair.kind})")


def magnitude(value: float | None) -> str:
    """Return a difference or a tolerance as text."""
    return "no number" if value is None else "0" if value == 0 else f"{value:.1e}"


def share(difference: Difference) -> str:
    """Return a difference relative to its tolerance as text, such as 0.03, 12, 4e+05; "no number" without one."""
    value = difference.share
    if math.isinf(value):
        return "no number" if difference.gap is None else "infinite"
    if 1 < value < 1.05:
        return f"{max(value, 1.01):.2f}"  # not 1, which is still equal
    if 9.95 <= value < 9999.5:
        return f"{value:,.0f}"
    return f"{value:.2g}" if 0.1 <= value < 10 else f"{value:.1g}"


def settings(result: DiffResult) -> Iterable[tuple[str, str]]:
    """Return the options of the request that are set, and what the comparison took, as (name, value) pairs."""
    yield from (
        (name.replace("_", " "), printable(str(value))) for name, value in result.request.items() if value is not None
    )
    if result.weights_file:
        yield "weights written to", printable(result.weights_file)
    yield "time", f"{result.seconds:.1f} s"
    yield "peak memory of both processes", f"{result.peak_mb:,.0f} MB"
