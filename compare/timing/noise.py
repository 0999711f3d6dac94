"""Measures what other processes and the hypervisor take from the processors while the contenders run."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

# A round is disturbed above these shares of the time of the processors that the contenders may use.
OTHERS, STEAL = 0.1, 0.05
# The system counts the time of processors in ticks. A difference of two ticks per processor is within the accuracy.
TICK = 0.01  # seconds
SHORTEST = 0.25  # seconds of an interval, so that the accuracy is sufficient; shorter rounds share an interval
# If more than this share of the planned rounds is disturbed, nothing is measured.
MOST_DISTURBED = 1 / 3


@dataclass(frozen=True)
class Noise:
    """The noise of an interval, as shares of the time of the processors that this process may run on, 0 to 1.

    Attributes:
        others: of other processes.
        steal: of the hypervisor; 0 where the system does not report it.
        disturbed: whether times measured in the interval are not reliable.
    """

    others: float
    steal: float
    disturbed: bool


class NoiseMeter:
    """Measures the noise of one interval after another."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start a new interval."""
        self.before = _now()

    def seconds(self) -> float:
        """Return the length of the interval so far."""
        return time.perf_counter() - self.before[0]

    def stop(self, own: float) -> Noise:
        """End the interval.

        Args:
            own: CPU seconds of the processes that were supposed to compute, other than this process.
        """
        wall, busy, steal, self_cpu = (b - a for a, b in zip(self.before, _now(), strict=True))
        total, accuracy = wall * len(_processors()), 2 * TICK / wall
        others, stolen = (min(max(seconds / total, 0.0), 1.0) for seconds in (busy - own - self_cpu, steal))
        return Noise(others, stolen, others > OTHERS + accuracy or stolen > STEAL + accuracy)


def now() -> Noise:
    """Measure the noise while nothing of this project runs, for half a second."""
    meter = NoiseMeter()
    time.sleep(0.5)
    return meter.stop(0.0)


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
