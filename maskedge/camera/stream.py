"""Network cameras: RTSP, or MJPEG and the like over HTTP, through OpenCV's FFmpeg.

Measured with OpenCV 5.0: without limits a frozen server blocks a read for 90 s; with them, for
three times the value. After any failure the same capture stays dead for ever and still calls
itself opened, so a failed read always means: close, open anew.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.camera.opencv import load_cv2
from maskedge.camera.pixels import three_channels
from maskedge.camera.probe import explain
from maskedge.camera.urls import redact, with_password
from maskedge.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Callable

_OPEN_TIMEOUT_MS = 4000
_STALL_SHARE = 0.3
"""FFmpeg's read limit as a share of our deadline: times three, it ends just before it."""
_MIN_READ_TIMEOUT_MS = 300


class StreamCamera:
    """A camera at a URL.

    A stream sends what it sends: size and frame rate are set in the camera itself.

    Args:
        url: ``rtsp://``, ``rtsps://``, ``http://`` or ``https://``. A user without a password gets
            it from the environment, see :func:`~maskedge.camera.urls.with_password`.
        read_timeout: seconds within which :meth:`read` has given a frame or an error; frames must
            be less than a third of it apart.
        clock: stamps the frames.
    """

    live = True

    def __init__(
        self,
        url: str,
        *,
        read_timeout: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = with_password(url)
        self.name = redact(url)
        self._read_timeout_ms = max(_MIN_READ_TIMEOUT_MS, int(1000 * _STALL_SHARE * read_timeout))
        self._clock = clock
        self._capture: Any = None
        self._number = 0

    def open(self) -> None:
        """Connect and wait for the stream's description; see the protocol."""
        cv2 = load_cv2()
        capture = cv2.VideoCapture(
            self._url,
            cv2.CAP_FFMPEG,
            [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                _OPEN_TIMEOUT_MS,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                self._read_timeout_ms,
            ],
        )
        if not capture.isOpened():
            capture.release()
            raise CameraError(f"{self.name}: {redact(explain(self._url))}")
        self._capture = capture
        self._number = 0

    def read(self) -> Frame:
        """Return the next frame."""
        if self._capture is None:
            raise CameraError(f"{self.name}: not open")
        grabbed = self._capture.grab()
        moment = self._clock()
        ok, picture = self._capture.retrieve() if grabbed else (False, None)
        if not ok:
            raise CameraError(
                f"{self.name}: the stream stopped: check the camera, its server and the network"
            )
        frame = Frame(three_channels(picture, self.name), ChannelOrder.BGR, moment, self._number)
        self._number += 1
        return frame

    def close(self) -> None:
        """Disconnect."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()
