"""Draws what was found onto a copy of the picture, in colours that colour-blind people tell apart.

The palette is Okabe and Ito's (jfly.uni-koeln.de/color), and the label is always written too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder, Frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from maskedge.geometry import Box

COLOURS_RGB = {
    "with_mask": (0, 114, 178),
    "without_mask": (213, 94, 0),
    "incorrect_mask": (240, 228, 66),
    "unsure": (153, 153, 153),
}
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def to_bgr(frame: Frame) -> NDArray[np.uint8]:
    """A copy of the frame's pixels, uint8 (height, width, 3), B, G, R."""
    if frame.order is ChannelOrder.BGR:
        return frame.pixels.copy()
    return np.ascontiguousarray(frame.pixels[..., ::-1])


def draw(picture: NDArray[np.uint8], faces: Iterable[tuple[Box, str, float]]) -> None:
    """Draw boxes and labels in place.

    Args:
        picture: uint8 (height, width, 3), B, G, R.
        faces: (box in pixels, label, confidence 0..1) each.
    """
    height, width = picture.shape[:2]
    unit = max(1.0, min(height, width) / 480)
    for box, label, confidence in faces:
        red, green, blue = COLOURS_RGB.get(label, COLOURS_RGB["unsure"])
        colour = (blue, green, red)
        ink = (0, 0, 0) if red + green + blue > 382 else (255, 255, 255)  # noqa: PLR2004 - half
        left, top, right, bottom = (round(edge) for edge in box)
        cv2.rectangle(picture, (left, top), (right, bottom), colour, round(2 * unit), cv2.LINE_AA)
        text = f"{label} {confidence:.0%}"
        (text_width, text_height), base = cv2.getTextSize(text, _FONT, 0.45 * unit, round(unit))
        row = top - base if top - text_height - base >= 0 else bottom + text_height + base
        column = max(0, min(left, width - text_width))
        corner = (column, row - text_height - base // 2), (column + text_width, row + base)
        cv2.rectangle(picture, *corner, colour, cv2.FILLED)
        cv2.putText(picture, text, (column, row), _FONT, 0.45 * unit, ink, round(unit), cv2.LINE_AA)
