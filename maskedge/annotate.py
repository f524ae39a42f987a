"""Draws what was found onto a copy of the picture, in colours that colour-blind people tell apart.

The palette is Okabe and Ito's (jfly.uni-koeln.de/color), and the label is always written too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
_MIDDLE = 0.179
"""Relative luminance on which black and white have the same contrast."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Mark(NamedTuple):
    """A face to be drawn.

    Attributes:
        box: pixels.
        label: chooses the colour.
        text: written at the box; ASCII, as OpenCV's font has no more.
    """

    box: Box
    label: str
    text: str


def to_bgr(frame: Frame) -> NDArray[np.uint8]:
    """A copy of the frame's pixels, uint8 (height, width, 3), B, G, R."""
    if frame.order is ChannelOrder.BGR:
        return frame.pixels.copy()
    return np.ascontiguousarray(frame.pixels[..., ::-1])


def caption(label: str, confidence: float, person: int | None = None) -> str:
    """``#3 without_mask 97%``; without the number where ``person`` is None."""
    number = "" if person is None else f"#{person} "
    return f"{number}{label} {confidence:.0%}"


def draw(picture: NDArray[np.uint8], marks: Iterable[Mark]) -> None:
    """Draw boxes and texts in place.

    Args:
        picture: uint8 (height, width, 3), B, G, R.
        marks: what to draw, the lowest first.
    """
    height, width = picture.shape[:2]
    unit = max(1.0, min(height, width) / 480)
    for box, label, text in marks:
        rgb = COLOURS_RGB.get(label, COLOURS_RGB["unsure"])
        colour, ink = rgb[::-1], _ink(rgb)
        left, top, right, bottom = (round(edge) for edge in box)
        cv2.rectangle(picture, (left, top), (right, bottom), colour, round(2 * unit), cv2.LINE_AA)
        (text_width, text_height), base = cv2.getTextSize(text, _FONT, 0.45 * unit, round(unit))
        row = top - base if top - text_height - base >= 0 else bottom + text_height + base
        column = max(0, min(left, width - text_width))
        corner = (column, row - text_height - base // 2), (column + text_width, row + base)
        cv2.rectangle(picture, *corner, colour, cv2.FILLED)
        cv2.putText(picture, text, (column, row), _FONT, 0.45 * unit, ink, round(unit), cv2.LINE_AA)


def _ink(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever is read more easily on this colour (WCAG 2.2, contrast ratio)."""
    linear = (np.array(rgb) / 255) ** 2.2
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return (0, 0, 0) if luminance > _MIDDLE else (255, 255, 255)
