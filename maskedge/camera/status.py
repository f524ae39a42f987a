"""What the guard says about its camera."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CameraState(StrEnum):
    """Where the camera is in its life."""

    OPENING = "opening"
    STREAMING = "streaming"
    LOST = "lost"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """The camera at one moment.

    Attributes:
        name: without any password.
        state: ``lost`` from the failure until frames come again.
        since: when this state began, by the guard's clock.
        error: why it is lost or failed, else None.
        frames: taken from the camera so far.
        dropped: of these, replaced by a newer one before anybody took them; and those that a
            recording skipped, which aren't among ``frames``.
        reopens: how many times it was opened anew, with or without success.
        fps: measured over two seconds; 0 until then, and unless streaming.
        width: of the newest frame, pixels; 0 before the first.
        height: of the newest frame, pixels.
    """

    name: str
    state: CameraState
    since: float
    error: str | None = None
    frames: int = 0
    dropped: int = 0
    reopens: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
