"""What is told of judged files: JSON, CSV or sentences, and sums at the end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskedge.people.verdict import UNSURE
from maskedge.text import printable
from maskedge.vision.base import LABELS

if TYPE_CHECKING:
    from maskedge.detect.judging import JudgedFace, JudgedFrame
    from maskedge.people.verdict import Decision

COLUMNS = ("path", "frame", "time", "person", "x1", "y1", "x2", "y2", "score", "label", *LABELS)
"""Of the CSV: one row for each face."""
ENDINGS = {
    "mask_on": "mask on",
    "label_changed": "label changed",
    "left": "left",
    "shutdown": "the video ended",
}
"""Why a violation was over, in words."""


def json_line(name: str, judged: JudgedFrame) -> str:
    """One picture or frame as one line; docs/detect.md is the contract."""
    video = judged.time is not None
    line: dict[str, Any] = {
        "path": name,
        "frame": judged.frame.number,
        "width": judged.frame.width,
        "height": judged.frame.height,
        "faces": [_face(face, video=video) for face in judged.faces],
    }
    if judged.time is not None:
        line["time"] = round(judged.time, 3)
        line["decisions"] = [_decision(one) for one in judged.decisions]
    return json.dumps(line)


def _face(face: JudgedFace, *, video: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "box": [round(float(edge), 1) for edge in face.box],
        "score": round(face.score, 4),
        "label": face.label,
        "scores": {label: round(p, 4) for label, p in zip(LABELS, face.probabilities, strict=True)},
    }
    if video:
        entry["person"] = None if face.person is None else face.person.track_id
    return entry


def _decision(decision: Decision) -> dict[str, Any]:
    ended = decision.ended_at
    return {
        "type": decision.type,
        "person": decision.track_id,
        "label": decision.label,
        "confidence": round(decision.confidence, 4),
        "first_seen": round(decision.first_seen, 3),
        "decided_at": round(decision.decided_at, 3),
        "ended_at": None if ended is None else round(ended, 3),
        "reason": "video_end" if decision.reason == "shutdown" else decision.reason,
    }


def csv_rows(name: str, judged: JudgedFrame) -> list[tuple[object, ...]]:
    """A row of :data:`COLUMNS` for each face; what isn't known is None."""
    moment = None if judged.time is None else round(judged.time, 3)
    return [
        (
            name,
            judged.frame.number,
            moment,
            None if face.person is None else face.person.track_id,
            *(round(float(edge), 1) for edge in face.box),
            round(face.score, 4),
            face.label,
            *(round(p, 4) for p in face.probabilities),
        )
        for face in judged.faces
    ]


def sentence(name: str, judged: JudgedFrame) -> str:
    """One picture or frame for people."""
    faces = ", ".join(f"{face.label} {face.confidence:.0%}" for face in judged.faces)
    moment = "" if judged.time is None else f" {clock(judged.time)}"
    return f"{printable(name)}{moment}: {faces or 'no face'}"


def clock(seconds: float) -> str:
    """``0:07.3`` or ``1:02:07.3``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    hour = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{hour}:{rest // 10:02}.{rest % 10}"


@dataclass(slots=True)
class VideoStory:
    """What a video has told so far.

    Attributes:
        frames: how many.
        until: time of the last one, seconds.
        persons: the last label that was decided about each.
        told: of each violation, by its key, what is known last: its start or its end.
    """

    frames: int = 0
    until: float = 0.0
    persons: dict[int, str] = field(default_factory=dict)
    told: dict[int, Decision] = field(default_factory=dict)

    def add(self, judged: JudgedFrame) -> None:
        """Take one frame in."""
        self.frames += 1
        self.until = judged.time or 0.0
        for face in judged.faces:
            if face.person is not None:
                number, label = face.person.track_id, face.person.label
                if label != UNSURE or number not in self.persons:
                    self.persons[number] = label
        for decision in judged.decisions:
            self.told[decision.key] = decision

    def lines(self, name: str) -> list[str]:
        """The story for people."""
        head = f"{printable(name)}: {_count(self.frames, 'frame')}, {clock(self.until)}"
        persons = _count(len(self.persons), "person")
        if not self.told:
            return [f"{head}, {persons}, none told"]
        return [f"{head}, {persons}; told:", *map(_told, self.told.values())]


def _told(decision: Decision) -> str:
    ended = decision.ended_at
    end = "…" if ended is None else f"{clock(ended)} ({ENDINGS.get(str(decision.reason))})"
    return (
        f"  person {decision.track_id}  {decision.label} {decision.confidence:.0%}  "
        f"from {clock(decision.decided_at)} to {end}"
    )


@dataclass(slots=True)
class Sums:
    """Over all files."""

    pictures: int = 0
    videos: int = 0
    faces: Counter[str] = field(default_factory=Counter)
    persons: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)

    def add_story(self, story: VideoStory) -> None:
        """Count a video and its persons."""
        self.videos += 1
        self.persons.update(story.persons.values())
        self.told.update(decision.label for decision in story.told.values())

    def lines(self) -> list[str]:
        """One line in all, one for each label."""
        files = [_count(self.pictures, "picture")] if self.pictures or not self.videos else []
        if self.videos:
            files.append(_count(self.videos, "video"))
        labels = (*LABELS, UNSURE) if self.videos else LABELS
        return [", ".join(files), *map(self._line, labels)]

    def _line(self, label: str) -> str:
        if label == UNSURE:
            counts = [_count(self.persons[label], "person")]
        else:
            counts = [_count(self.faces[label], "face")]
            if self.videos:
                counts += [_count(self.persons[label], "person"), f"{self.told[label]} told"]
        return f"  {label + ':':<16} {', '.join(counts)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
