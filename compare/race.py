"""How long does each take? The recipe as given, in float32, each contender in turn."""

from __future__ import annotations

import json
import math
from typing import Any

from .jobs import Workshop


def race_all(workshop: Workshop, rows: list[dict[str, Any]], progress: Any) -> None:
    """Run the second stage of every contender without a status, and fill in its row."""
    waiting = [row for row in rows if row["status"] is None]
    for i, row in enumerate(waiting):
        progress.say(f"race: {row['title']} ({i + 1} of {len(waiting)})")
        out, failed = workshop.run(row["name"], "race")
        if failed:
            row["status"] = failed
            continue
        answer = json.loads((out / "race.json").read_text())
        answer["accuracy_interval"] = list(wilson(answer["test_correct"], answer["test_images"]))
        row |= answer
        row["status"] = "ok"
        progress.race(row)


def wilson(correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of an accuracy seen on n images. Wilson, 1927.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), which stays
    within 0 and 1 where the usual p +- 1.96 sqrt(p(1-p)/n) does not.
    """
    p = correct / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return min(low, p), max(high, p)  # at 0 and 1 the two are equal but for rounding
