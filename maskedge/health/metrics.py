"""Counters that only grow, and stage timings over the last frames.

Counters are published as they are, never as rates alone: a subscriber that missed a message can
still subtract two of them.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW = 256
"""Frames over which timings are summarised: 25 s at 10 fps."""


def percentile(values: list[float], share: float) -> float:
    """The smallest value that ``share`` of all values don't exceed (nearest-rank method).

    Args:
        values: any order, not empty.
        share: 0..1.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Metrics:
    """Written by the pipeline's thread, read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: Counter[str] = Counter()
        self._timings: dict[str, deque[float]] = {}

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counters[name] += amount

    def observe(self, timings: Mapping[str, float]) -> None:
        """Note how long the stages of one frame took, seconds each."""
        with self._lock:
            for stage, seconds in timings.items():
                self._timings.setdefault(stage, deque(maxlen=WINDOW)).append(seconds)

    def counters(self) -> dict[str, int]:
        """All counters, by name."""
        with self._lock:
            return dict(sorted(self._counters.items()))

    def stage_ms(self) -> dict[str, dict[str, float]]:
        """``{stage: {"p50": ms, "p95": ms}}`` over the last :data:`WINDOW` frames that had it."""
        with self._lock:
            copies = {stage: list(values) for stage, values in self._timings.items()}
        return {
            stage: {
                "p50": round(percentile(values, 0.50) * 1000, 3),
                "p95": round(percentile(values, 0.95) * 1000, 3),
            }
            for stage, values in sorted(copies.items())
        }
