"""OpenCV as the cameras use it: loaded late, and quiet.

FFmpeg inside OpenCV writes about every damaged packet to standard error, past Python's logging;
a camera on a bad network would fill the journal. What matters reaches the user as an exception.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

_FFMPEG_QUIET = "-8"
"""AV_LOG_QUIET of libavutil/log.h."""

_OPENCV_SILENT = 0
"""LOG_LEVEL_SILENT of opencv2/core/utils/logger.defines.h."""

_CAPTURE_OPTIONS = "rtsp_transport;tcp|fpsprobesize;0"
"""TCP: UDP loses packets, and pictures with them. No guessing of the frame rate: that alone kept
the opening of a stream waiting for two seconds of frames."""

_V4L_SELECT_TIMEOUT = "3"
"""Seconds until OpenCV's V4L2 reader gives up a frame; 10 unless told, longer than our deadline."""


@cache
def load_cv2() -> Any:
    """The cv2 module, told to be quiet. Values set by the user's environment stay."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _FFMPEG_QUIET)
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _CAPTURE_OPTIONS)
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", _V4L_SELECT_TIMEOUT)
    import cv2  # noqa: PLC0415 - 0.2 s and 50 MB that `--help` needn't pay

    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 5 moved the function.
        set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
        set_level(_OPENCV_SILENT)
    return cv2
