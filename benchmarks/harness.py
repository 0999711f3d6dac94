"""Shared by the benchmarks: pinning the process, ratios per round, and the table of results."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from compare import environment
from compare.report import words

THREADS = min(2, environment.cores())


def pin(module: str) -> None:
    """Restart this process with the thread counts and the allocator set, which libraries read when they are imported."""
    if "MINIGRAD_PINNED" not in os.environ:
        if hasattr(os, "sched_setaffinity"):  # JAX ignores the variables and counts processors
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
        settings = environment.pin(THREADS) | {"MINIGRAD_PINNED": "1"}
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], os.environ | settings)


def ratio(ours: ArrayLike, theirs: ArrayLike) -> dict[str, Any]:
    """Median and quartiles of ours / theirs, computed per round, because a slower machine slows both."""
    low, middle, high = np.percentile(np.asarray(ours) / np.asarray(theirs), [25, 50, 75])
    return {"ratio": float(middle), "quartiles": [float(low), float(high)]}


def show(rows: list[dict[str, Any]], subject: str, console: Console) -> None:
    """Print one line per network and peer, with the ratio and its quartiles."""
    table = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for name in ("network", "compared with"):
        table.add_column(name, no_wrap=True)
    for name in ("µs per step", f"{subject} / peer", "goal"):
        table.add_column(name, no_wrap=True, justify="right")
    for row in rows:
        if row["status"] == "ok":
            text = "" if row["peer"] == subject else "{:.2f} ({:.2f}-{:.2f})".format(row["ratio"], *row["quartiles"])
            table.add_row(row["network"], row["peer"], f"{row['step_us']:,.0f}", text, words.goal(row))
    console.print(table)
    for row in rows:
        if row["status"] != "ok":
            console.print(f"{row['network']}, {row['peer']}: {row['status']}")
