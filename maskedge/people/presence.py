"""Where and when somebody was seen, and whether a newcomer is somebody lost a moment ago."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskedge.geometry import boxes_array, iou_matrix

if TYPE_CHECKING:
    from maskedge.geometry import Box
    from maskedge.people.tracker import Track

REACH = 1.0
"""Face sizes that somebody may turn up away from where expected, at once and per second more."""
REACH_MAX = 3.0
"""Most face sizes, however long the gap."""
COAST = 1.0
"""Seconds for which somebody unseen is believed to go on at the last speed."""
SLIP_WITHIN = 0.5
"""Seconds after the last sighting of one track in which another may slip into its place."""
SLIP_OVERLAP = 0.5
"""Least overlap (IoU) of the two faces then."""
SIZE_RATIO = 1.7
"""Most that a face may have grown or shrunk while unseen."""
AMBLE = 0.5
"""Face sizes per second below which somebody isn't walking out of or into the picture."""


@dataclass(slots=True)
class Presence:
    """The first and the last sighting of a person. Pixels, monotonic seconds.

    Attributes:
        track_id: the track that saw it.
        first_box: where it appeared.
        first_seen: when it appeared.
        box: the last sighting.
        velocity: of the centre at the last sighting, pixels per second.
        last_seen: when that was.
    """

    track_id: int
    first_box: Box
    first_seen: float
    box: Box
    velocity: tuple[float, float]
    last_seen: float

    @classmethod
    def of(cls, track: Track) -> Presence:
        """The presence of a track just confirmed."""
        return cls(
            track.id,
            track.first_box,
            track.first_seen,
            track.detection,
            track.velocity,
            track.last_seen,
        )

    def follow(self, track: Track) -> None:
        """Note a sighting, if the track's last update was one."""
        if track.seen:
            self.box, self.velocity, self.last_seen = (
                track.detection,
                track.velocity,
                track.last_seen,
            )

    def scale(self, across: float, down: float) -> None:
        """Go over to a picture this many times as wide and high."""
        self.first_box = self.first_box.scaled(across, down)
        self.box = self.box.scaled(across, down)
        self.velocity = self.velocity[0] * across, self.velocity[1] * down

    def way_in(self) -> tuple[float, float]:
        """Mean velocity since the first sighting, pixels per second."""
        seconds = self.last_seen - self.first_seen
        if seconds <= 0:
            return 0.0, 0.0
        (x, y), (u, v) = self.first_box.centre, self.box.centre
        return (u - x) / seconds, (v - y) / seconds


def same_person(
    lost: Presence, newcomer: Presence, view: tuple[float, float] | None = None
) -> bool:
    """Whether ``newcomer`` may be ``lost``, found again.

    Two who were in view at the same moment are two persons; who left over an edge isn't lost, and
    who came in over one wasn't there; the rest is a matter of distance, time and size.
    """
    gap = newcomer.first_seen - lost.last_seen
    if gap <= 0:
        return False
    coast = min(gap, COAST)
    if view is not None:
        in_x, in_y = newcomer.way_in()
        if _over_edge(lost.box, lost.velocity, coast, view) or _over_edge(
            newcomer.first_box, (-in_x, -in_y), coast, view
        ):
            return False
    small, large = sorted((lost.box.size, newcomer.first_box.size))
    if large > SIZE_RATIO * small:
        return False
    reach = large * min(REACH * (1 + gap), REACH_MAX)
    return _distance(lost, newcomer.first_box.centre, coast) <= reach


def _over_edge(
    box: Box, velocity: tuple[float, float], seconds: float, view: tuple[float, float]
) -> bool:
    """Whether a face moving on from ``box`` crosses an edge of ``view`` (width, height)."""
    (x, y), (vx, vy) = box.centre, velocity
    if math.hypot(vx, vy) < AMBLE * box.size:
        return False
    x, y = x + vx * seconds, y + vy * seconds
    half_width, half_height = box.width / 2, box.height / 2
    return not (half_width < x < view[0] - half_width and half_height < y < view[1] - half_height)


def took_place(lost: Presence, other: Presence, now: float) -> bool:
    """Whether the track ``other`` has slipped onto the face that ``lost`` followed a moment ago.

    Unlike :func:`same_person` it may be older: in a crowd, a track of somebody hidden can be given
    the next sighting of a neighbour.
    """
    if not 0 < now - lost.last_seen <= SLIP_WITHIN:
        return False
    overlap = iou_matrix(boxes_array([lost.box]), boxes_array([other.box]))
    return bool(overlap[0, 0] >= SLIP_OVERLAP)


def _distance(lost: Presence, point: tuple[float, float], coast: float) -> float:
    """From ``point`` to the nearest place on the way that ``lost`` may have gone."""
    x, y = lost.box.centre
    dx, dy = lost.velocity[0] * coast, lost.velocity[1] * coast
    length = dx * dx + dy * dy
    along = 0.0
    if length > 0:
        along = min(1.0, max(0.0, ((point[0] - x) * dx + (point[1] - y) * dy) / length))
    return math.hypot(point[0] - x - along * dx, point[1] - y - along * dy)
