"""The visits that are compared: the last day in hours, and the last few blocks, as counts."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from maskedge.health.features import WIDTH, part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskedge.health.features import Feature

SLOT = 3600.0
"""Seconds that one row of counts covers."""
DAY_SLOTS = 24
"""Rows that are compared: a whole day, since light and people change with the hour."""
SLOTS = 7 * DAY_SLOTS
"""Rows kept, for where a day has too few visits."""
BLOCK = 30
"""Visits in a block."""
BLOCKS = 3
"""Blocks kept; they have no visit in common."""


class Window:
    """Counts of visits, the newest first; as much memory for ten as for a million."""

    def __init__(self) -> None:
        self._hours = np.zeros((SLOTS, WIDTH), np.int64)
        self._hour: int | None = None
        self._blocks: deque[NDArray[np.int64]] = deque(maxlen=BLOCKS)
        self._filling = np.zeros(WIDTH, np.int64)
        self._filled = 0
        self.visits = 0
        """All that were ever added."""

    def add(self, where: NDArray[np.intp], now: float) -> bool:
        """Count a visit.

        Args:
            where: its bins in a row of all features' counts.
            now: seconds; a step back is no time.

        Returns:
            Whether it filled a block.
        """
        self._turn(int(now // SLOT))
        self._hours[0, where] += 1
        self._filling[where] += 1
        self._filled += 1
        self.visits += 1
        if self._filled < BLOCK:
            return False
        self._blocks.append(self._filling)
        self._filling, self._filled = np.zeros(WIDTH, np.int64), 0
        return True

    def _turn(self, hour: int) -> None:
        if self._hour is not None and hour > self._hour:
            passed = min(hour - self._hour, SLOTS)
            self._hours = np.roll(self._hours, passed, axis=0)
            self._hours[:passed] = 0
        self._hour = hour if self._hour is None else max(hour, self._hour)

    def day(self, feature: Feature, least: int) -> NDArray[np.int64]:
        """Counts (bins,) of the last day, or of as many hours more as hold ``least``."""
        rows = part(self._hours, feature)
        reached = np.cumsum(rows.sum(axis=1)) >= least
        hours = int(reached.argmax()) + 1 if reached[-1] else SLOTS
        counts: NDArray[np.int64] = rows[: max(DAY_SLOTS, hours)].sum(axis=0)
        return counts

    def blocks(self, feature: Feature) -> list[NDArray[np.int64]]:
        """Counts (bins,) of each of the last blocks; fewer than :data:`BLOCKS` at first."""
        return [part(block, feature) for block in self._blocks]

    def forget(self, feature: Feature) -> None:
        """Begin a feature anew."""
        for rows in (self._hours, self._filling, *self._blocks):
            part(rows, feature)[...] = 0
