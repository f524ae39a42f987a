"""Network cameras: RTSP, or MJPEG and the like over HTTP, through OpenCV's FFmpeg.

Measured with OpenCV 5.0: without limits a frozen server blocks a read for 90 s; with them, for
three times the value. After any failure the same capture stays dead for ever and still calls
itself opened, so a failed read always means: close, open anew.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from maskedge.camera.capture import LiveCapture
from maskedge.camera.opencv import STREAM_OPTIONS, capture_options, load_cv2
from maskedge.camera.probe import explain
from maskedge.camera.urls import redact, with_password

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.camera.frame import Frame

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
        self._live = LiveCapture(self.name, clock)

    def open(self) -> None:
        """Connect and wait for the stream's description; see the protocol."""
        cv2 = load_cv2()
        capture_options(STREAM_OPTIONS)
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
        self._live.start(capture, lambda: redact(explain(self._url)))

    def read(self) -> Frame:
        """Return the next frame."""
        return self._live.read(
            lambda: "the stream stopped: check the camera, its server and the network"
        )

    def close(self) -> None:
        """Disconnect."""
        self._live.close()
