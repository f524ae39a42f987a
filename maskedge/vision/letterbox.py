"""A frame of any size into a network's fixed input, shape kept: the letterbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.geometry import Boxes

PADDING = 127
"""Grey of the unused part: zero after a network's scaling to -1..1."""
AREA_BELOW = 0.5
"""Scales below this average all pixels; above, between the four nearest is as good and faster."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame lies in the input: its top left corner at the input's.

    Attributes:
        width: columns of the input that it covers.
        height: rows of the input that it covers.
        sx: input pixels per frame pixel, across.
        sy: the same, down; differs from ``sx`` by rounding only.
    """

    width: int
    height: int
    sx: float
    sy: float

    def to_frame(self, boxes: Boxes) -> Boxes:
        """Boxes in pixels of the input as boxes in pixels of the frame."""
        factor = np.array([1 / self.sx, 1 / self.sy] * 2, np.float32)
        return boxes * factor


def place(frame: tuple[int, int], size: tuple[int, int]) -> Placement:
    """The largest placement of a frame in an input.

    Args:
        frame: height and width of the frame.
        size: height and width of the input.
    """
    scale = min(size[0] / frame[0], size[1] / frame[1])
    height = min(size[0], max(1, round(frame[0] * scale)))
    width = min(size[1], max(1, round(frame[1] * scale)))
    return Placement(width, height, width / frame[1], height / frame[0])


class Letterbox:
    """Keeps one input picture and writes each frame into it; nothing of a frame's size is made.

    Args:
        height: rows of the input.
        width: columns of the input.
        order: the colour order that the network wants.
    """

    def __init__(self, height: int, width: int, order: ChannelOrder = ChannelOrder.RGB) -> None:
        self.height, self.width, self._order = height, width, order
        self.picture: NDArray[np.uint8] = np.full((height, width, 3), PADDING, np.uint8)
        self._placement = Placement(width, height, 1.0, 1.0)

    def write(self, frame: Frame) -> Placement:
        """Scale the frame into :attr:`picture`.

        Returns:
            Where it lies; the rest of the picture is grey.
        """
        placement = place((frame.height, frame.width), (self.height, self.width))
        if placement != self._placement:
            self.picture[...] = PADDING
            self._placement = placement
        view = self.picture[: placement.height, : placement.width]
        scale = min(placement.sx, placement.sy)
        method = cv2.INTER_AREA if scale <= AREA_BELOW else cv2.INTER_LINEAR
        cv2.resize(frame.pixels, (placement.width, placement.height), view, interpolation=method)
        if frame.order is not self._order:
            cv2.cvtColor(view, cv2.COLOR_BGR2RGB, view)
        return placement
