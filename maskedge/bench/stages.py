"""Each stage of a frame by itself, from the camera's bytes to the event on the disk."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from maskedge.bench.clock import measure
from maskedge.bench.pictures import crowd
from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.config import MotionConfig
from maskedge.delivery.outbox import Outbox
from maskedge.events import EventBuilder, Votes
from maskedge.people.tracker import Tracker
from maskedge.people.verdict import Judge
from maskedge.vision.letterbox import Letterbox
from maskedge.vision.motion import MotionGate

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.bench.whole import Bench

FACES = 4
STEP = 0.1
"""Seconds of media time between frames: a camera at 10 fps."""
DISK = Path("/var/tmp")  # noqa: S108 - a folder of our own in it; /tmp may be memory
JPEG_QUALITY = 80


def stages(bench: Bench, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """Milliseconds of each stage with four faces in view.

    ``jpeg`` is what a camera costs that sends Motion-JPEG; ``quality``, ``crop`` and ``classify``
    are told for one face, ``store`` for one event, durable on the disk.
    """
    width, height = size
    vision, detector = bench.vision(size), bench.detector(size)
    pixels = crowd(width, height, FACES)[..., ::-1].copy()
    frame = Frame(pixels, ChannelOrder.BGR, 0.0)
    faces = detector.detect(frame)
    network = detector.network_for(height, width)
    outputs = network.invoke()
    _, rows, columns, _ = network.input_spec.shape
    letterbox = Letterbox(rows, columns)
    small = detector.shrunk(frame)
    small = Frame(small.pixels.copy(), small.order, 0.0)
    boxes, scores = [face.box for face in faces], [face.score for face in faces]
    gate, tracker = MotionGate(MotionConfig()), Tracker(bench.config.tracker)
    judge = Judge(bench.config.verdict)
    clock = (STEP * number for number in itertools.count())
    _, coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    works: dict[str, Callable[[], object]] = {
        "jpeg": lambda: cv2.imdecode(coded, cv2.IMREAD_COLOR),
        "shrink": lambda: letterbox.write(frame, network.picture),
        "motion": lambda: gate.moved(small, next(clock)),
        "detect": network.invoke,
        "decode_nms": lambda: detector.decode(outputs, (height, width)),
        "track": lambda: tracker.update(boxes, scores, next(clock), size),
        "quality": lambda: vision.assess(frame, boxes[0]),
        "crop": lambda: vision.classifier.show(frame, boxes[0]),
        "classify": vision.classifier.network.invoke,
        "decide": lambda: judge.update(tracker.tracks, next(clock), size),
    }
    took = measure(seconds, *works.values())
    return {
        "width": width,
        "height": height,
        "faces": len(faces),
        "input": str(detector.sizes[-1]),
        **{name: round(timing.cpu_p50, 4) for name, timing in zip(works, took, strict=True)},
        "store": store(bench, seconds),
    }


def store(bench: Bench, seconds: float) -> float:
    """Milliseconds by the wall clock until an event is on the disk."""
    builder = EventBuilder("bench", "bench", bench.vision((640, 480)).models)
    folder = DISK if DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="maskedge-bench-", dir=folder) as name:
        outbox = Outbox(Path(name) / "outbox.db")

        def put() -> None:
            event = builder.started(
                label="without_mask",
                confidence=0.9,
                votes=Votes(9, 8),
                track_id=1,
                box=bench.somewhere,
                first_seen=time.monotonic(),
                decided_at=time.monotonic(),
            )
            outbox.put(event)

        (took,) = measure(seconds, put)
        outbox.close()
    return round(took.p50, 3)
