"""Drawn crowds: as many faces as asked, in frames of the usual sizes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2

from maskedge.scene import hall, portrait

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZES = ((640, 480), (1280, 720), (1920, 1080))
FACES = (0, 1, 2, 4, 8, 16, 32)


def crowd(width: int, height: int, faces: int) -> NDArray[np.uint8]:
    """A hall with this many copies of the portrait's face, uint8 (height, width, 3), RGB."""
    picture = hall(width, height).copy()
    if not faces:
        return picture
    columns = min(faces, math.ceil(math.sqrt(faces * width / height)))
    rows = -(-faces // columns)
    side = int(min(width / columns, height / rows, 0.5 * height))
    head = portrait()[10:240, 110:340]
    small = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    for number in range(faces):
        row, column = divmod(number, columns)
        x = round((column + 0.5) * width / columns - side / 2)
        y = round((row + 0.5) * height / rows - side / 2)
        picture[y : y + side, x : x + side] = small
    return picture
