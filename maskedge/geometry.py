"""Boxes in a picture, and the arithmetic that everything above shares.

A box is (x1, y1, x2, y2): the left, top, right and bottom edges, x to the right and y down,
in pixels of the picture at hand unless a name says ``relative`` (0..1 of width and height).
Arrays of boxes are float32 of shape (N, 4) in the same order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]


class Box(NamedTuple):
    """One rectangle; edges in pixels (or relative, where its holder says so)."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        """Horizontal extent, never negative."""
        return max(0.0, self.x2 - self.x1)

    @property
    def height(self) -> float:
        """Vertical extent, never negative."""
        return max(0.0, self.y2 - self.y1)

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """The middle point (x, y)."""
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    @property
    def size(self) -> float:
        """The face size that limits speak of: the longer edge, in the box's own unit."""
        return max(self.width, self.height)

    def clipped(self, width: float, height: float) -> Box:
        """The part inside a picture of the given width and height."""
        return Box(
            min(max(self.x1, 0.0), width),
            min(max(self.y1, 0.0), height),
            min(max(self.x2, 0.0), width),
            min(max(self.y2, 0.0), height),
        )

    def scaled(self, sx: float, sy: float) -> Box:
        """Every x times ``sx`` and every y times ``sy``."""
        return Box(self.x1 * sx, self.y1 * sy, self.x2 * sx, self.y2 * sy)

    def relative(self, width: int, height: int) -> Box:
        """From pixels of a picture of this size to 0..1, clipped to the picture."""
        return self.scaled(1 / width, 1 / height).clipped(1.0, 1.0)


def iou_matrix(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """Intersection over union of every box of ``a`` with every box of ``b``.

    Args:
        a: float32 (N, 4).
        b: float32 (M, 4).

    Returns:
        float32 (N, M) in 0..1; 0 where a box is empty.
    """
    left_top = np.maximum(a[:, None, :2], b[None, :, :2])
    right_bottom = np.minimum(a[:, None, 2:], b[None, :, 2:])
    extent = np.clip(right_bottom - left_top, 0, None)
    inter = extent[..., 0] * extent[..., 1]
    area_a = np.prod(np.clip(a[:, 2:] - a[:, :2], 0, None), axis=1)
    area_b = np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=1)
    union = area_a[:, None] + area_b[None, :] - inter
    result: NDArray[np.float32] = np.divide(
        inter, union, out=np.zeros_like(inter), where=union > 0
    ).astype(np.float32, copy=False)
    return result


def boxes_array(boxes: list[Box] | tuple[Box, ...]) -> Boxes:
    """A list of boxes as float32 (N, 4), also for an empty list."""
    return np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
