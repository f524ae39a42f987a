"""How long to wait before the next try."""

from __future__ import annotations

import random


class Backoff:
    """Doubles from ``first`` to ``longest`` seconds; each wait is jittered by half.

    The jitter keeps a thousand units from coming back to a restarted broker in the same moment
    (``benchmarks/fleet.py``).

    Args:
        first: the first wait, seconds.
        longest: the longest, seconds.
    """

    def __init__(self, first: float = 0.5, longest: float = 15.0) -> None:
        self._first = first
        self._longest = longest
        self._wait = first

    def next(self, at_least: float = 0.0) -> float:
        """The wait before the next try, seconds.

        Args:
            at_least: begin from here, where a quick retry would do harm; doubles as well, and
                may so exceed ``longest`` ten times.
        """
        limit = max(self._longest, at_least * 10)
        wait = min(max(self._wait, at_least), limit)
        self._wait = min(wait * 2, limit)
        soonest = max(at_least, wait / 2)
        return soonest + wait * random.random()  # noqa: S311 - no secret

    def reset(self) -> None:
        """All is well: the next wait is the first again."""
        self._wait = self._first
