"""Labels of pictures that were turned or shrunk after their boxes were drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import cv2
import numpy as np

from maskedge.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable

    from convert.classifier.data import Pixels
    from convert.coco import Picture

SCALED = "pictures of another size than their labels are for, boxes scaled"
TURNED = "pictures that EXIF turns but not their labels, boxes turned"
STRANGE = "pictures of another shape than their labels are for, left out"


def fitted(picture: Picture, pixels: Pixels) -> tuple[Picture | None, str]:
    """A picture with its boxes where they lie in what its file decodes to.

    Args:
        picture: as its labels describe it; a width or height of 0: they don't say.
        pixels: uint8 (height, width, 3), decoded as EXIF says.

    Returns:
        The picture with the size of its pixels, None where its boxes can't be placed; and what was
        found, empty where the sizes agree.
    """
    height, width = pixels.shape[:2]
    said = (picture.width, picture.height)
    sized = replace(picture, width=width, height=height)
    if said == (width, height) or min(said) <= 0:
        return sized, ""
    if _same_shape(said, (width, height)):
        return _moved(sized, lambda box: box.scaled(width / said[0], height / said[1])), SCALED
    data = np.fromfile(picture.path, np.uint8)
    stored = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    flips = _flips(np.asarray(stored), pixels)
    if flips is None or not _same_shape(said, (height, width)):
        return None, STRANGE

    def turned(box: Box) -> Box:
        y1, x1, y2, x2 = box.scaled(height / said[0], width / said[1])
        if flips[0]:
            x1, x2 = width - x2, width - x1
        if flips[1]:
            y1, y2 = height - y2, height - y1
        return Box(x1, y1, x2, y2)

    return _moved(sized, turned), TURNED


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two sizes differ in scale alone, but for a pixel of rounding."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= max(*a, *b)


def _flips(stored: Pixels, shown: Pixels) -> tuple[bool, bool] | None:
    """Whether a picture is mirrored in x and in y when its axes were swapped; None: they weren't.

    So no EXIF is to be read, which is written in other ways in each format.
    """
    swapped = stored.swapaxes(0, 1)
    for x, y in product((False, True), repeat=2):
        if np.array_equal(swapped[:: -1 if y else 1, :: -1 if x else 1], shown):
            return x, y
    return None


def _moved(picture: Picture, move: Callable[[Box], Box]) -> Picture:
    faces = tuple(replace(face, box=move(face.box)) for face in picture.faces)
    return replace(picture, faces=faces, negatives=tuple(map(move, picture.negatives)))
