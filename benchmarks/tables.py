"""The measured tables of README.md, written from committed results: python -m benchmarks.tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from compare.report import text as words
from compare.report import width_chart as crossover
from minigrad.runs import write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "README.md"


def table(results: dict[str, Any]) -> str:
    """Verdict, table and conditions, as Markdown."""
    lines = ["| " + " | ".join(name for name, _ in words.COLUMNS) + " |"]
    lines.append("| " + " | ".join("---" if align == "left" else "---:" for _, align in words.COLUMNS) + " |")
    lines += ["| " + " | ".join(words.cells(row)) + " |" for row in words.raced(results)]
    unable = [f"{row['title']}: {row['status']}." for row in results["contenders"] if row["status"] != "ok"]
    said = [*words.verdict(results), words.equal_work(results), words.conditions(results)]
    return "\n\n".join(["\n".join(lines), *unable, *said])


def claims(results: dict[str, Any]) -> str:
    """What is said, and what was measured, as a Markdown list."""
    return "\n".join(f'- "{row["claim"]}" **{row["verdict"].capitalize()}.** {row["why"]}' for row in results["claims"])


def sweep(results: dict[str, Any]) -> str:
    """Microseconds of a step by hidden width, at the recipe's batch size, and who overtakes NumPy where, as Markdown."""
    found, size = results["sweep"], results["sweep"]["batch_sizes"][0]
    titles = {row["name"]: row["title"] for row in results["contenders"]}
    widths = [p["width"] for p in found["rows"][0]["points"] if p["batch_size"] == size]
    lines = ["| µs a step at width | " + " | ".join(f"{w:,}" for w in widths) + " | overhead |"]
    lines.append("| --- |" + " ---: |" * (len(widths) + 1))
    for row in found["rows"]:
        times = [f"{p['step_us']:,.0f}" for p in row["points"] if p["batch_size"] == size]
        lines.append(f"| {titles[row['contender']]} | " + " | ".join(times) + f" | {row['floor_us']:,.0f} |")
    (_, said), *_ = crossover.sentences(results)
    return "\n".join(lines) + "\n\n" + "\n".join(f"- {sentence}" for sentence in said)


def ratios(results: dict[str, Any]) -> str:
    """A benchmark's results, as Markdown."""
    subject = results["subject"]
    lines = [f"| network | against | µs a step | {subject} / it | goal |", "| --- | --- | ---: | ---: | ---: |"]
    for row in results["rows"]:
        if row["status"] != "ok":
            lines.append(f"| {row['network']} | {row['peer']} | {row['status']} | | |")
            continue
        ratio = "" if row["peer"] == subject else f"{row['ratio']:.2f}"
        lines.append(f"| {row['network']} | {row['peer']} | {row['step_us']:,.0f} | {ratio} | {words.goal(row)} |")
    e = results["environment"]
    versions = ", ".join(
        f"{name} {version}" for name, version in {**e["versions"], **results.get("versions", {})}.items() if version
    )
    machine = f"{e['cpu']}, {e['threads']} threads, {', '.join(e['blas'])}; {versions}."
    start = [words.start(results["start"])] if "start" in results else []
    tried = [settings(results["settings"])] if "settings" in results else []
    said = ["\n".join(f"- {line}" for line in results["exports"])] if "exports" in results else []
    return "\n\n".join(["\n".join(lines), *start, *tried, *said, f"Medians of {results['rounds']} rounds. {machine}"])


def settings(tried: list[dict[str, Any]]) -> str:
    """What `fit` takes for a step, in µs, by how many run at once, as Markdown."""
    columns = sorted({row["steps_per_execution"] for row in tried})
    lines = [
        "| µs a step, by steps at once | " + " | ".join(map(str, columns)) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    ways = dict.fromkeys((row["backend"], row["jit_compile"]) for row in tried)
    for way in ways:
        found = {
            r["steps_per_execution"]: f"{r['step_us']:,.0f}" for r in tried if (r["backend"], r["jit_compile"]) == way
        }
        name = f"{way[0]}, {'compiled by XLA' if way[1] else 'not compiled by XLA'}"
        lines.append(f"| {name} | " + " | ".join(found.get(n, "") for n in columns) + " |")
    return "\n".join(lines)


KINDS = {"claims": claims, "sweep": sweep}


def fill(page: str, results: dict[str, dict[str, Any]]) -> str:
    """`page` with each block `<!-- results NAME KIND -->` to `<!-- end -->` written anew from results[NAME].

    KIND is one of KINDS; without it, the block is the table that these results are.
    """

    def block(found: re.Match[str]) -> str:
        name, _, kind = found[1].partition(" ")
        measured = results[name]
        usual = ratios if "rows" in measured else table
        return f"<!-- results {found[1]} -->\n{KINDS.get(kind, usual)(measured)}\n<!-- end -->"

    return re.sub(r"<!-- results ([\w ]+) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def committed() -> dict[str, dict[str, Any]]:
    """The committed results by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


if __name__ == "__main__":
    write_text(PAGE, fill(PAGE.read_text(encoding="utf-8"), committed()))
