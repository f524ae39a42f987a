"""What the frames of one visit amount to: one value of each feature, when it is over.

The looks at one person are not independent of each other, so a visit counts once, with *one* of its
looks, drawn at random as they come (a reservoir of one; Vitter, "Random sampling with a reservoir",
1985). A mean over them would be narrower than the single looks that the reference is made of.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maskedge.health.features import BY_NAME
from maskedge.people.verdict import UNSURE
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from maskedge.pipeline import FrameResult, Look

Values = dict[str, float]
"""By feature; without those that the visit says nothing of."""

LEAST_SIGHTINGS = 3
"""Fewer make no visit: a false box, or somebody at the picture's edge."""
LEAST_JUDGED = 3
"""Fewer looks that were judged say nothing of changes of mind, nor that it stays unsure."""


def look_values(look: Look) -> Values:
    """What one look says of itself."""
    quality = look.quality
    values = {
        "score": look.score,
        "brightness": quality.brightness,
        "sharpness": quality.sharpness,
        "warmth": quality.warmth,
    }
    if look.scores:
        second, first = sorted(look.scores)[-2:]
        values |= {"confidence": first, "margin": first - second}
    return values


@dataclass(slots=True)
class _Open:
    size: float = 0.0
    sightings: int = 0
    measured: int = 0
    judged: int = 0
    flips: int = 0
    last: int = -1
    label: str = UNSURE
    sample: Values = field(default_factory=dict)

    def look(self, look: Look, chance: float) -> None:
        """Count a look; ``chance`` is uniform in 0..1."""
        self.measured += 1
        if look.scores:
            self.judged += 1
            called = look.scores.index(max(look.scores))
            self.flips += called != self.last >= 0
            self.last = called
            if chance * self.judged < 1:
                self.sample = look_values(look)
        elif not self.judged and chance * self.measured < 1:
            self.sample = look_values(look)

    def values(self) -> Values:
        """The whole visit."""
        values = {**self.sample, "size": self.size}
        if self.judged >= LEAST_JUDGED:
            values["flips"] = self.flips / (self.judged - 1)
            values["unsure"] = float(self.label == UNSURE)
        if self.label != UNSURE:
            values["label"] = float(LABELS.index(self.label))
        return values


class Visits:
    """Who is in view; bounded by the tracker, which forgets whom it doesn't see.

    Args:
        seed: of which look is drawn.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - draws samples, not secrets
        self._open: dict[int, _Open] = {}

    def frame(self, result: FrameResult) -> dict[int, Values]:
        """Take in a frame; returns the visits that are over with it, by track."""
        persons = result.persons
        if not persons and not self._open:
            return {}
        for person in persons:
            visit = self._open.get(person.track_id)
            if visit is None:
                visit = self._open[person.track_id] = _Open()
            if person.seen:
                visit.sightings += 1
                visit.size = max(visit.size, person.box.size)
            if person.label != UNSURE:
                visit.label = person.label
        for look in (*result.looks, *result.unclear):
            self._open[look.track_id].look(look, self._random.random())
        return self._over({person.track_id for person in persons})

    def forget(self) -> None:
        """Visits that are under way don't count: they weren't seen to their end."""
        self._open.clear()

    def _over(self, present: set[int]) -> dict[int, Values]:
        if len(present) == len(self._open):
            return {}
        gone = {track: self._open.pop(track) for track in self._open.keys() - present}
        return {t: v.values() for t, v in gone.items() if v.sightings >= LEAST_SIGHTINGS}


def bins(values: Values) -> list[tuple[str, int]]:
    """Feature and bin of each value."""
    return [(name, BY_NAME[name].bin(value)) for name, value in values.items()]
