"""Makes everybody but one person unrecognisable, for good.

What is hidden is replaced by averages over large cells, blurred into each other: nothing else of
the pixels goes into the picture, so nothing can bring a face back. A face that was found is left
with a few cells across. Everything else around the violator becomes coarse, too, so that a face
too small, too dark or too turned away to be found isn't shown either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from maskedge.geometry import Box

SHOWN = 0.35
"""Of the violator's face, this much of its width and height is shown on each side."""
HIDDEN = 0.5
"""Of another face, this much on each side is hidden with it: hair, ears, the collar."""
FACE_CELLS = 4
"""Cells that another face, with what is hidden around it, has across."""
BACKGROUND_CELLS = 64
"""Cells along the longer side of the rest of the picture."""
LEAST_CELL = 8.0
"""Pixels of a cell, however small the face or the picture."""
SURE = 0.5
"""Score from which a face is somebody's, wherever it lies."""
SAME_IOU = 0.4
"""Overlap from which a box shows the violator."""
SAME_INSIDE = 0.6
"""A box of which this part lies inside the violator's face shows a part of it."""
DOUBTFUL_COVER = 0.5
"""A doubtful box over more than this part of the violator's face is no face of another."""


class Seen(NamedTuple):
    """Something that may be a face.

    Attributes:
        box: pixels.
        score: 0..1, how sure one can be of it.
    """

    box: Box
    score: float


def bystanders(violator: Box, seen: Iterable[Seen]) -> list[Box]:
    """What of ``seen`` isn't the violator; in doubt it is somebody else.

    Args:
        violator: the face that is to be shown, pixels.
        seen: everything that may be a face, the violator's own included.
    """
    return [box for box, score in seen if not _shows(violator, box, score)]


def conceal(picture: NDArray[np.uint8], violator: Box, others: Iterable[Box]) -> NDArray[np.uint8]:
    """The violator's face with a margin, in a picture where nobody else can be recognised.

    Args:
        picture: uint8 (height, width, 3), any order of channels; not changed.
        violator: the face that is shown, pixels.
        others: the faces that are not.

    Returns:
        A new picture of the same shape.
    """
    height, width = picture.shape[:2]
    hidden = _coarse(picture, max(height, width) / BACKGROUND_CELLS)
    shown = np.zeros((height, width), np.bool_)
    fill(shown, grown(violator, SHOWN), value=True)
    others = list(others)
    for box in others:
        fill(shown, grown(box, HIDDEN), value=False)
    fill(shown, violator, value=True)  # another's margin may not cost the face itself ...
    for box in others:
        fill(shown, box, value=False)  # ... but another's face does
        _level(hidden, picture, grown(box, HIDDEN))
    hidden[shown] = picture[shown]
    return hidden


def cut_out(picture: NDArray[np.uint8], violator: Box) -> NDArray[np.uint8]:
    """The part of a picture around the violator's face, at least one pixel."""
    top, bottom, left, right = touched(grown(violator, SHOWN), picture.shape[:2])
    return picture[top : max(bottom, top + 1), left : max(right, left + 1)]


def grown(box: Box, share: float) -> Box:
    """A box with a margin: this share of its width and height on each side."""
    dx, dy = share * box.width, share * box.height
    return box._replace(x1=box.x1 - dx, y1=box.y1 - dy, x2=box.x2 + dx, y2=box.y2 + dy)


def fill(mask: NDArray[np.bool_], box: Box, *, value: bool) -> None:
    """Set what a box covers of a mask, bool (height, width)."""
    top, bottom, left, right = touched(box, mask.shape[:2])
    mask[top:bottom, left:right] = value


def touched(box: Box, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """First and last row, first and last column that a box touches in a picture (lasts exclusive).

    Args:
        box: pixels; may reach over the edges.
        shape: height and width of the picture.
    """
    height, width = shape
    inside = box.clipped(width, height)
    top, left = int(np.floor(inside.y1)), int(np.floor(inside.x1))
    return top, int(np.ceil(inside.y2)), left, int(np.ceil(inside.x2))


def _shows(violator: Box, box: Box, score: float) -> bool:
    """Whether a box is of the violator's own face."""
    left, top = max(violator.x1, box.x1), max(violator.y1, box.y1)
    right, bottom = min(violator.x2, box.x2), min(violator.y2, box.y2)
    common = max(0.0, right - left) * max(0.0, bottom - top)
    if not common:
        return False
    if common >= SAME_INSIDE * box.area:
        return True
    if common >= SAME_IOU * (violator.area + box.area - common):
        return True
    return score < SURE and common >= DOUBTFUL_COVER * violator.area


def _level(hidden: NDArray[np.uint8], picture: NDArray[np.uint8], box: Box) -> None:
    """Leave a few cells of a face, in place."""
    top, bottom, left, right = touched(box, picture.shape[:2])
    if top < bottom and left < right:
        face = picture[top:bottom, left:right]
        hidden[top:bottom, left:right] = _coarse(face, max(face.shape[:2]) / FACE_CELLS)


def _coarse(picture: NDArray[np.uint8], cell: float) -> NDArray[np.uint8]:
    """Averages over cells of about ``cell`` pixels, blurred into each other."""
    height, width = picture.shape[:2]
    cell = max(cell, LEAST_CELL)
    few = (max(1, int(width / cell)), max(1, int(height / cell)))
    averages = cv2.resize(picture, few, interpolation=cv2.INTER_AREA)
    smooth = cv2.resize(averages, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth, np.uint8)
