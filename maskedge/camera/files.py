"""Recordings as cameras: a video file, a picture, a folder of pictures.

A frame's time is the media's own, so that a recording gives the same events however fast it is
read. With ``realtime`` it is played at its own speed and, like a live camera, drops what nobody
could take; without, every frame is handed over.
"""

from __future__ import annotations

import difflib
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.camera.frame import ChannelOrder, Frame
from maskedge.camera.opencv import FILE_OPTIONS, capture_options, load_cv2, opencv_path
from maskedge.camera.pace import Pace
from maskedge.camera.pixels import three_channels
from maskedge.errors import CameraError, EndOfStream, InputError
from maskedge.paths import from_home, present

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from maskedge.camera.frame import Camera

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"}
)

_DEFAULT_FPS = 25.0
_TRUNCATED_BELOW = 0.9
"""Share of the announced frames; below, the file is cut off. Announcements are never exact."""

_JPEG_START = b"\xff\xd8"
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_JPEG_END = 0xD9

_MOST_SKIPPED = 10
"""Frames left out in one read to catch up; with more, a slow machine would show nothing at all."""


def open_files(
    path: Path | str, *, realtime: bool = False, loop: bool = False, fps: float = 10.0
) -> Camera:
    """The recording at a path as a camera, not opened yet.

    Args:
        path: a video, a picture or a folder of pictures.
        realtime: play it at its own speed (``live``), else hand over every frame.
        loop: begin again at the end; media time runs on.
        fps: pictures per second of a folder.

    Raises:
        InputError: there is nothing at this path, nobody can tell, or a folder without pictures.
    """
    path = from_home(Path(path))
    if not present(path):
        raise InputError(f"{path}: no such file or folder{nearest(path)}")
    if path.is_dir():
        return PictureFiles(path, _pictures(path), realtime=realtime, loop=loop, fps=fps)
    suffix = path.suffix.lower()
    if suffix in PICTURE_SUFFIXES or (suffix not in VIDEO_SUFFIXES and _is_picture(path)):
        return PictureFiles(path, [path], realtime=realtime, loop=loop, fps=fps)
    return VideoFile(path, realtime=realtime, loop=loop)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Decode one picture: uint8 (height, width, 3), BGR, turned upright by its EXIF.

    Raises:
        InputError: it can't be read, is empty, cut off or no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    if not data:
        raise InputError(f"{path}: the file is empty (0 bytes)")
    if data.startswith(_JPEG_START) and not _jpeg_is_whole(data):
        raise InputError(f"{path}: the JPEG is cut off or damaged; copy it again")
    cv2 = load_cv2()
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # larger than OpenCV's limit on pixels
        picture = None
    if picture is None:
        raise InputError(f"{path}: is no picture that can be decoded, or it is damaged")
    return three_channels(picture, str(path))


class VideoFile:
    """A video.

    Args:
        path: the file.
        realtime: play it at its own speed.
        loop: begin again at its end.
        pace: the clock it is played by.
    """

    def __init__(
        self, path: Path, *, realtime: bool = False, loop: bool = False, pace: Pace | None = None
    ) -> None:
        self.name = str(path)
        self.live = realtime
        self._path = path
        self._loop = loop
        self._pace = pace or Pace()
        self._capture: Any = None
        self._period = 1 / _DEFAULT_FPS
        self._offset = 0.0
        self._time = -1.0
        self._number = 0
        self._in_this_round = 0
        self._grabbed = False

    @property
    def fps(self) -> float:
        """Frames a second on average, as the opened file says, or a usual figure if it doesn't."""
        return 1 / self._period

    @property
    def length(self) -> int:
        """Frames that the opened file announces; never exact, 0 where it doesn't."""
        if self._capture is None:
            return 0
        announced = self._capture.get(load_cv2().CAP_PROP_FRAME_COUNT)
        return round(announced) if 0 < announced < 1e9 else 0  # noqa: PLR2004 - nonsense

    def open(self) -> None:
        """Open it and decode its first frame; see :class:`~maskedge.camera.frame.Camera`."""
        self._offset, self._time, self._number = 0.0, -1.0, 0
        self._pace.restart()
        self._begin()

    def read(self) -> Frame:
        """Return the next frame; when played and late, frames are skipped to catch up.

        Never the last: who is late sees the end, and what was left out before it can be counted.

        Raises:
            InputError: the file ends long before it said it would.
        """
        if self._capture is None:
            raise CameraError(f"{self.name}: not open")
        for _ in range(_MOST_SKIPPED):
            self._advance()
            number = self._number
            self._number += 1
            late = self.live and self._pace.wait(self._time) > self._period
            if not late or self._in_this_round == self.length:
                break
        ok, picture = self._capture.retrieve()
        if not ok:
            raise InputError(f"{self.name}: frame {number} can't be decoded")
        pixels = three_channels(picture, self.name)
        return Frame(pixels, ChannelOrder.BGR, self._time, number, self.name)

    def close(self) -> None:
        """Close the file."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def _begin(self) -> None:
        self.close()
        try:
            with self._path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise InputError(f"{self.name}: can't be read: {error.strerror}") from error
        if empty:
            raise InputError(f"{self.name}: the file is empty (0 bytes)")
        cv2 = load_cv2()
        capture_options(FILE_OPTIONS)
        capture = cv2.VideoCapture(opencv_path(self._path), cv2.CAP_FFMPEG)
        self._grabbed = capture.isOpened() and capture.grab()
        if not self._grabbed:
            capture.release()
            raise InputError(f"{self.name}: is no video that can be decoded, or it is cut off")
        self._capture = capture
        fps = capture.get(cv2.CAP_PROP_FPS)
        self._period = 1 / fps if 0 < fps < 1000 else 1 / _DEFAULT_FPS  # noqa: PLR2004 - nonsense
        self._in_this_round = 0

    def _advance(self) -> None:
        """Go to the next frame and note its time."""
        if not self._grabbed and not self._capture.grab():
            self._end()
        self._grabbed = False
        self._in_this_round += 1
        cv2 = load_cv2()
        moment = self._offset + self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        # Raw streams carry no time stamps, broken ones go backwards.
        self._time = moment if moment > self._time else self._time + self._period

    def _end(self) -> None:
        """At the end: begin again, or say that it is one."""
        # Where the frame rate varies, what is announced is often a rate times a duration.
        seconds = self._time + self._period - self._offset
        came = max(self._in_this_round, seconds / self._period)
        if came < _TRUNCATED_BELOW * self.length:
            raise InputError(
                f"{self.name}: ends after {self._in_this_round} of {self.length} frames: it is "
                "cut off or damaged; copy it again"
            )
        if not self._loop:
            raise EndOfStream(f"{self.name}: at its end")
        self._offset = self._time + self._period
        self._begin()


class PictureFiles:
    """A picture, or the pictures of a folder one after the other.

    A picture that can't be read is named in a warning and left out.

    Args:
        origin: what the user named.
        paths: the pictures in their order.
        realtime: show ``fps`` a second.
        loop: begin again at the end.
        fps: pictures per second of media time.
        pace: the clock they are shown by.
    """

    def __init__(  # noqa: PLR0913 - as the docstring says
        self,
        origin: Path,
        paths: Sequence[Path],
        *,
        realtime: bool = False,
        loop: bool = False,
        fps: float = 10.0,
        pace: Pace | None = None,
    ) -> None:
        self.name = str(origin)
        self.live = realtime
        self._paths = paths
        self._loop = loop
        self._period = 1 / fps
        self._pace = pace or Pace()
        self._index = 0
        self._number = 0
        self._unreadable: set[Path] = set()
        self._next: tuple[Path, NDArray[np.uint8]] | None = None

    def open(self) -> None:
        """Find the first picture that can be read."""
        self._index, self._number = 0, 0
        self._unreadable.clear()
        self._pace.restart()
        self._next = self._decode_next()

    def read(self) -> Frame:
        """Return the next picture."""
        path, pixels = self._next or self._decode_next()
        self._next = None
        moment = self._number * self._period
        if self.live:
            self._pace.wait(moment)
        frame = Frame(pixels, ChannelOrder.BGR, moment, self._number, str(path))
        self._number += 1
        return frame

    def close(self) -> None:
        """Let go of the picture read ahead."""
        self._next = None

    def _decode_next(self) -> tuple[Path, NDArray[np.uint8]]:
        while True:
            if self._index == len(self._paths):
                if not self._loop:
                    raise EndOfStream(f"{self.name}: at its end")
                self._index = 0
            path = self._paths[self._index]
            self._index += 1
            if path in self._unreadable:
                continue
            try:
                return path, read_picture(path)
            except InputError as error:
                if len(self._paths) == 1:
                    raise
                self._unreadable.add(path)
                log.warning("%s; left out", error)
            if len(self._unreadable) == len(self._paths):
                raise InputError(
                    f"{self.name}: none of its {len(self._paths)} pictures can be read"
                )


def _pictures(folder: Path) -> list[Path]:
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise InputError(f"{folder}: can't be read: {error.strerror}") from error
    pictures = [path for path in files if path.suffix.lower() in PICTURE_SUFFIXES]
    if not pictures:
        videos = any(path.suffix.lower() in VIDEO_SUFFIXES for path in files)
        cure = "name one of its videos" if videos else "put .jpg or .png files into it"
        raise InputError(f"{folder}: no picture in this folder: {cure}")
    return pictures


def _is_picture(path: Path) -> bool:
    return path.is_file() and bool(load_cv2().haveImageReader(opencv_path(path)))


def nearest(path: Path) -> str:
    """`` (did you mean ...?)`` where a neighbour has nearly this name."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f": {path.parent} isn't there either" if not path.parent.exists() else ""
    close = difflib.get_close_matches(path.name, names, 1)
    return f" (did you mean {path.parent / close[0]}?)" if close else ""


def _jpeg_is_whole(data: bytes) -> bool:
    """Follow the JPEG's segments (ITU-T T.81, annex B) to its end marker.

    A thumbnail inside has an end marker of its own, so looking for one at the end isn't enough,
    and some cameras append other data after it.
    """
    position = len(_JPEG_START)
    while (marker := _JPEG_MARKER.search(data, position)) is not None:
        kind = marker[1][0]
        if kind == _JPEG_END:
            return True
        position = marker.end()
        position += int.from_bytes(data[position : position + 2], "big")  # the segment's length
    return False
