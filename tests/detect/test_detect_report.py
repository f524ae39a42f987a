"""What is said of judged files."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.detect.judging import JudgedFace, JudgedFrame
from maskedge.detect.report import Sums, VideoStory, clock, sentence
from maskedge.geometry import Box
from maskedge.people.verdict import Decision
from maskedge.pipeline import PersonView

BOX = Box(1, 2, 11, 22)


def person(number, label="unsure"):
    return PersonView(number, BOX, label, 0.9, seen=True, violation=None)


def judged(moment, *persons, decisions=()):
    frame = Frame(np.zeros((48, 64, 3), np.uint8), ChannelOrder.BGR, 0.0)
    faces = tuple(JudgedFace(BOX, 0.9, (0.1, 0.8, 0.1), one) for one in persons)
    return JudgedFrame(frame, faces, moment, decisions)


def decision(kind, **more):
    return Decision(type=kind, key=7, label="without_mask", confidence=0.97, frames=5, agree=5,
                    track_id=1, box=BOX, first_seen=0.0, decided_at=1.0, **more)  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00.0"), (7.34, "0:07.3"), (59.96, "1:00.0"), (3599.99, "1:00:00.0"),
     (3727.3, "1:02:07.3")],
)  # fmt: skip
def test_clock(seconds, shown):
    assert clock(seconds) == shown


def test_sentences():
    assert sentence("a.jpg", judged(None)) == "a.jpg: no face"
    assert sentence("a.jpg", judged(None, None, None)) == (
        "a.jpg: without_mask 80%, without_mask 80%"
    )
    assert sentence("a.mp4", judged(61.5, None)) == "a.mp4 1:01.5: without_mask 80%"


def test_a_story_tells_persons_by_their_last_label_and_violations_with_their_end():
    story = VideoStory()
    story.add(judged(0.0, person(1), None))
    assert story.lines("v.mp4") == ["v.mp4: 1 frame, 0:00.0, 1 person, none told"]
    story.add(judged(1.0, person(1, "without_mask"), decisions=(decision("started"),)))
    assert story.lines("v.mp4") == [
        "v.mp4: 2 frames, 0:01.0, 1 person; told:",
        "  person 1  without_mask 97%  from 0:01.0 to …",
    ]
    end = decision("ended", ended_at=2.0, reason="mask_on")
    story.add(judged(2.0, person(1, "with_mask"), person(2), decisions=(end,)))
    story.add(judged(3.0, person(1)))
    assert story.lines("v.mp4")[1] == (
        "  person 1  without_mask 97%  from 0:01.0 to 0:02.0 (mask on)"
    )
    sums = Sums(faces=Counter(without_mask=1), pictures=1)
    sums.add_story(story)
    assert sums.lines() == [
        "1 picture, 1 video",
        "  with_mask:       0 faces, 1 person, 0 told",
        "  without_mask:    1 face, 0 persons, 1 told",
        "  incorrect_mask:  0 faces, 0 persons, 0 told",
        "  unsure:          1 person",
    ]


def test_sums_of_pictures_speak_of_faces_only():
    assert Sums(pictures=2).lines() == [
        "2 pictures",
        "  with_mask:       0 faces",
        "  without_mask:    0 faces",
        "  incorrect_mask:  0 faces",
    ]
