"""OpenCV as the cameras use it: loaded late, and quiet.

FFmpeg inside OpenCV writes about every damaged packet to standard error, past Python's logging;
a camera on a bad network would fill the journal. What matters reaches the user as an exception.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from maskedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_FFMPEG_QUIET = "-8"
"""AV_LOG_QUIET of libavutil/log.h."""

_OPENCV_SILENT = 0
"""LOG_LEVEL_SILENT of opencv2/core/utils/logger.defines.h."""

CAPTURE_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
"""The variable that OpenCV reads whenever FFmpeg opens something."""
FILE_OPTIONS = "rtsp_transport;tcp"
"""What OpenCV itself takes without the variable."""
STREAM_OPTIONS = "rtsp_transport;tcp|fpsprobesize;0"
"""TCP: UDP loses packets, and pictures with them. No guessing of the frame rate: that alone kept
the opening of a stream waiting for two seconds of frames. Of a file it must be guessed: without,
an MPEG transport stream has twice its rate, and so twice its frames."""

_V4L_SELECT_TIMEOUT = "3"
"""Seconds until OpenCV's V4L2 reader gives up a frame; 10 unless told, longer than our deadline."""


@cache
def load_cv2() -> Any:
    """The cv2 module, told to be quiet. Values set by the user's environment stay."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _FFMPEG_QUIET)
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", _V4L_SELECT_TIMEOUT)
    import cv2  # noqa: PLC0415 - 0.2 s and 50 MB that `--help` needn't pay

    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 5 moved the function.
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_level(_OPENCV_SILENT)
    return cv2


def capture_options(options: str) -> None:
    """What FFmpeg shall open with from now on, unless the user's environment says something."""
    if os.environ.get(CAPTURE_OPTIONS) in {None, FILE_OPTIONS, STREAM_OPTIONS} - {options}:
        os.environ[CAPTURE_OPTIONS] = options


def opencv_path(path: Path) -> str:
    """A path as OpenCV can be given it: an absolute one can't be taken for an FFmpeg protocol.

    Raises:
        InputError: it isn't UTF-8, by which OpenCV 5.0 crashes.
    """
    name = str(path.absolute())
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{path}: its name, or that of a folder above, isn't UTF-8, so OpenCV can't open it: "
            "rename it"
        ) from error
    return name
