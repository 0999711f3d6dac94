"""Measures what other processes and the hypervisor take from the processors during a round."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

# A round is disturbed above these shares of the time of the processors that the contenders may use.
OTHERS, STEAL = 0.1, 0.05
TICK = 0.01  # seconds; the system counts the time of processors in ticks
# If more than this share of the planned rounds is disturbed, nothing is measured.
MOST_DISTURBED = 1 / 3


@dataclass(frozen=True)
class Noise:
    """The noise of an interval.

    Attributes:
        others: CPU share of other processes, 0 to 1.
        steal: share of the time that the hypervisor took from this machine, 0 to 1; 0 where the system does not report it.
        seconds: length of the interval, times the number of processors.
    """

    others: float
    steal: float
    seconds: float

    @property
    def disturbed(self) -> bool:
        """Whether the times measured in the interval are not reliable. Two ticks more or less are within the accuracy."""
        accuracy = 2 * TICK * len(_processors()) / self.seconds if self.seconds else 1.0
        return self.others > OTHERS + accuracy or self.steal > STEAL + accuracy


class NoiseMeter:
    """Measures the noise of one interval after another, on the processors that this process may run on."""

    def __init__(self) -> None:
        self.before = _now()

    def start(self) -> None:
        """Start a new interval."""
        self.before = _now()

    def stop(self, own: float) -> Noise:
        """End the interval.

        Args:
            own: CPU seconds of the processes that were supposed to compute, other than this process.
        """
        after = _now()
        wall, busy, steal, self_cpu = (b - a for a, b in zip(self.before, after, strict=True))
        total = wall * len(_processors())
        if total <= 0:
            return Noise(0.0, 0.0, 0.0)
        shares = ((busy - own - self_cpu) / total, steal / total)
        others, stolen = (min(max(share, 0.0), 1.0) for share in shares)
        return Noise(others, stolen, total)


def _now() -> tuple[float, float, float, float]:
    """Return seconds: of the clock, of all busy processors, stolen from them, and of this process."""
    import psutil

    processors = _processors()
    counters = [times for i, times in enumerate(psutil.cpu_times(percpu=True)) if i in processors]
    idle = ("idle", "iowait", "steal", "guest", "guest_nice")  # time of guests is included in that of user
    busy = sum(sum(times) - sum(getattr(times, name, 0.0) for name in idle) for times in counters)
    steal = sum(getattr(times, "steal", 0.0) for times in counters)
    return time.perf_counter(), busy, steal, time.process_time()


def _processors() -> set[int]:
    """Return the numbers of the processors that this process may run on."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
