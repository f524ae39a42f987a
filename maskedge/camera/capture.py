"""A live camera that OpenCV has opened: its frames, numbered and stamped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.camera.pixels import three_channels
from maskedge.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Callable


class LiveCapture:
    """What every source behind a ``cv2.VideoCapture`` does with it once it is open.

    Args:
        name: the camera, for messages.
        clock: stamps the frames when they are grabbed, before they are decoded.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock
        self._capture: Any = None
        self._number = 0

    def start(self, capture: Any, refused: Callable[[], str]) -> None:
        """Take over a capture.

        Args:
            capture: just made.
            refused: says why it isn't open, and the cure.

        Raises:
            CameraError: it isn't open.
        """
        if not capture.isOpened():
            capture.release()
            raise CameraError(f"{self._name}: {refused()}")
        self._capture = capture
        self._number = 0

    def read(self, stopped: Callable[[], str]) -> Frame:
        """Return the next frame, BGR.

        Args:
            stopped: says why there is none any more, and the cure.

        Raises:
            CameraError: not open, or no frame came.
        """
        if self._capture is None:
            raise CameraError(f"{self._name}: not open")
        grabbed = self._capture.grab()
        moment = self._clock()
        ok, picture = self._capture.retrieve() if grabbed else (False, None)
        if not ok:
            raise CameraError(f"{self._name}: {stopped()}")
        frame = Frame(three_channels(picture, self._name), ChannelOrder.BGR, moment, self._number)
        self._number += 1
        return frame

    def close(self) -> None:
        """Let go of it; may be repeated."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()
