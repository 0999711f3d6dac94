"""Parts that the benchmarks share: a process with fixed threads, ratios per round, and the printed table."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table

from compare import machine

from .tables import goal

THREADS = min(2, machine.cores())


def pin(module: str) -> None:
    """Start this process again with its threads and allocator set, which the libraries read when they are loaded."""
    if "MINIGRAD_PINNED" not in os.environ:
        if hasattr(os, "sched_setaffinity"):  # JAX ignores the variables and counts processors
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
        settings = machine.thread_settings(THREADS) | {"MINIGRAD_PINNED": "1"}
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], os.environ | settings)


def ratio(subject: ArrayLike, peer: ArrayLike) -> dict[str, Any]:
    """Return median and quartiles of subject / peer.

    The ratio is taken within each round, so that a slower phase of the machine affects both.
    """
    low, middle, high = np.percentile(np.asarray(subject) / np.asarray(peer), [25, 50, 75])
    return {"ratio": float(middle), "quartiles": [float(low), float(high)]}


def show(rows: list[dict[str, Any]], subject: str, console: Console) -> None:
    """Print a table with one line per network and peer: the ratio with its quartiles."""
    table = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for name in ("network", "peer"):
        table.add_column(name, no_wrap=True)
    for name in ("µs per step", f"{subject} / peer", "goal"):
        table.add_column(name, no_wrap=True, justify="right")
    for row in rows:
        if row["status"] == "ok":
            shown = "" if row["peer"] == subject else "{:.2f} ({:.2f}-{:.2f})".format(row["ratio"], *row["quartiles"])
            table.add_row(row["network"], row["peer"], f"{row['step_us']:,.0f}", shown, goal(row))
    console.print(table)
    for row in rows:
        if row["status"] != "ok":
            console.print(f"{row['network']}, {row['peer']}: {row['status']}")
