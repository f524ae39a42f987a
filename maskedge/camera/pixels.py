"""Whatever a camera hands out, as the three channels of bytes that a :class:`Frame` holds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from maskedge.errors import CameraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_GREY_DIMENSIONS = 2
_CHANNELS = 3


def three_channels(picture: Any, name: str) -> NDArray[np.uint8]:
    """Return the picture as C-contiguous uint8 (height, width, 3).

    Grey is repeated into three channels, a fourth channel (alpha, padding) is dropped.

    Args:
        picture: what the camera's library returned.
        name: the camera, for messages.

    Raises:
        CameraError: it is no picture of bytes.
    """
    shape = getattr(picture, "shape", None)
    if shape is None or 0 in shape:
        raise CameraError(f"{name}: handed out an empty picture")
    if len(shape) == _GREY_DIMENSIONS:
        picture = picture[..., None]
    if picture.dtype != np.uint8 or picture.ndim != _CHANNELS or picture.shape[2] not in {1, 3, 4}:
        raise CameraError(
            f"{name}: handed out {picture.dtype} of shape {tuple(shape)}, no 8-bit picture"
        )
    if picture.shape[2] == 1:
        return np.repeat(picture, _CHANNELS, axis=2)
    return np.ascontiguousarray(picture[..., :_CHANNELS])


class AskedSize:
    """Notes once, in the log, that a camera gives another size than it was asked for."""

    def __init__(self, width: int, height: int) -> None:
        self._asked = (width, height)
        self._noted = False

    def compare(self, pixels: NDArray[np.uint8], name: str) -> None:
        """Look at one picture, uint8 (height, width, 3)."""
        height, width = pixels.shape[:2]
        if self._noted or (width, height) == self._asked:
            return
        self._noted = True
        log.info("%s: asked for %dx%d, gives %dx%d", name, *self._asked, width, height)
