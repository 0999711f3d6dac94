"""Markdown tables of the committed results: python -m benchmarks.tables.

Fills every block from `<!-- results NAME KIND -->` to `<!-- end -->` in
README.md and in docs/**/*.md. NAME is a file of benchmarks/results; KIND is
a key of `KINDS`, or is left out for the main table. The block
`<!-- results summary -->` shows the main results of all recipes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from statistics import median
from typing import Any

from compare import contenders
from compare.report import ratios, sweep_text, text
from compare.results import claims, schema, typed
from compare.results.schema import DIVISIONS, Results
from minigrad.recipes import Recipe
from minigrad.runs import foreign, write_text
from minigrad.runs.foreign import parsing

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
BLOCK = re.compile(r"<!-- results ([\w ]+) -->\n.*?<!-- end -->", re.DOTALL)


def comparison_table(results: Results) -> str:
    """Return the main table of a comparison, its ratios, verdict and conditions."""
    lines = ["| " + " | ".join(name for name, _ in text.COLUMNS) + " |"]
    lines.append("| " + " | ".join("---" if align == "left" else "---:" for _, align in text.COLUMNS) + " |")
    lines += ["| " + " | ".join(text.cells(row)) + " |" for row in schema.measured(results)]
    recipe = Recipe.from_dict(results["recipe"])
    absent = [
        f"{row['title']}: {contenders.find(row['name']).unsupported(recipe) or row['status']}."
        for row in results["contenders"]
        if row["status"] != "ok"
    ]
    answer, *others = text.verdict(results)
    divisions = [
        f"{text.DIVISIONS[division]}: {speed}" for division in DIVISIONS[1:] if (speed := text.speed(results, division))
    ]
    notes = [ratios_sentence(results), *divisions, *others, text.equal_work(results), text.conditions(results)]
    return "\n\n".join([answer, "\n".join(lines), *absent, *filter(None, notes)])


def ratios_sentence(results: Results) -> str:
    """Return the ratio of each contender to the fastest one, with its interval and verdict."""
    fastest, *others = ratios.to_fastest(results, "closed")
    parts = [
        f"{other.row['title']} {r['median']:.2f} ({r['low']:.2f} to {r['high']:.2f}, {r['verdict']})"
        for other in others
        if (r := other.ratio) and r["low"] is not None
    ]
    if not parts:
        return ""
    rounds = min(other.ratio["rounds"] for other in others if other.ratio)
    return (
        f"Steady step relative to {fastest.row['title']}, median and 95 % interval over at least {rounds} rounds:"
        f" {', '.join(parts)}."
    )


def claims_list(results: Results) -> str:
    """Return the common claims with their verdicts and sources, as a list."""
    checked = claims.check_claims(results)
    lines = [f'- "{claim["claim"]}" **{claim["verdict"].capitalize()}.** {claim["why"]}' for claim in checked]
    sources = "; ".join(dict.fromkeys(claim["source"] for claim in checked))
    return "\n".join(lines) + f"\n\nSource of the claims: {sources}."


def sweep_table(results: Results) -> str:
    """Return the microseconds per step by hidden width at the recipe's batch size, and the crossovers."""
    sweep, titles = results["sweep"], schema.titles(results)
    assert sweep is not None
    size = sweep["batch_sizes"][0]
    widths = [p["width"] for p in sweep["rows"][0]["points"] if p["batch_size"] == size]
    lines = ["| µs per step at width | " + " | ".join(f"{w:,}" for w in widths) + " | overhead |"]
    lines.append("| --- |" + " ---: |" * (len(widths) + 1))
    for row in sweep["rows"]:
        times = [f"{p['step_us']:,.0f}" for p in row["points"] if p["batch_size"] == size]
        lines.append(f"| {titles[row['contender']]} | " + " | ".join(times) + f" | {row['floor_us']:,.0f} |")
    (_, sentences), *_ = sweep_text.sentences(results)
    return "\n".join(lines) + "\n\n" + "\n".join(f"- {sentence}" for sentence in sentences)


def benchmark_table(results: dict[str, Any]) -> str:
    """Return the table of a benchmark of this folder: step times, ratios and goals."""
    subject = results["subject"]
    lines = [f"| network | peer | µs per step | {subject} / peer | goal |", "| --- | --- | ---: | ---: | ---: |"]
    for row in results["rows"]:
        if row["status"] != "ok":
            lines.append(f"| {row['network']} | {row['peer']} | {row['status']} | | |")
            continue
        ratio = "" if row["peer"] == subject else f"{row['ratio']:.2f}"
        lines.append(f"| {row['network']} | {row['peer']} | {row['step_us']:,.0f} | {ratio} | {goal(row)} |")
    env = results["environment"]
    versions = ", ".join(
        f"{name} {version}" for name, version in {**env["versions"], **results.get("versions", {})}.items() if version
    )
    machine = f"{env['cpu']}, {env['threads']} threads, {', '.join(env['blas'])}; {versions}."
    start = [start_time(results["start"])] if "start" in results else []
    settings = [settings_table(results["settings"])] if "settings" in results else []
    return "\n\n".join(["\n".join(lines), *start, *settings, f"Medians of {results['rounds']} rounds. {machine}"])


def goal(row: dict[str, Any]) -> str:
    """Return the goal, which is the largest ratio to the peer, and whether it was met."""
    if row["goal"] is None:
        return ""
    return f"{row['goal']:.2f}, {'met' if row['ratio'] <= row['goal'] else 'missed'}"


def start_time(row: dict[str, Any]) -> str:
    """Describe the time from the start of a command to the end of its first step."""
    difference = row["first_step_s"] - row["import_s"]
    compared = f"{abs(difference):.1f} s {'more' if difference > 0 else 'less'} than importing lightning alone"
    met = "met" if difference <= row["goal_s"] else "missed"
    return (
        f"The time from the start of the command to the end of the first step is {row['first_step_s']:.1f} s, {compared}"
        f" (goal: at most {row['goal_s']:.1f} s more, {met})."
    )


def settings_table(rows: list[dict[str, Any]]) -> str:
    """Return the microseconds per step of Keras's `fit` by `steps_per_execution` and compilation."""
    columns = sorted({row["steps_per_execution"] for row in rows})
    lines = [
        "| µs per step, by steps per execution | " + " | ".join(map(str, columns)) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for backend, compiled in dict.fromkeys((row["backend"], row["jit_compile"]) for row in rows):
        times = {
            row["steps_per_execution"]: f"{row['step_us']:,.0f}"
            for row in rows
            if (row["backend"], row["jit_compile"]) == (backend, compiled)
        }
        name = f"{backend}, {'compiled by XLA' if compiled else 'not compiled by XLA'}"
        lines.append(f"| {name} | " + " | ".join(times.get(n, "") for n in columns) + " |")
    return "\n".join(lines)


def summary_table(results: dict[str, Any]) -> str:
    """Return accuracy and steady step of every contender with every recipe, and the largest differences between them."""
    simple: Results = results["simple"]
    rows = {name: {row["name"]: row for row in schema.measured(results[name])} for name in SUMMARIZED}
    head = " | ".join(f"{name}: accuracy | µs per step" for name in SUMMARIZED)
    lines = [f"| contender | {head} | start-up s | peak MB |", "| --- |" + " ---: |" * (2 * len(SUMMARIZED) + 2)]
    for name, row in rows["simple"].items():
        cells = [row["title"]]
        for recipe in SUMMARIZED:
            other = rows[recipe].get(name)
            cells += [f"{100 * other['test_accuracy']:.2f} %", f"{other['steady_step_us']:,.0f}"] if other else ["", ""]
        lines.append(
            "| " + " | ".join([*cells, f"{row['seconds']['startup']:.2f}", f"{row['peak_memory_mb']:,.0f}"]) + " |"
        )
    networks = "; ".join(f"{name}: {text.architecture(results[name])}" for name in SUMMARIZED)
    gaps = ", ".join(f"{text.difference(results[name]['parity']['float64'])} ({name})" for name in SUMMARIZED)
    env = simple["environment"]
    return "\n\n".join(
        [
            "\n".join(lines),
            f"Recipe simple: {text.answer(simple)}",
            f"Largest difference from minigrad in an activation, loss, gradient or weight, over one epoch in float64: {gaps}.",
            f"Networks, as numbers of inputs, hidden units and classes: {networks}. All values are medians,"
            f" for training in float32 on {env['cpu']} with {env['threads']} threads. The time is that of a steady step."
            " Start-up time and peak memory are those of recipe simple. An empty cell was not measured.",
        ]
    )


def errors_table(results: dict[str, Any]) -> str:
    """Return the relative errors of the operations in float32, two operations per row of the table."""
    cells = [f"`{row['operation']}` | {row['value']:g} | {row['gradient']:g}" for row in results["errors"]]
    half = (len(cells) + 1) // 2
    lines = [
        "| operation | value | gradient | operation | value | gradient |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    lines += [f"| {left} | {right} |" for left, right in zip_longest(cells[:half], cells[half:], fillvalue=" | | ")]
    return "\n".join(lines)


def devices_table(results: dict[str, Any]) -> str:
    """Return the time of a step of minigrad on one and on two devices, for networks of several kinds."""
    rows = results["rows"] + results["threshold"]
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    ones = [peer for peer in peers if peer != results["subject"]]
    lines = [
        f"| network | million operations per device | {' | '.join(f'ms, {peer}' for peer in peers)} | ratio |",
        "| --- | ---: |" + " ---: |" * (len(peers) + 1),
    ]
    for name in dict.fromkeys(row["network"] for row in rows):
        group = {row["peer"]: row for row in rows if row["network"] == name}
        flops = group[peers[0]]["convolution_flops"] / 2e6
        times = " | ".join(f"{group[peer]['step_us'] / 1000:,.2f}" for peer in peers)
        lines.append(f"| {name} | {flops:,.1f} | {times} | {max(group[peer]['ratio'] for peer in ones):.2f} |")
    env = results["environment"]
    return (
        "\n".join(lines) + f"\n\nMedians of {results['rounds']} rounds on {env['cpu']} with {env['threads']} threads."
    )


def speedrun_table(results: dict[str, Any]) -> str:
    """Return accuracy and time per seed of recipe speedrun, their medians and the work."""
    rows = results["rows"]
    accuracies, seconds, totals = ([row[key] for row in rows] for key in ("test_accuracy", "seconds", "total_seconds"))
    lines = ["| seed | test accuracy | seconds of training | seconds of the command |", "| ---: | ---: | ---: | ---: |"]
    cells = [(str(row["seed"]), row["test_accuracy"], row["seconds"], row["total_seconds"]) for row in rows]
    cells.append(("median", median(accuracies), median(seconds), median(totals)))
    lines += [
        f"| {seed} | {100 * accuracy:.2f} % | {train:.2f} | {total:.2f} |" for seed, accuracy, train, total in cells
    ]
    work, library = results["work"], results["library"]
    return (
        "\n".join(lines) + f"\n\n{work['flops']:.2e} floating-point operations in the matrix products of"
        f" {work['updates']:,} updates of {work['parameters']:,} parameters, on {results['devices']} devices."
        f" {results['environment']['cpu']}, {library['library']}, kernel {library['kernel']}."
    )


def ports_table(results: dict[str, Any]) -> str:
    """Return what `compare diff` made of correct ports and of planted mistakes, by mistake."""
    by_mistake: dict[str, list[dict[str, Any]]] = {}
    for row in results["rows"]:
        by_mistake.setdefault(row["mistake"] or "none", []).append(row)
    lines = ["| mistake | models | found | explained |", "| --- | --- | ---: | ---: |"]
    for mistake, rows in by_mistake.items():
        models = ", ".join(dict.fromkeys(row["model"] for row in rows))
        if mistake == "none":
            alarms = sum(not row["equal"] for row in rows)
            lines.append(f"| none | {models} | {alarms} false alarms in {len(rows)} pairs | |")
            continue
        if all(row["verdict"] == "reported as a convention" for row in rows):
            lines.append(f"| {mistake} | {models} | reported as a convention | |")
            continue
        found = sum(row["verdict"] in ("found", "explained") for row in rows)
        explained = sum(row["verdict"] == "explained" for row in rows)
        lines.append(f"| {mistake} | {models} | {found} of {len(rows)} | {explained} of {len(rows)} |")
    return "\n".join(lines)


def exports_table(results: dict[str, Any]) -> str:
    """Return the matrix of exported files: one table per network, and the sentence of each refusal."""
    rows, head = (
        results["rows"],
        "| backend | format | precision | largest | mean | accuracy | kB | ms, 1 image | ms, 1,000 images |",
    )
    parts = []
    for network in dict.fromkeys(row["network"] for row in rows):
        written = [row for row in rows if row["network"] == network and row["status"] == "ok"]
        lines = [head, "| --- | --- | --- |" + " ---: |" * 6]
        lines += [
            f"| {row['backend']} | {row['kind']} | {row['precision']} | {_export_cells(row)} |" for row in written
        ]
        accuracy = 100 * written[0]["network_accuracy"]
        caption = f"Recipe `{network}` after one epoch; the network itself has an accuracy of {accuracy:.2f} %."
        parts += [caption, "\n".join(lines)]
    refused: dict[str, list[str]] = {}
    for row in rows:
        if row["status"] != "ok" and row["backend"] not in refused.setdefault(row["status"], []):
            refused[row["status"]].append(row["backend"])
    parts.append("\n".join(f"- {sentence} ({'; '.join(backends)})" for sentence, backends in refused.items()))
    env = results["environment"]
    return "\n\n".join([*parts, f"{env['cpu']} with {env['threads']} threads."])


def _export_cells(row: dict[str, Any]) -> str:
    one, many = row["ms"].values()
    return (
        f"{row['largest']:.1e} | {row['mean']:.1e} | {100 * row['accuracy']:.2f} % | {row['bytes'] / 1000:,.1f} | {one:.2f}"
        f" | {many:.1f}"
    )


def gpu_table(results: dict[str, Any]) -> str:
    """Return the seconds per epoch on a GPU by package and precision, and the ratio to the same package on the CPU."""
    lines = [
        "| package | device | setting | s per epoch | first epoch | speed-up | test accuracy |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    missing: dict[str, list[str]] = {}
    on_cpu: dict[str, float] = {}  # seconds per epoch, by package
    for row in results["rows"]:
        if row["status"] != "ok":
            missing.setdefault(row["status"], []).append(f"`{row['package']}` ({row['setting']})")
            continue
        is_gpu, seconds = row["device"] == "gpu", row["epoch_s"]
        if not is_gpu:
            on_cpu[row["package"]] = seconds
        ratio = f"{on_cpu[row['package']] / seconds:.1f}" if is_gpu else ""
        accuracy = f"{100 * row['test_accuracy']:.2f} %"
        cells = [f"`{row['package']}`", row["device"].upper(), row["setting"], f"{seconds:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{row['seconds'][0]:.1f}", ratio, accuracy]) + " |")
    env, epochs = results["environment"], results["epochs"]
    versions = ", ".join(f"{name} {version}" for name, version in env["versions"].items() if version)
    caption = (
        f"Network {results['rows'][0]['network']}, {epochs} epochs with validation; the time is the median without the"
        f" first two, and the speed-up is relative to the same package on the CPU."
        f" {env['gpu']}; the CPU is {env['cpu']} with {env['cores']} processors. {versions}."
    )
    absent = [f"Not measured: {', '.join(dict.fromkeys(cases))}: {status}." for status, cases in missing.items()]
    return "\n\n".join(["\n".join(lines), *absent, caption])


def parity_sentence(results: Results) -> str:
    """Return which contenders computed the same as minigrad, how closely, and where."""
    titles, env = schema.titles(results), results["environment"]
    compared = results["parity"]["contenders"] if results["parity"] else {}
    agree = ", ".join(f"{titles[name]} {row['float64']['max_abs_diff']:.1e}" for name, row in compared.items())
    return f"{env['gpu'] or env['cpu']}: {agree}."


SUMMARIZED = ("simple", "advanced", "cnn")
KINDS: dict[str, Callable[[Any], str]] = {
    "claims": claims_list,
    "sweep": sweep_table,
    "errors": errors_table,
    "devices": devices_table,
    "seeds": speedrun_table,
    "planted": ports_table,
    "files": exports_table,
    "gpu": gpu_table,
    "parity": parity_sentence,
}


def fill(page: str, results: dict[str, Any]) -> str:
    """Return `page` with every block written from the results of its name."""

    def block(match: re.Match[str]) -> str:
        if match[1] == "summary":
            return f"<!-- results summary -->\n{summary_table(results)}\n<!-- end -->"
        name, _, kind = match[1].partition(" ")
        content = results[name]
        main_table: Callable[[Any], str] = benchmark_table if "rows" in content else comparison_table
        return f"<!-- results {match[1]} -->\n{KINDS.get(kind, main_table)(content)}\n<!-- end -->"

    return BLOCK.sub(block, page)


def committed() -> dict[str, Any]:
    """Return the committed results by name."""
    return {path.stem: _read(path) for path in sorted(RESULTS.glob("*.json"))}


def _read(path: Path) -> Any:
    """Read the results of a comparison, or those of another benchmark, which have the key `rows` or `errors`."""
    with parsing(path, "the results of a benchmark"):
        content = typed.escaped(foreign.read_json(path))
        is_benchmark = "rows" in content or "errors" in content
    return content if is_benchmark else schema.read(str(path))


def pages() -> Iterator[Path]:
    """Yield README.md and the pages of the documentation."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").glob("**/*.md"))


def main() -> None:
    """Fill the blocks of all pages."""
    results = committed()
    for path in pages():
        page = path.read_text(encoding="utf-8")
        if (filled := fill(page, results)) != page:
            write_text(path, filled)


if __name__ == "__main__":
    main()
