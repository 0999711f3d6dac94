"""From rounds to ratios: whether enough rounds are undisturbed, the steady step of each contender, and the ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from ..timing.noise import MOST_DISTURBED
from . import statistics
from .schema import Division, Interval, Ratio, Round, Run, Verdict
from .statistics import BySeed

INVERSE: dict[Verdict, Verdict] = {
    "faster": "slower",
    "slower": "faster",
    "equivalent": "equivalent",
    "undecided": "undecided",
}
Times = dict[str, list[list[float]]]  # microseconds per step, by contender; per seed, then per round


def disturbed_too_often(rounds: Sequence[Round], planned: int) -> bool:
    """Return whether less than two thirds of the planned number of rounds is undisturbed."""
    return planned - sum(not r["disturbed"] for r in rounds) > MOST_DISTURBED * planned


def reason(rounds: Sequence[Round]) -> str:
    """Return in a sentence how often and how much other processes and the hypervisor disturbed the rounds."""
    count = sum(r["disturbed"] for r in rounds)
    others, steal = (float(np.median([r[key] for r in rounds if r["disturbed"]])) for key in ("others", "steal"))  # type: ignore[literal-required]
    stolen = f", and the hypervisor took {100 * steal:.0f} %" if steal >= 0.005 else ""
    return (
        f"Other processes disturbed {count} of {len(rounds)} rounds: in these, they used {100 * others:.0f} % of the"
        f" processors' time{stolen}."
    )


def counted(rounds: Sequence[Round]) -> list[Round]:
    """Return the rounds that count: those that are not disturbed, or all if every round is."""
    return [r for r in rounds if not r["disturbed"]] or list(rounds)


def times(rounds: Sequence[Round], runs: Mapping[str, Sequence[Run]], names: Sequence[str]) -> Times:
    """Return the steady times of a division, in the same rounds for all contenders of `names`.

    Args:
        rounds: the rounds that count; without any, each run gives the times of its own epochs.
        runs: the runs by contender.
        names: contenders.
    """
    shared = with_all(rounds, names)
    if not shared:
        return {name: [run["epoch_us"][1:] or [run["steady_step_us"]] for run in runs[name]] for name in names}
    seeds = dict.fromkeys(r["seed"] for r in shared)
    return {name: [[r["step_us"][name] for r in shared if r["seed"] == seed] for seed in seeds] for name in names}


def with_all(rounds: Sequence[Round], names: Sequence[str]) -> list[Round]:
    """Return the rounds that all contenders of `names` took part in."""
    return [r for r in rounds if all(name in r["step_us"] for name in names)]


def steady_step_us(rounds: Sequence[Round], runs: Mapping[str, Sequence[Run]], name: str) -> float:
    """Return the median time of a step of one contender, in microseconds, over the rounds that count."""
    return float(np.median([us for seed in times(rounds, runs, [name])[name] for us in seed]))


def compare(
    division: Division, rounds: Sequence[Round], runs: Mapping[str, Sequence[Run]], measured: bool
) -> list[Ratio]:
    """Return the ratio of every two contenders of a division.

    Args:
        division: the division.
        rounds: its rounds that count; empty if the contenders did not take turns.
        runs: the runs by contender.
        measured: whether enough rounds count; otherwise all verdicts are "undecided".
    """
    result: list[Ratio] = []
    for a, b in combinations(runs, 2):
        both, shared = times(rounds, runs, [a, b]), bool(with_all(rounds, [a, b]))
        interval = paired(both[a], both[b]) if shared else statistics.unpaired_ratio(both[a], both[b])
        if not measured or (rounds and not shared):  # one of the two has failed
            interval["verdict"] = "undecided"
        result.append({"division": division, "a": a, "b": b, "paired": shared, **interval})
    return result


def paired(first: BySeed, second: BySeed) -> Interval:
    """Return the ratio of times that were measured in the same rounds."""
    return statistics.ratio([list(np.divide(a, b)) for a, b in zip(first, second, strict=True)])


def between(pairs: Sequence[Ratio], division: Division, a: str, b: str) -> Ratio | None:
    """Return the ratio of contender `a` to `b`, which may be stored the other way round; None if there is none."""
    for pair in pairs:
        if pair["division"] == division and (pair["a"], pair["b"]) == (a, b):
            return pair
        if pair["division"] == division and (pair["a"], pair["b"]) == (b, a):
            return inverse(pair)
    return None


def inverse(pair: Ratio) -> Ratio:
    """Return the ratio the other way round."""
    low, high = (1 / bound if bound else None for bound in (pair["high"], pair["low"]))
    return {
        **pair,
        "a": pair["b"],
        "b": pair["a"],
        "median": 1 / pair["median"],
        "low": low,
        "high": high,
        "verdict": INVERSE[pair["verdict"]],
    }
