"""The most doubtful looks at each person, cut out: at most two of a track, however long it stays.

Called in the daemon's loop, so it does little: a look costs some arithmetic, and only one that is
more doubtful than those before it is cut out. What is held is bounded by :data:`TRACKS`.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder
from maskedge.geometry import Box, boxes_array, iou_matrix
from maskedge.people.verdict import UNSURE
from maskedge.review.record import Record
from maskedge.vision.base import LABELS
from maskedge.vision.likeness import picture_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.events import Models
    from maskedge.pipeline import FrameResult, Look

FLOOR = 0.3
"""Least doubt of a face that is kept: the best label leads the second by less than 0.7."""
CONTRADICTION = 0.75
"""What it weighs that a look, sure of itself, says other than what was decided of the person: one
of them is wrong, or the person has just put the mask on or off."""
GAIN = 0.05
"""Doubt by which a look must exceed the same person's earlier one to replace it."""
PER_TRACK = 2
"""Faces kept of a person: the most doubtful, and one that was taken for something else."""
TRACKS = 24
"""Most persons of whom something is held at once; of others nothing is kept."""
PATIENCE = 30.0
"""Seconds after the first doubtful look until the best are handed on, though the person stays."""
MARGIN = 0.5
"""Picture kept around the face on each side, in face sizes: what training cuts out and turns."""
MAX_SIDE = 256
"""Longest edge of a kept picture, pixels."""
SAME = 0.5
"""IoU from which two boxes are the same face."""
MOSTLY = 0.5
"""Least part of another face within the kept picture that makes it worth noting."""


class Cut(NamedTuple):
    """A face cut out: what is known of it, and its picture, uint8 (height, width, 3), BGR."""

    record: Record
    pixels: NDArray[np.uint8]


def doubt(scores: Sequence[float], decided: str) -> float:
    """How little a look is to be trusted, 0..1.

    Args:
        scores: calibrated probabilities in the order of ``LABELS``.
        decided: what is decided of the person, or ``unsure``.

    Returns:
        1 minus the margin between the two most probable labels (Scheffer et al., "Active hidden
        Markov models for information extraction", 2001); or, if that is more, the probability that
        what was decided is wrong, times :data:`CONTRADICTION`.
    """
    second, first = sorted(scores)[-2:]
    torn = 1.0 - (first - second)
    if decided == UNSURE:
        return torn
    return max(torn, CONTRADICTION * (1.0 - scores[LABELS.index(decided)]))


class _Moment(NamedTuple):
    """What one frame has brought; ``now`` on the steady time line, ``offset`` to wall time."""

    frame: Frame
    result: FrameResult
    now: float
    offset: float
    models: Models


@dataclass
class _Person:
    since: float
    best: dict[str, Cut] = field(default_factory=dict)

    def cuts(self) -> list[Cut]:
        """The best, numbered, the most doubtful first."""
        best = sorted(self.best.values(), key=lambda cut: -cut.record.doubt)
        return [
            Cut(cut.record.model_copy(update={"number": number}), cut.pixels)
            for number, cut in enumerate(best, 1)
        ]


class Candidates:
    """Follows the persons in view; not thread-safe."""

    def __init__(self) -> None:
        # Chance, not the boot's or the device's identity: a face shall not lead to an event.
        self._run = secrets.token_hex(4)
        self._persons: dict[int, _Person] = {}
        self._done: set[int] = set()

    def note(
        self, frame: Frame, result: FrameResult, now: float, offset: float, models: Models
    ) -> list[Cut]:
        """Take in what a frame brought.

        Args:
            frame: the picture.
            result: what was seen in it.
            now: its moment, seconds on the steady time line.
            offset: seconds from there to wall time.
            models: what judged.

        Returns:
            The faces of those who have left, or stayed long enough.
        """
        moment = _Moment(frame, result, now, offset, models)
        decided = {person.track_id: person.label for person in result.persons}
        for look in result.looks:
            self._look(moment, look, decided.get(look.track_id, UNSURE))
        ready = [
            track
            for track, person in self._persons.items()
            if track not in decided or now - person.since > PATIENCE
        ]
        cuts = [cut for track in ready for cut in self._persons.pop(track).cuts()]
        self._done = (self._done | set(ready)) & decided.keys()
        return cuts

    def flush(self) -> list[Cut]:
        """Everything held, because nobody watches any more."""
        cuts = [cut for person in self._persons.values() for cut in person.cuts()]
        self._done |= self._persons.keys()
        self._persons.clear()
        return cuts

    def _look(self, moment: _Moment, look: Look, decided: str) -> None:
        amount = doubt(look.scores, decided)
        if amount < FLOOR or look.track_id in self._done:
            return
        if look.track_id not in self._persons and len(self._persons) >= TRACKS:
            return
        best = self._persons.setdefault(look.track_id, _Person(moment.now)).best
        guess = LABELS[int(np.argmax(look.scores))]
        weakest = min(best.values(), key=lambda cut: cut.record.doubt, default=None)
        rival = best.get(guess) or (weakest if len(best) >= PER_TRACK else None)
        if rival is not None:
            if amount <= rival.record.doubt + GAIN:
                return
            del best[rival.record.guess]
        best[guess] = self._cut(moment, look, decided, amount)

    def _cut(self, moment: _Moment, look: Look, decided: str, amount: float) -> Cut:
        frame = moment.frame
        view = _surroundings(look.box, frame.width, frame.height)
        pixels, scale = _cut_out(frame, view)
        height, width = pixels.shape[:2]

        def within(box: Box) -> Box:
            moved = Box(box.x1 - view.x1, box.y1 - view.y1, box.x2 - view.x1, box.y2 - view.y1)
            inside = moved.scaled(scale, scale).clipped(width, height)
            return Box(*(round(edge, 1) for edge in inside))

        box = within(look.box)
        x1, y1 = math.floor(box.x1), math.floor(box.y1)
        face = pixels[y1 : math.ceil(box.y2), x1 : math.ceil(box.x2)]
        others = _others([found.box for found in moment.result.faces], look.box)
        record = Record(
            time=datetime.fromtimestamp(round(moment.now + moment.offset, 3), UTC),
            track=f"{self._run}-{look.track_id}",
            number=1,
            width=width,
            height=height,
            box=box,
            others=tuple(within(b) for b in others if _inside(b, view) >= MOSTLY),
            scores=_rounded(look.scores),
            decided=decided,
            doubt=round(amount, 4),
            found=round(look.score, 4),
            size=round(look.quality.size, 1),
            sharpness=round(look.quality.sharpness, 1),
            inside=round(look.quality.inside, 3),
            likeness=f"{picture_hash(face):016x}",
            model=moment.models,
        )
        return Cut(record, pixels)


def _rounded(scores: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = (round(min(max(score, 0.0), 1.0), 4) for score in scores)
    return first, second, third


def _surroundings(box: Box, width: int, height: int) -> Box:
    """The face with its margin, in whole pixels of the picture."""
    margin = MARGIN * box.size
    wide = Box(box.x1 - margin, box.y1 - margin, box.x2 + margin, box.y2 + margin)
    x1, y1, x2, y2 = wide.clipped(width, height)
    return Box(math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2))


def _cut_out(frame: Frame, view: Box) -> tuple[NDArray[np.uint8], float]:
    """The pixels of a part of the picture, BGR, no longer than MAX_SIDE, and their scale."""
    x1, y1, x2, y2 = (int(edge) for edge in view)
    part: NDArray[Any] = frame.pixels[y1:y2, x1:x2]
    scale = min(1.0, MAX_SIDE / view.size)
    if scale < 1.0:
        shape = (max(1, round(view.width * scale)), max(1, round(view.height * scale)))
        part = cv2.resize(part, shape, interpolation=cv2.INTER_AREA)
    if frame.order is ChannelOrder.RGB:
        part = part[..., ::-1]
    return np.array(part, np.uint8, order="C"), scale


def _others(faces: list[Box], own: Box) -> list[Box]:
    if not faces:
        return []
    overlaps = iou_matrix(boxes_array(faces), boxes_array([own]))[:, 0]
    return [box for box, overlap in zip(faces, overlaps, strict=True) if overlap < SAME]


def _inside(box: Box, view: Box) -> float:
    """The part of a box that lies within another."""
    x1, y1 = max(box.x1, view.x1), max(box.y1, view.y1)
    common = Box(x1, y1, min(box.x2, view.x2), min(box.y2, view.y2))
    return common.area / box.area if box.area > 0 else 0.0
