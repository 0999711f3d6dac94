"""The report of a comparison of two models: text for the terminal, and the files diff.json and diff.html."""

from __future__ import annotations

from pathlib import Path

from minigrad.runs import write_json

from . import text
from .result import DiffResult
from .text import Compared, printable

ROWS = 12  # of the table of layers, at most
FEW = 5  # explanations and layers without a partner that the terminal shows
WIDTH = 44  # characters of a pair of names in the table


def write(result: DiffResult, folder: Path) -> None:
    """Write diff.json and diff.html, each one completely or not at all.

    Args:
        result: the comparison.
        folder: where to write them. It is created if it does not exist.
    """
    from . import page  # needs Jinja2, which the terminal does not

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "diff.json", result.as_dict())
    page.write(folder / "diff.html", result)


def terminal(result: DiffResult, lines: int = 40) -> str:
    """Return the report as text: the answer, the explanation, the stages, and the layers that differ most.

    Args:
        result: the comparison.
        lines: the number of lines that the table of layers must not exceed together with the rest.
    """
    parts = [_answer(result), _stages(result)]
    last = [_unmatched(result), _footer(result)]
    used = sum(len(part) + 1 for part in (*parts, *last) if part)
    parts.append(_table(result, max(3, min(ROWS, lines - used - 3))))
    return "\n\n".join("\n".join(part) for part in (*parts, *last) if part)


def _answer(result: DiffResult) -> list[str]:
    """Return the answer, and for different models the explanations with the changes."""
    if result.equal:
        return [text.answer(result), text.largest(result)]
    explanations, not_copied = text.shown_explanations(result), text.not_copied(result)
    shown = [printable(e.sentence) for e in explanations[:FEW]]
    if not_copied or not shown:
        shown.insert(0, not_copied or text.UNEXPLAINED)
    hidden = len(explanations) - FEW
    lines = [text.answer(result), text.first_difference(result), *shown]
    lines += [f"... and {hidden:,} more explanations"] if hidden > 0 else []
    remedies = (text.map_with(explanation) for explanation in result.explanations)
    if remedy := next(filter(None, remedies), None):
        lines += ["With this map (--map FILE.yaml), both are equal:", *remedy]
    return lines


def _stages(result: DiffResult) -> list[str]:
    lines = []
    for stage in result.stages:
        verdict = stage.verdict.upper() if stage.verdict == "different" else stage.verdict
        lines.append(f"{stage.stage:10} {verdict:10} {printable(stage.sentence)}".rstrip())
        lines += [f"{'':21} Note: {printable(note)}" for note in stage.notes]
    return lines


def _table(result: DiffResult, rows: int) -> list[str]:
    """Return a table of the pairs of layers with the largest differences relative to their tolerance."""
    pairs = text.compared(result)
    chosen = sorted((p for p in pairs if result.equal or not p.equal), key=lambda p: -p.worst.share)
    if not chosen:
        return []
    heading = ("layer", "tensor", "dtype", "mode", "difference", "tolerance", "ratio")
    cells = [heading, *(_row(pair) for pair in chosen[:rows])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            f"{cell:{'<' if i < 4 else '>'}{width}}" for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    what = "closest to their tolerance" if result.equal else "that differ most, relative to their tolerance"
    return [f"Layers {what} ({min(rows, len(chosen)):,} of {len(chosen):,}):", *(line.rstrip() for line in lines)]


def _row(pair: Compared) -> tuple[str, ...]:
    worst, name = pair.worst, text.names(pair.left, pair.right)
    if len(name) > WIDTH:
        name = f"{name[: WIDTH // 2 - 1]}...{name[-WIDTH // 2 + 2 :]}"
    numbers = (text.magnitude(worst.gap), text.magnitude(worst.tolerance), text.share(worst))
    return name, printable(worst.tensor), worst.dtype, worst.mode, *numbers


def _unmatched(result: DiffResult) -> list[str]:
    """Return the layers without a partner: one line for each one with a likely partner, and one line for the others."""
    lines = []
    for side, likely, others in text.alone(result):
        lines += [f"{side:5}  {line}" for line in likely[:FEW]]
        lines += [f"{side:5}  and {len(likely) - FEW:,} more with a likely partner"] if len(likely) > FEW else []
        more = f" and {len(others) - FEW:,} more" if len(others) > FEW else ""
        lines += [f"{side:5}  {', '.join(others[:FEW])}{more}"] if others else []
    return ["Layers without a partner:", *lines] if lines else []


def _footer(result: DiffResult) -> list[str]:
    saved = [f"Weights written to {printable(result.weights_file)}."] if result.weights_file else []
    return [*saved, f"{result.seconds:.1f} s, {result.peak_mb:,.0f} MB peak memory of both processes."]
