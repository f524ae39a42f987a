"""Cameras of the kernel's V4L2: USB webcams and capture sticks, read by OpenCV.

A webcam shows up as several ``/dev/videoN``, of which one captures; a Pi adds a dozen for codecs
and its image processor. ``VIDIOC_QUERYCAP`` (linux/videodev2.h) tells them apart without starting
anything.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge.camera.capture import LiveCapture
from maskedge.camera.opencv import load_cv2
from maskedge.camera.pixels import AskedSize
from maskedge.errors import CameraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskedge.camera.frame import Frame

DEV = Path("/dev")

_CAPABILITY = struct.Struct("16s32s32sIII12x")
_VIDIOC_QUERYCAP = 2 << 30 | _CAPABILITY.size << 16 | ord("V") << 8 | 0  # _IOR('V', 0, ...)
_VIDEO_CAPTURE = 0x0000_0001
_VIDEO_CAPTURE_MPLANE = 0x0000_1000
_HAS_DEVICE_CAPS = 0x8000_0000
_RAW_DRIVERS = frozenset({"unicam", "rp1-cfe", "bcm2835-isp", "pispbe", "bcm2835-codec"})
"""The Pi's own camera pipeline: its nodes give raw sensor data, which only libcamera develops."""

_RAW_BANDWIDTH = 640 * 480
"""Pixels above which JPEG is asked for: uncompressed, USB 2 carries few frames a second."""


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """What the kernel says about one video node.

    Attributes:
        path: the node.
        card: the product's name.
        driver: of the kernel.
        captures: it hands out pictures, and such that OpenCV can use.
    """

    path: Path
    card: str
    driver: str
    captures: bool


def query(path: Path) -> VideoDevice | None:
    """Ask a node what it is; None if it isn't V4L2.

    Raises:
        OSError: the node is absent or may not be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    answer = bytearray(_CAPABILITY.size)
    try:
        fcntl.ioctl(descriptor, _VIDIOC_QUERYCAP, answer)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return parse_capability(path, bytes(answer))


def parse_capability(path: Path, answer: bytes) -> VideoDevice:
    """Read a ``struct v4l2_capability``.

    ``device_caps`` describe this node, ``capabilities`` the whole device: a webcam's metadata node
    differs only in the former.
    """
    driver, card, _, _, whole, node = _CAPABILITY.unpack(answer)
    flags = node if whole & _HAS_DEVICE_CAPS else whole
    names = [raw.split(b"\0")[0].decode(errors="replace") for raw in (driver, card)]
    captures = bool(flags & (_VIDEO_CAPTURE | _VIDEO_CAPTURE_MPLANE))
    return VideoDevice(path, names[1], names[0], captures and names[0] not in _RAW_DRIVERS)


def find_devices(folder: Path = DEV) -> list[VideoDevice]:
    """All V4L2 nodes that may be opened, in the order of their numbers."""
    nodes = [path for path in folder.glob("video*") if re.fullmatch(r"video\d+", path.name)]
    found = []
    for path in sorted(nodes, key=lambda node: int(node.name.removeprefix("video"))):
        try:
            device = query(path)
        except OSError:
            continue
        if device is not None:
            found.append(device)
    return found


class V4L2Camera:
    """A camera at a V4L2 node.

    Args:
        device: path (``/dev/video0``; ``/dev/v4l/by-id/...`` stays the same after replugging into
            another port) or number.
        width: asked for, pixels.
        height: asked for, pixels.
        fps: asked for.
        clock: stamps the frames.
    """

    live = True

    def __init__(
        self,
        device: str | int = 0,
        *,
        width: int = 640,
        height: int = 480,
        fps: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        text = str(device)
        self._path = DEV / f"video{text}" if text.isdecimal() else Path(text)
        self.name = str(self._path)
        self._size = (width, height)
        self._fps = fps
        self._asked = AskedSize(width, height)
        self._live = LiveCapture(self.name, clock)

    def open(self) -> None:
        """Claim and configure the device; see :class:`~maskedge.camera.frame.Camera`."""
        self._check()
        cv2 = load_cv2()
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_V4L2)
        self._live.start(
            capture,
            lambda: f"can't be started: another program may use it (see `fuser -v {self.name}`)",
        )
        width, height = self._size
        if width * height > _RAW_BANDWIDTH:  # the format comes before the size that it allows
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        capture.set(cv2.CAP_PROP_FPS, self._fps)

    def read(self) -> Frame:
        """Return the next frame."""
        frame = self._live.read(self._stopped)
        self._asked.compare(frame.pixels, self.name)
        return frame

    def _stopped(self) -> str:
        gone = "" if self._path.exists() else ", it was unplugged"
        return f"gave no frame{gone}: check its cable and power"

    def close(self) -> None:
        """Let go of the device."""
        self._live.close()

    def _check(self) -> None:
        """Say what OpenCV wouldn't: why this node can't be a camera."""
        try:
            device = query(self._path)
        except FileNotFoundError as error:
            raise CameraError(
                f"{self.name}: no such device: plug the camera in, or choose one that "
                "`ls /dev/v4l/by-id` lists"
            ) from error
        except PermissionError as error:
            raise CameraError(
                f"{self.name}: no permission: add this user to the group `video`"
            ) from error
        except OSError as error:
            raise CameraError(f"{self.name}: can't be opened: {error.strerror}") from error
        if device is None:
            raise CameraError(f"{self.name}: is no V4L2 device: choose a /dev/videoN")
        if device.driver in _RAW_DRIVERS:
            raise CameraError(
                f"{self.name}: belongs to the Pi's own camera ({device.driver}): use source: "
                "picamera"
            )
        if not device.captures:
            raise CameraError(
                f"{self.name}: gives no pictures (a node for metadata, output or codec): choose "
                "another /dev/videoN"
            )
