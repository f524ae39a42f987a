"""Repeating work and taking its time, by the wall clock and in CPU time of this process."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maskedge.health.metrics import percentile

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_UP = 3
LEAST_RUNS = 5


@dataclass
class Timing:
    """Repetitions of the same work, milliseconds.

    Attributes:
        wall: by the wall clock, each.
        cpu: CPU time of all threads, each: what others do on the machine hardly counts in it.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def take(self, work: Callable[[], object]) -> None:
        """Do it once more."""
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        self.wall.append(1e3 * (time.perf_counter() - wall))
        self.cpu.append(1e3 * (time.process_time() - cpu))

    @property
    def p50(self) -> float:
        """Median by the wall clock."""
        return percentile(self.wall, 0.5)

    @property
    def p95(self) -> float:
        """The same, exceeded by one in twenty."""
        return percentile(self.wall, 0.95)

    @property
    def cpu_p50(self) -> float:
        """Median CPU time."""
        return percentile(self.cpu, 0.5)


def measure(
    seconds: float, *works: Callable[[], object], between: Callable[[], object] | None = None
) -> tuple[Timing, ...]:
    """Repeat some works in turn, so that a busy machine slows all alike.

    Args:
        seconds: for which they are repeated, after a warm-up and at least five times.
        works: what to do.
        between: done before each of them and not counted, such as what fills the caches with
            other things.

    Returns:
        The time of each.
    """
    for _ in range(WARM_UP):
        for work in works:
            work()
    timings = tuple(Timing() for _ in works)
    end = time.perf_counter() + seconds
    while len(timings[0].wall) < LEAST_RUNS or time.perf_counter() < end:
        for work, timing in zip(works, timings, strict=True):
            if between is not None:
                between()
            timing.take(work)
    return timings
