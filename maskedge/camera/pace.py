"""Playing a recording at its own speed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_GAP = 2.0
"""Seconds; a longer hole in a recording's time stamps is jumped over, not sat out."""


class Pace:
    """Holds media time against a clock.

    Args:
        clock: seconds.
        sleep: waits for as many.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._zero: float | None = None

    def restart(self) -> None:
        """The next frame is due at once."""
        self._zero = None

    def wait(self, media_time: float) -> float:
        """Sleep until a frame is due.

        Args:
            media_time: its moment, seconds.

        Returns:
            Seconds by which it is late.
        """
        now = self._clock()
        if self._zero is None:
            self._zero = now - media_time
        ahead = self._zero + media_time - now
        if ahead > _LONGEST_GAP:
            self._zero = now - media_time
        elif ahead > 0:
            self._sleep(ahead)
        return max(0.0, -ahead)
