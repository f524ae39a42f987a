"""The live picture: encoded for those who ask, at a bounded rate, in the web's thread only.

One picture per request, each newer than the last one the client has seen: who is slow asks less
often, and nothing waits for them. The pixels are never written anywhere.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2

from maskedge.camera.frame import ChannelOrder
from maskedge.geometry import boxes_array, iou_matrix
from maskedge.web.hub import WATCH

if TYPE_CHECKING:
    from maskedge.config import Config, WebConfig
    from maskedge.geometry import Box
    from maskedge.web.hub import Hub, View

PATIENCE = 10.0
"""Seconds after which a request without a new picture is answered so."""
TICK = 0.04
"""Seconds between two looks for a new frame while somebody waits for one."""
QUALITY = 80
"""Of the JPEG, 0..100."""
SAME = 0.5
"""IoU from which a face and a person are the same."""


class Encoded(NamedTuple):
    """A picture ready to send."""

    number: int
    jpeg: bytes
    description: str
    """JSON in ASCII: what :func:`describe` returns."""


class Pictures:
    """Encodes each frame once, however many ask; used in one event loop.

    The last one is kept for :data:`~maskedge.web.hub.WATCH` seconds after the last request.

    Args:
        hub: where frames come from.
        config: width and rate.
        stopping: set when the server shall end.
    """

    def __init__(self, hub: Hub, config: WebConfig, stopping: asyncio.Event) -> None:
        self._hub = hub
        self._width = config.picture_width
        self._period = 1 / config.picture_fps
        self._stopping = stopping
        self._encoded: Encoded | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._asked = float("-inf")

    async def after(self, number: int) -> Encoded | None:
        """The newest picture that isn't ``number``; None: none came within :data:`PATIENCE`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while loop.time() < deadline and not self._stopping.is_set():
            view = self._hub.watch()
            self._asked = loop.time()
            if view is None:
                self._encoded = None
            elif self._encoded is None or (
                view.number != self._encoded.number and loop.time() >= self._due
            ):
                self._due = loop.time() + self._period
                self._encoded = encode(view, self._width, self._hub.config)
                self._timer = self._timer or loop.call_later(WATCH, self._let_go)
            if self._encoded is not None and self._encoded.number != number:
                return self._encoded
            await asyncio.sleep(TICK)
        return None

    def _let_go(self) -> None:
        """Forget the picture when nobody has asked for a while."""
        loop = asyncio.get_running_loop()
        left = self._asked + WATCH - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._let_go)
        else:
            self._encoded = self._timer = None


def encode(view: View, width: int, config: Config) -> Encoded:
    """The frame as JPEG no wider than ``width``, with its description."""
    pixels = view.frame.pixels
    if view.frame.width > width:
        height = max(1, round(view.frame.height * width / view.frame.width))
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if view.frame.order is ChannelOrder.RGB:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # type: ignore[assignment]
    done, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    description = json.dumps(describe(view, config), separators=(",", ":"))
    return Encoded(view.number, jpeg.tobytes() if done else b"", description)


def describe(view: View, config: Config) -> dict[str, Any]:
    """What the page draws over the picture: boxes relative, 0..1, sizes in the camera's pixels."""
    width, height = view.frame.width, view.frame.height

    def place(box: Box) -> dict[str, Any]:
        relative = [round(edge, 4) for edge in box.relative(width, height)]
        return {"box": relative, "size": round(box.size)}

    return {
        "number": view.number,
        "width": width,
        "height": height,
        "min_face": config.verdict.min_face,
        "ignored": config.tracker.ignore,
        "looked": view.result.looked,
        "persons": [
            {
                **place(person.box),
                "id": person.track_id,
                "label": person.label,
                "confidence": round(person.confidence, 3),
                "seen": person.seen,
                "told": person.violation is not None,
            }
            for person in view.result.persons
        ],
        "faces": [place(box) for box in _strangers(view)],
    }


def _strangers(view: View) -> list[Box]:
    """Faces that belong to no confirmed person."""
    faces = [face.box for face in view.result.faces]
    persons = [person.box for person in view.result.persons]
    if not faces or not persons:
        return faces
    overlaps = iou_matrix(boxes_array(faces), boxes_array(persons)).max(axis=1)
    return [box for box, overlap in zip(faces, overlaps, strict=True) if overlap < SAME]
