"""A frame of any size into a network's fixed input, shape kept: the letterbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskedge.camera.frame import ChannelOrder
from maskedge.vision.shrink import Scratch, shrink

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maskedge.camera.frame import Frame
    from maskedge.geometry import Boxes

PADDING = 127
"""Grey of the unused part: zero after a network's scaling to -1..1."""


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

    def of(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of an input that the frame covers, as a view."""
        return picture[: self.height, : self.width]

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
    """Writes frames into a network's input; nothing of a frame's size is made.

    Args:
        height: rows of the input.
        width: columns of the input.
        order: the colour order that the network wants.
    """

    def __init__(self, height: int, width: int, order: ChannelOrder = ChannelOrder.RGB) -> None:
        self.height, self.width, self._order = height, width, order
        self._scratch = Scratch()
        self._shape: tuple[int, int] = (0, 0)
        self._placement = Placement(0, 0, 1.0, 1.0)

    def write(self, frame: Frame, target: NDArray[np.uint8]) -> Placement:
        """Scale the frame into the input, in its colour order.

        Args:
            frame: the picture.
            target: the input, uint8 (height, width, 3); all of it is written.

        Returns:
            Where it lies; the rest of the input is grey.
        """
        placement = self._place(frame.height, frame.width)
        view = placement.of(target)
        shrink(frame.pixels, view, self._scratch, skip_rows=True)
        if frame.order is not self._order:
            cv2.cvtColor(view, cv2.COLOR_BGR2RGB, view)
        target[placement.height :] = PADDING
        target[: placement.height, placement.width :] = PADDING
        return placement

    def _place(self, height: int, width: int) -> Placement:
        """:func:`place`, remembered: a camera's frames are of one size."""
        if (height, width) != self._shape:
            self._placement = place((height, width), (self.height, self.width))
            self._shape = height, width
        return self._placement
