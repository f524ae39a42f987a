"""Faces of a picture; of a video also who is who, and about whom the daemon would have told.

A video goes through the daemon's own pipeline in the video's own time. Two things differ from
the daemon: no frame is left out, by the motion gate or for lack of time, and every face is
classified in every frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from maskedge.errors import InputError
from maskedge.pipeline import Pipeline
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.config import Config
    from maskedge.geometry import Box
    from maskedge.people.verdict import Decision
    from maskedge.pipeline import PersonView
    from maskedge.vision.base import Face
    from maskedge.vision.system import Vision


@dataclass(frozen=True, slots=True)
class JudgedFace:
    """One face of one frame.

    Attributes:
        box: pixels.
        score: the detector's, 0..1.
        probabilities: calibrated, in the order of ``LABELS``.
        person: whose it is, with that person's label so far; None in pictures, and in videos
            until somebody has been seen often enough.
    """

    box: Box
    score: float
    probabilities: tuple[float, ...]
    person: PersonView | None = None

    @property
    def label(self) -> str:
        """The likeliest in this frame alone."""
        return LABELS[self.probabilities.index(self.confidence)]

    @property
    def confidence(self) -> float:
        """Probability of :attr:`label`."""
        return max(self.probabilities)


@dataclass(frozen=True, slots=True)
class JudgedFrame:
    """One picture, or one frame of a video.

    Attributes:
        frame: as read.
        faces: best score first.
        time: seconds from the beginning of the video; None for a picture.
        decisions: what the daemon would tell now; boxes 0..1, times of the video, persons
            (``track_id``) counted from 1 in each video.
    """

    frame: Frame
    faces: tuple[JudgedFace, ...]
    time: float | None = None
    decisions: tuple[Decision, ...] = ()


class Recognizer:
    """The networks' answers for one frame at a time; also a pipeline's detector and classifier.

    The pipeline asks for the faces of the same frame again: it gets what is known already.
    """

    def __init__(self, vision: Vision) -> None:
        self._vision = vision
        self.min_face = vision.detector.min_face
        self.max_faces = vision.detector.max_faces
        self._faces: list[Face] = []
        self._rows: dict[Box, NDArray[np.float32]] = {}

    def look(self, frame: Frame) -> tuple[JudgedFace, ...]:
        """Find and judge every face.

        Raises:
            AcceleratorError: a network failed.
        """
        self._faces = self._vision.detector.detect(frame)
        boxes = [face.box for face in self._faces]
        rows = self._vision.classifier.classify(frame, boxes)
        self._rows = dict(zip(boxes, rows, strict=True))
        return tuple(
            JudgedFace(face.box, float(face.score), tuple(row.tolist()))
            for face, row in zip(self._faces, rows, strict=True)
        )

    def shrunk(self, frame: Frame) -> Frame:
        """The frame itself: there is no motion gate that would ask."""
        return frame

    def detect(self, frame: Frame) -> list[Face]:  # noqa: ARG002 - the one that was looked at
        """The faces of the frame last looked at."""
        return self._faces

    def classify(self, frame: Frame, boxes: Sequence[Box]) -> NDArray[np.float32]:  # noqa: ARG002
        """Probabilities, float32 (len(boxes), 3), of faces of the frame last looked at."""
        return np.stack([self._rows[box] for box in boxes])


def judge_pictures(frames: Iterable[Frame], vision: Vision) -> Iterator[JudgedFrame]:
    """Each picture by itself.

    Raises:
        AcceleratorError: a network failed.
    """
    recognizer = Recognizer(vision)
    for frame in frames:
        yield JudgedFrame(frame, recognizer.look(frame))


def judge_video(frames: Iterable[Frame], vision: Vision, config: Config) -> Iterator[JudgedFrame]:
    """A video's frames, each told when the next one is known, the last one with the ends.

    Args:
        frames: in their order, with the video's own times.
        vision: networks and quality measure.
        config: thresholds of tracker and verdict.

    Raises:
        AcceleratorError: a network failed.
        InputError: reading failed; raised after what was read.
    """
    recognizer = Recognizer(vision)
    pipeline = Pipeline(recognizer, recognizer, vision.assess, None, config)
    numbers: dict[int, int] = {}

    def numbered(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
        return tuple(replace(one, track_id=numbers[one.track_id]) for one in decisions)

    held: JudgedFrame | None = None
    problem: InputError | None = None
    try:
        for frame in frames:
            faces = recognizer.look(frame)
            result = pipeline.process(frame, frame.time)
            persons: dict[Box, PersonView] = {}
            for person in result.persons:
                number = numbers.setdefault(person.track_id, len(numbers) + 1)
                if person.seen:
                    persons[person.box] = replace(person, track_id=number)
            if held is not None:
                yield held
            held = JudgedFrame(
                frame,
                tuple(replace(face, person=persons.get(face.box)) for face in faces),
                frame.time,
                numbered(result.decisions),
            )
    except InputError as error:  # the video is cut off: what was seen counts all the same
        problem = error
    if held is not None:
        ends = numbered(pipeline.flush(held.frame.time))
        yield replace(held, decisions=held.decisions + ends)
    if problem is not None:
        raise problem
