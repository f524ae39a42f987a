"""One box; apart from :mod:`maskedge.geometry`, so that a configuration is read without NumPy.

A box is (x1, y1, x2, y2): the left, top, right and bottom edges, x to the right and y down,
in pixels of the picture at hand unless a name says ``relative`` (0..1 of width and height).
"""

from __future__ import annotations

from typing import NamedTuple


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

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in it, its left and top edges included."""
        return self.x1 <= x < self.x2 and self.y1 <= y < self.y2

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
