"""Kept faces for tests: records, pictures, folders, and frames with looks in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.events import Models
from maskedge.geometry import Box
from maskedge.people.verdict import UNSURE
from maskedge.pipeline import FrameResult, Look, PersonView
from maskedge.review.folder import ReviewFolder
from maskedge.review.record import Record
from maskedge.scene import Visit, Wearing, draw, hall
from maskedge.trial import ClearQuality
from maskedge.vision.base import Face

MODELS = Models("0123456789ab", "ba9876543210")
MOMENT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def record(number=1, /, *, track=None, **changes):
    """A face of track ``track`` (else of a track of its own), one minute later each."""
    values = {
        "time": MOMENT + timedelta(minutes=number),
        "track": f"0a1b2c3d-{number if track is None else track}",
        "number": 1,
        "width": 120,
        "height": 120,
        "box": Box(30, 30, 90, 90),
        "scores": (0.5, 0.3, 0.2),
        "decided": UNSURE,
        "doubt": 0.8,
        "found": 0.9,
        "size": 60.0,
        "sharpness": 30.0,
        "inside": 1.0,
        "likeness": f"{number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF:016x}",
        "model": MODELS,
    }
    return Record(**{**values, **changes})


@cache
def _head(wearing, width):
    picture = draw(hall(640, 480), Visit(wearing), 0.5)[..., ::-1]
    face = np.ascontiguousarray(picture[70:220, 220:370])
    return cv2.resize(face, (width, width), interpolation=cv2.INTER_AREA)


def portrait(wearing=Wearing.BARE, width=120, seed=None):
    """A drawn person's head, BGR; with a seed, in noise of its own."""
    picture = _head(wearing, width)
    if seed is not None:
        noise = np.random.default_rng(seed).integers(-20, 20, (8, 8, 3)).astype(np.float32)
        picture = picture + cv2.resize(noise, (width, width), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


def jpeg(pixels):
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def pattern(seed):
    """A picture like no other."""
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    return cv2.resize(noise, (120, 120), interpolation=cv2.INTER_CUBIC)


def fill(path, records, picture=lambda seed: portrait(seed=seed)):
    """A folder with these faces; the pictures differ."""
    folder = ReviewFolder(path)
    for seed, one in enumerate(records):
        folder.keep(one, jpeg(picture(seed)))
    return folder


def frame(pixels=None, order=ChannelOrder.BGR):
    pixels = np.full((480, 640, 3), 128, np.uint8) if pixels is None else pixels
    return Frame(pixels, order, 0.0)


def seen(*looks, gone=(), faces=()):
    """What the pipeline tells of persons: each look (track, scores, box, decided)."""
    made, persons = [], []
    for track, scores, box, decided in looks:
        made.append(Look(track, box, 0.9, ClearQuality(box.size), 1.0, tuple(scores)))
        persons.append(PersonView(track, box, decided, 0.9, seen=True, violation=None))
    found = (*(Face(look.box, 0.9) for look in made), *(Face(box, 0.8) for box in faces))
    persons = tuple(person for person in persons if person.track_id not in gone)
    return FrameResult(faces=found, persons=persons, looked=True, looks=tuple(made))
