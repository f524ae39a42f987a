"""The last day in half hours: how many persons came, and how they wore their masks."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable

SPAN = 1800
"""Seconds in a slot."""
SLOTS = 48
"""Slots kept: a day."""
MAX_PERSONS = 1000
"""Persons who may still change their mind; the longest unseen is settled first."""


class SlotPayload(TypedDict):
    """One slot as the page gets it."""

    start: int
    """Seconds since the epoch."""
    good: int
    """Persons with a mask worn well."""
    bad: int
    """Persons without, or with a mask worn wrongly."""


@dataclass(slots=True)
class _Slot:
    index: int
    good: int = 0
    bad: int = 0


@dataclass(slots=True)
class _Visit:
    slot: _Slot
    violated: bool


class DayHistory:
    """Counts each decided person once, in the slot of the first decision; not thread-safe.

    Attributes:
        version: grows with every change of what :meth:`slots` returns at one moment.
    """

    def __init__(self) -> None:
        self.version = 0
        self._slots: deque[_Slot] = deque(maxlen=SLOTS)
        self._visits: OrderedDict[int, _Visit] = OrderedDict()

    def note(self, persons: Iterable[tuple[int, str]], wall: float) -> None:
        """Take in who is in view.

        Args:
            persons: (track id, label) each; ``unsure`` ones don't count.
            wall: seconds since the epoch.
        """
        for track_id, label in persons:
            if label == "unsure":
                continue
            violated = label != "with_mask"
            visit = self._visits.get(track_id)
            if visit is None:
                self._arrive(track_id, self._slot(wall), violated)
                continue
            self._visits.move_to_end(track_id)
            if violated and not visit.violated:
                visit.violated = True
                visit.slot.good -= 1
                visit.slot.bad += 1
                self.version += 1

    def slots(self, wall: float) -> list[SlotPayload]:
        """The day that ends at ``wall``: :data:`SLOTS` slots, oldest first, empty ones too."""
        last = int(wall // SPAN)
        known = {slot.index: slot for slot in self._slots}
        return [
            {
                "start": index * SPAN,
                "good": known[index].good if index in known else 0,
                "bad": known[index].bad if index in known else 0,
            }
            for index in range(last - SLOTS + 1, last + 1)
        ]

    def _arrive(self, track_id: int, slot: _Slot, violated: bool) -> None:
        slot.bad += violated
        slot.good += not violated
        self._visits[track_id] = _Visit(slot, violated)
        if len(self._visits) > MAX_PERSONS:
            self._visits.popitem(last=False)
        self.version += 1

    def _slot(self, wall: float) -> _Slot:
        index = int(wall // SPAN)
        for slot in reversed(self._slots):  # a clock that was set back finds its old slot again
            if slot.index == index:
                return slot
        self._slots.append(_Slot(index))
        return self._slots[-1]
