"""How many persons of the last hour wore a mask right: one vote a person, not one a frame."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PERSONS = 10_000
"""Bound on memory: the oldest persons are forgotten first."""


@dataclass(slots=True)
class _Visit:
    last_seen: float
    violated: bool


class Compliance:
    """Share of the decided persons within a sliding window who never violated in their visit."""

    def __init__(self, window: float) -> None:
        """Start empty; ``window`` in seconds."""
        self.window = window
        self._visits: OrderedDict[int, _Visit] = OrderedDict()

    def note(self, persons: Iterable[tuple[int, str]], now: float) -> None:
        """Take in who is in view.

        Args:
            persons: (track id, label) each; ``unsure`` ones don't count.
            now: monotonic seconds.
        """
        for track_id, label in persons:
            if label == "unsure":
                continue
            before = self._visits.pop(track_id, None)
            violated = label != "with_mask" or (before is not None and before.violated)
            self._visits[track_id] = _Visit(now, violated)
        self._forget(now)

    def share(self, now: float) -> tuple[float | None, int]:
        """(share of compliant persons, persons counted); the share of nobody is None."""
        self._forget(now)
        persons = len(self._visits)
        if not persons:
            return None, 0
        good = sum(not visit.violated for visit in self._visits.values())
        return good / persons, persons

    def _forget(self, now: float) -> None:
        while self._visits:
            oldest = next(iter(self._visits.values()))
            if now - oldest.last_seen <= self.window and len(self._visits) <= MAX_PERSONS:
                return
            self._visits.popitem(last=False)
