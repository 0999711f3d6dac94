"""The results in sentences and table rows, shared by all ways of telling."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from minigrad.recipes import Recipe
from minigrad.runs.progress import network

from ..parity.recorder import is_looked_at

Row = dict[str, Any]
Line = list[tuple[int, float]]  # (step, largest difference)

BUSY = 0.15  # of all processors' time, taken by others

COLUMNS = (
    ("contender", "left"),
    ("accuracy", "right"),
    ("step µs", "right"),
    ("images/s", "right"),
    ("import s", "right"),
    ("train s", "right"),
    ("total s", "right"),
    ("1 image µs", "right"),
    ("peak MB", "right"),
)


def raced(results: Row) -> list[Row]:
    """The rows that have figures."""
    return [row for row in results["contenders"] if "step_us" in row]


def cells(row: Row) -> list[str]:
    """A contender's figures as text, in the order of COLUMNS."""
    seconds = row["seconds"]
    return [
        row["title"],
        f"{100 * row['test_accuracy']:.2f} %",
        f"{row['step_us']:,.0f}",
        f"{row['images_per_second']:,.0f}",
        f"{seconds['import']:.2f}",
        f"{seconds['train']:.2f}",
        f"{seconds['total']:.2f}",
        f"{row['latency']['1']['p50']:,.0f}",
        f"{row['peak_memory_mb']:,.0f}",
    ]


def verdict(results: Row) -> list[str]:
    """What was found: whether they agree, whether they learn the same, who is quickest."""
    lines = [_agreement(results["parity"], {row["name"]: row["title"] for row in results["contenders"]})]
    rows = raced(results)
    if results["parity"]["passed"] is False or not rows:
        return lines
    low, high = min(row["test_accuracy"] for row in rows), max(row["test_accuracy"] for row in rows)
    a, b = rows[0]["accuracy_interval"]
    seeds = len(rows[0]["runs"])
    medians = f", medians of {seeds} seeds" if seeds > 1 else ""
    reached = f"{100 * low:.2f} % for all" if low == high else f"{100 * low:.2f} to {100 * high:.2f} %"
    lines.append(
        f"Test accuracy: {reached}{medians};"
        f" one accuracy on {rows[0]['test_images']:,} images carries ±{50 * (b - a):.2f}."
    )
    return [*lines, _speed(results, rows)]


def _speed(results: Row, rows: list[Row]) -> str:
    """Who is quickest, how many times as long the others take, and whose difference the seeds can't show."""
    quickest, *others = sorted(rows, key=lambda row: row["step_us"])
    line = f"Quickest here: {quickest['title']}, {quickest['step_us']:,.0f} µs a step"
    rest = ", ".join(f"{row['title']} {row['step_us'] / quickest['step_us']:.1f}" for row in others)
    alike = [
        row["title"]
        for row in others
        for pair in results["pairs"]
        if {pair["a"], pair["b"]} == {quickest["name"], row["name"]} and pair["step_us"]["differs"] is False
    ]
    line += f"; times as long: {rest}." if rest else "."
    seeds = len(quickest["runs"])
    return line + (f" {seeds} seeds show no difference from it: {', '.join(alike)}." if alike else "")


def to_target(results: Row) -> list[tuple[str, str, str, str]]:
    """(contender, seconds to the target in the closed division, in the open one, what it does there)."""
    opened = {row["name"]: row for row in results["open"]}
    return [
        (
            row["title"],
            seconds(row["seconds_to_target"]),
            seconds(opened[row["name"]]["seconds_to_target"]) if row["name"] in opened else "",
            opened[row["name"]]["open_by"] if row["name"] in opened else "nothing quicker known",
        )
        for row in raced(results)
    ]


def seconds(found: float | None) -> str:
    """Seconds, or that it was never reached."""
    return "never" if found is None else f"{found:.3g}"


def equal_work(results: Row) -> str:
    """How much each did, and whether it was as much as it was asked to."""
    work = results["work"]
    asked = f"{work['updates']:,} updates of {work['parameters']:,} parameters"
    other = [row["title"] for row in raced(results) if not row["equal_work"]]
    if other:
        return f"NOT the same work: asked were {asked}, and {', '.join(other)} did otherwise."
    found = f"{work['samples']:,} samples and {work['flops']:.2e} floating-point operations"
    return f"The same work for all: {asked}, counted in each, which makes {found}."


def busy(share: float) -> str:
    """A warning that the figures may be another's."""
    return f"Warning: other processes take {100 * share:.0f} % of this machine; times measured beside them are not to be trusted."


def _agreement(parity: Row, titles: dict[str, str]) -> str:
    if parity["passed"] is None:
        return "Parity: nothing to compare with minigrad."
    if parity["passed"]:
        found = [f"{difference(cell)} in {dtype} (limit {cell['limit']:.0e})" for dtype, cell in dtypes(parity)]
        steps = parity["float64"]["steps"]
        line = f"They agree: over {steps:,} steps, the largest difference of an activation, loss, gradient or weight is"
        line += f" {' and '.join(found)}."
        own = (parity.get("rounding") or {}).get("max_abs_diff") or 0.0
        if 2 * own >= parity["float32"]["limit"]:  # which is then what sets it
            line += f" The limit in float32 is twice {own:.1e}, by which minigrad's float32 run strays from its float64 run."
        return line
    for name, row in parity["contenders"].items():
        for dtype, cell in dtypes(row):
            if not cell["passed"]:
                title = titles.get(name, name)
                return f"They do NOT agree: {title} in {dtype}: {cell['first']} (The limit is {cell['limit']:.0e}.)"
        if row.get("dropout", {}).get("passed") is False:
            return f"They do NOT agree: {titles.get(name, name)} in dropout: {row['dropout']['said']}"
    return "They do NOT agree."


def goal(row: Row) -> str:
    """A benchmark's goal, at most so many times the peer's step, and whether it was met."""
    if row["goal"] is None:
        return ""
    return f"{row['goal']:.2f}, {'met' if row['ratio'] <= row['goal'] else 'missed'}"


def start(row: Row) -> str:
    """How long a command takes from the prompt to the end of its first step, beside a bare import."""
    beyond = row["first_step_s"] - row["import_s"]
    more = f"{abs(beyond):.1f} s {'more' if beyond > 0 else 'less'} than importing lightning by itself"
    met = "met" if beyond <= row["goal_s"] else "missed"
    return (
        f"From the prompt to the end of the first step: {row['first_step_s']:.1f} s, {more}"
        f" (goal: at most {row['goal_s']:.1f} more, {met})."
    )


def difference(cell: Row) -> str:
    """The largest difference of one contender in one dtype."""
    if cell["max_abs_diff"] is None:
        return "no number"
    return f"{cell['max_abs_diff']:.1e}" if cell["max_abs_diff"] else "identical"


def looked_at(cell: Row | None) -> Line:
    """The few steps of a contender's parity that have weights to look at, and numbers."""
    steps = {int(step): gap for step, gap in ((cell or {}).get("by_step") or {}).items()}
    return [(step, gap) for step, gap in steps.items() if is_looked_at(step, max(steps)) and gap is not None]


def positive(line: Line) -> Line:
    """Without what is 0, which has no logarithm."""
    return [(step, gap) for step, gap in line if gap]


def dtypes(parity: Row) -> list[tuple[str, Row]]:
    """The two dtypes' cells, float64 first."""
    return [(dtype, parity[dtype]) for dtype in ("float64", "float32")]


def architecture(results: Row) -> str:
    """The sizes of the network's layers, and whether they are normalised."""
    recipe = Recipe.from_dict(results["recipe"])
    data: Any = SimpleNamespace(input_shape=tuple(results["data"]["input_shape"]), classes=results["data"]["classes"])
    return network(recipe, data) + (" with batch norm" if recipe.model.batch_norm else "")


def conditions(results: Row) -> str:
    """On what, and how, the figures were measured."""
    e, r = results["environment"], results["recipe"]
    model, augment = r["model"], r["data"]["augment"]
    learning = f"{model['optimizer']} at {model['learning_rate']}"
    learning += f" by {model['schedule']}" if model["schedule"] in ("cosine", "one_cycle") else ""
    trained = f"{r['trainer']['max_epochs']} epochs of {results['data']['train']:,} images in batches of {r['data']['batch_size']}"
    trained += f" moved by {augment}" if augment != "none" else ""
    versions = ", ".join(f"{name} {version}" for name, version in e["versions"].items() if version)
    threads = f"{e['threads']} {'thread' if e['threads'] == 1 else 'threads'} of {e['cores']} processors"
    machine = f"{e['cpu']}, {threads}, {', '.join(e['blas'])}"
    return (
        f"Closed division: {architecture(results)}, {learning}, {trained}, float32,"
        f" the same starting weights and batches for all. {machine}; {versions}."
    )
