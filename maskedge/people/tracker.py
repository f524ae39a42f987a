"""Boxes over frames become persons: a Kalman filter each, and one optimal assignment per frame.

How well a box fits a person is the likelihood of the box under the person's filter, not plain
IoU: at 3 frames a second a passer-by's boxes no longer overlap, and where two persons cross,
speed and size still tell them apart. Sightings below ``start_score`` are matched after the strong
ones and only continue a person, never begin one (Zhang et al., ByteTrack, 2022).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from maskedge.people.assignment import assign
from maskedge.people.kalman import MEASURE_STD, BoxFilter, measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskedge.config import TrackerConfig
    from maskedge.geometry import Box
    from maskedge.people.kalman import Four

_ids = itertools.count(1)

NEWCOMER_COST = 30.0
"""Cost at which a box is rather a new person: a fitting box of a newcomer at 3 fps stays below."""
TENTATIVE_AGE = 0.7
"""Seconds that an unconfirmed track may go unseen: a false box is forgotten soon."""
LOG_JITTER = 2 * sum(map(math.log, MEASURE_STD))
"""Logarithm of the product of a detection's four variances."""


class Track:
    """One person, as far as boxes tell. Times are monotonic seconds, lengths pixels.

    Attributes:
        id: unique in this process.
        first_box: the box of the first sighting.
        detection: the box of the last sighting, as detected.
        score: the detector's score of the last sighting.
        first_seen: time of the first sighting.
        last_seen: time of the last sighting.
        hits: sightings.
        misses: updates since the last sighting; 0 means seen in this one.
        confirmed: seen often enough to count as a person.
    """

    def __init__(self, box: Box, score: float, now: float) -> None:
        self.id = next(_ids)
        self.first_box = self.detection = box
        self.score = score
        self.first_seen = self.last_seen = now
        self.hits = 1
        self.misses = 0
        self.confirmed = False
        self._filter = BoxFilter(box)
        self._time = now

    def __repr__(self) -> str:
        return f"<Track {self.id} at {self.box} hits={self.hits} misses={self.misses}>"

    @property
    def box(self) -> Box:
        """The filtered box; where nobody was seen, where the person should be."""
        return self._filter.box

    @property
    def velocity(self) -> tuple[float, float]:
        """Of the centre, pixels per second (x, y)."""
        return self._filter.velocity

    @property
    def seen(self) -> bool:
        """Whether the last update saw this person."""
        return self.misses == 0

    def predict(self, now: float) -> None:
        """Move the estimate on to ``now``; a step back in time is no time."""
        self._filter.predict(max(0.0, now - self._time))
        self._time = now

    def sight(self, box: Box, score: float, now: float, min_hits: int) -> None:
        """Take ``box`` for this person's."""
        self._filter.update(box)
        self.detection, self.score, self.last_seen = box, score, now
        self.hits += 1
        self.misses = 0
        self.confirmed = self.confirmed or self.hits >= min_hits

    def scale(self, across: float, down: float) -> None:
        """Go over to a picture this many times as wide and high."""
        self.first_box = self.first_box.scaled(across, down)
        self.detection = self.detection.scaled(across, down)
        self._filter.scale(across, down)

    @property
    def centre(self) -> tuple[float, float]:
        """Of :attr:`box`."""
        return self._filter.centre

    def expectation(self) -> tuple[Four, Four]:
        """Mean and variance of the next sighting's measurement."""
        return self._filter.expectation()


class Tracker:
    """All persons in view."""

    def __init__(self, config: TrackerConfig) -> None:
        """``config`` may be replaced between updates by setting :attr:`config`."""
        self.config = config
        self.tracks: list[Track] = []

    def update(
        self,
        boxes: Sequence[Box],
        scores: Sequence[float],
        now: float,
        view: tuple[float, float] | None = None,
    ) -> list[Track]:
        """Take in the faces of one frame.

        Args:
            boxes: pixels; non-finite ones and ones thinner than a pixel are ignored.
            scores: the detector's, one per box.
            now: seconds, monotonic; intervals may vary.
            view: width and height of the picture, pixels: who walked out of it isn't waited for,
                so that the next to come in there isn't taken for the one who left.

        Returns:
            The living tracks, unconfirmed and unseen ones too, oldest first.
        """
        sightings = [
            (box, score)
            for box, score in zip(boxes, scores, strict=True)
            if math.isfinite(sum(box)) and box.x2 - box.x1 >= 1.0 and box.y2 - box.y1 >= 1.0
        ]
        strong = [s for s in sightings if s[1] >= self.config.start_score]
        weak = [s for s in sightings if s[1] < self.config.start_score]
        self.tracks = [track for track in self.tracks if not self._expired(track, now)]
        for track in self.tracks:
            track.predict(now)
            track.misses += 1
        unmatched = self._match(self.tracks, strong, now)
        self._match([track for track in self.tracks if track.misses], weak, now)
        if view is not None:
            self.tracks = [track for track in self.tracks if track.seen or _within(track, view)]
        for box, score in unmatched:
            newcomer = Track(box, score, now)
            newcomer.confirmed = self.config.min_hits <= 1
            self.tracks.append(newcomer)
        return list(self.tracks)

    def _expired(self, track: Track, now: float) -> bool:
        limit = self.config.max_age
        if not track.confirmed:
            limit = min(limit, TENTATIVE_AGE)
        return now - track.last_seen > limit

    def _match(
        self, tracks: list[Track], sightings: list[tuple[Box, float]], now: float
    ) -> list[tuple[Box, float]]:
        """Give sightings to tracks; return those that fit none."""
        if not tracks or not sightings:
            return sightings
        pairs = assign(_gains(tracks, [box for box, _ in sightings], self.config.gate))
        for row, column in pairs:
            tracks[row].sight(*sightings[column], now, self.config.min_hits)
        taken = {column for _, column in pairs}
        return [s for column, s in enumerate(sightings) if column not in taken]


def _within(track: Track, view: tuple[float, float]) -> bool:
    x, y = track.centre
    return 0 <= x <= view[0] and 0 <= y <= view[1]


def _gains(tracks: list[Track], boxes: list[Box], gate: float) -> list[list[float]]:
    """Twice the log-likelihood of each box under each track, above a newcomer's: a row per track.

    0 where the box lies further than ``gate`` standard deviations from what was expected; most
    pairs end there, at the first coordinate.
    """
    measured = [measurement(box) for box in boxes]
    # In face sizes, not pixels, so that near and far faces are compared alike.
    log_areas = [width + height for _, _, width, height in measured]
    limit = gate * gate
    rows = []
    for track in tracks:
        (mean_x, mean_y, mean_width, mean_height), variances = track.expectation()
        var_x, var_y, var_width, var_height = variances
        spread = math.log(var_x * var_y * var_width * var_height) - LOG_JITTER
        row = [0.0] * len(boxes)
        for column, (x, y, width, height) in enumerate(measured):
            distance = (x - mean_x) ** 2 / var_x
            if distance > limit:
                continue
            distance += (y - mean_y) ** 2 / var_y
            distance += (width - mean_width) ** 2 / var_width
            distance += (height - mean_height) ** 2 / var_height
            if distance <= limit:
                gain = NEWCOMER_COST - distance - spread + 2 * log_areas[column]
                row[column] = max(gain, 1e-6)
        rows.append(row)
    return rows
